"""Observations of a node: started in time, told to each service that comes up, ended, and kept over a restart."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.live.files import read_facts, write_facts
from mwaconvert.live.observation import Observation, read_config, read_observation
from mwaconvert.live.settings import expanded
from mwaconvert.services.live.hub import Hub
from mwaconvert.services.live.node import KEEP_S, Name, process_of
from mwaconvert.services.live.wire.messages import StartObservation, StopObservation

_log = logging.getLogger(__name__)
_MODEL_S = 20.0
#: until a full disk is tried again, s
_AGAIN_S = 2.0


@dataclass
class Running:
    """An observation that services know or will know of. `services`: those that have it, all or one."""

    body: StartObservation
    services: tuple[Name, ...]
    posted: bool = False
    stopped: bool = False


class Observations:
    """Of one node, by task id."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.running: dict[str, Running] = {}
        self._waits_for_room = False

    @property
    def _kept(self) -> Path:
        return self.hub.site.state / "observations.json"

    async def start(self, payload: Path, service: Name | None) -> Observation:
        """Take an observation on; services hear of it `setup_time` before it begins.

        Raises
        ------
        Error
        """
        body = await asyncio.to_thread(self._read, payload)
        services = self._services(body.observation, service)
        self.running[body.observation.task_id] = Running(body, services)
        self._keep()
        for name in services:
            self.hub.start(name)
        self._post_in_time(body.observation)
        return body.observation

    def stop(self, task_id: str, *, abort: bool, service: Name | None = None) -> None:
        """End it; what was never started is forgotten. An observation that nobody knows is not an error."""
        running = self.running.get(task_id)
        for name in running.services if running else ():
            is_offline = name is Name.OFFLINE and not abort
            if (service is None or name is service) and not is_offline:
                self.hub.tell(name, StopObservation(abort=abort), task_id)
        if running is not None and service is None:
            running.stopped = True
            if abort or not running.posted:
                del self.running[task_id]
            self._keep()

    def tell(self, service: Name) -> None:
        """All that a service that has come up must know."""
        for task_id, running in self.running.items():
            if running.posted and service in {process_of(name) for name in running.services}:
                self.hub.tell(service, running.body, task_id)
                if running.stopped:
                    self.hub.tell(service, StopObservation(), task_id)

    def resume(self) -> None:
        """Take up what was known before a restart."""
        try:
            kept = read_facts(self._kept) or {}
            for task_id, facts in kept.items():
                body = StartObservation.model_validate(facts["body"])
                services = tuple(Name(name) for name in facts["services"])
                if time.time() < body.observation.end_s + KEEP_S:
                    self.running[task_id] = Running(body, services, stopped=facts["stopped"])
        except (FormatError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.error("observations of before are lost: %s", error)
        for running in list(self.running.values()):
            for name in running.services:
                self.hub.start(name)
            self._post_in_time(running.body.observation)

    def _keep(self) -> None:
        facts = {
            task_id: {
                "body": r.body.model_dump(mode="json"),
                "services": [name.value for name in r.services],
                "stopped": r.stopped,
            }
            for task_id, r in self.running.items()
        }
        try:
            write_facts(self._kept, facts)
        except OSError as error:
            _log.error("observations cannot be kept over a restart: %s", error)
            if not self._waits_for_room:
                self._waits_for_room = True
                self.hub.in_background(self._keep_later())

    async def _keep_later(self) -> None:
        await asyncio.sleep(_AGAIN_S)
        self._waits_for_room = False
        self._keep()

    def _services(self, observation: Observation, service: Name | None) -> tuple[Name, ...]:
        if service is not None:
            return (service,)
        if observation.end_s < time.time():
            late = (Name.OFFLINE, Name.PROCESSOR)
            return tuple(name for name in self.hub.services if name in late)
        return self.hub.services

    def _post_in_time(self, observation: Observation) -> None:
        wait_s = observation.start_s - self.hub.site.settings.darc_master.setup_time - time.time()
        self.hub.in_background(self._post(observation.task_id, max(0.0, wait_s)))
        end_s = observation.end_s + KEEP_S - time.time()
        self.hub.in_background(self._forget(observation.task_id, max(0.0, end_s)))

    async def _post(self, task_id: str, wait_s: float) -> None:
        running = self.running[task_id]
        await asyncio.sleep(wait_s)
        if self.running.get(task_id) is not running or running.posted:
            return
        running.posted = True
        for name in {process_of(name) for name in running.services}:
            if self.hub.links.get(f"{self.hub.site.node}/{name.value}"):
                self.tell_one(name, task_id, running)

    def tell_one(self, name: Name, task_id: str, running: Running) -> None:
        self.hub.tell(name, running.body, task_id)
        if running.stopped:
            self.hub.tell(name, StopObservation(), task_id)

    async def _forget(self, task_id: str, wait_s: float) -> None:
        running = self.running[task_id]
        await asyncio.sleep(wait_s)
        if self.running.get(task_id) is running:
            del self.running[task_id]
            self._keep()

    def _read(self, payload: Path) -> StartObservation:
        """Read a configuration, and keep a copy of it by the name of the observation."""
        if not payload.is_file():
            raise InputError("Failed: config file not found")
        if payload.suffix not in (".parset", ".yaml"):
            raise InputError("Failed: unknown config file type")
        observation = read_observation(payload)
        config, parset = read_config(payload)
        name = observation.datetimesource
        if "/" in name or name in ("", ".", ".."):
            raise InputError(f"{payload}: datetimesource={name}: cannot be the name of a folder")
        archive = Path(expanded(self.hub.site.settings.darc_master.parset_dir)) / name
        archived = archive / payload.name
        try:
            archive.mkdir(parents=True, exist_ok=True)
            if payload.resolve() != archived.resolve():
                shutil.copyfile(payload, archived)
        except OSError as error:
            _log.warning("%s: no copy of the configuration: %s", archived, error.strerror)
        return StartObservation(
            observation=observation,
            config={k: v for k, v in config.items() if k != "parset"},
            parset=dict(parset),
            archived=str(archived),
            galactic_dm=self._galactic_dm(observation),
        )

    def _galactic_dm(self, observation: Observation) -> float | None:
        """What the model says, or said before of this direction; None if it is not known, and then nothing is new."""
        argv = self.hub.site.settings.amber_clustering.galactic_dm
        place = None if observation.beam is None else observation.pointing_deg(observation.beam)
        if not argv or place is None:
            return None
        ra, dec = (f"{angle:.6f}" for angle in place)
        cache = self.hub.site.state / "galactic_dm.json"
        known: dict[str, Any] = {}
        try:
            known = read_facts(cache) or {}
            words = [word.replace("{ra}", ra).replace("{dec}", dec) for word in argv]
            done = subprocess.run(words, capture_output=True, text=True, timeout=_MODEL_S, check=True)
            dm = float(done.stdout)
            if not 0 < dm < 1e5:
                raise ValueError(f"a DM of {dm:g}")
        except (OSError, subprocess.SubprocessError, ValueError, Error) as error:
            _log.error("the Galactic DM is not known: %s", error)
            found = known.get(f"{ra} {dec}")
            return float(found) if found is not None else None
        try:
            write_facts(cache, {**known, f"{ra} {dec}": dm})
        except OSError as error:
            _log.warning("%s: not kept: %s", cache, error.strerror)
        return dm
