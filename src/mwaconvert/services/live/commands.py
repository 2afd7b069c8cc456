"""What operators ask of a node, in the words of the old control protocol."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from mwaconvert.errors import Error
from mwaconvert.jobs.control.supervise import Health
from mwaconvert.live.gate import LONGEST_S
from mwaconvert.live.observation import Observation, read_observation
from mwaconvert.services.live.hub import Hub
from mwaconvert.services.live.node import CLASSES, Name, process_of
from mwaconvert.services.live.observations import Observations
from mwaconvert.services.live.wire.messages import Command, Correct, Reply, Role, Switch

_log = logging.getLogger(__name__)
_SWITCHES = {
    "lofar": (Name.LOFAR, "LOFAR triggering"),
    "voevent": (Name.VOEVENT, "VOEvent sending"),
    "kafka": (Name.KAFKA, "Kafka sending"),
}
#: how long a correction may take: a broker that does not answer is tried again
CORRECTION_S = 80.0
#: what may be asked by those who only look
_VIEW = ("status", "get_attr", "lofar_status", "voevent_status", "kafka_status", "node_status")


def _error(message: str) -> Reply:
    return Reply(status="Error", message={"error": message})


class Commands:
    """Of one node."""

    def __init__(self, hub: Hub, observations: Observations) -> None:
        self.hub, self.observations = hub, observations

    async def run(self, command: Command, role: Role, who: str) -> Reply:
        """Carry one out; what goes wrong is the reply."""
        verb = command.command.partition(" ")[0]
        needed = Role.VIEW if verb in _VIEW else Role.OPERATE
        if not role.may(needed):
            return _error(f"Not allowed: {verb} needs the role {needed}")
        _log.info("%s: %s %s", who, command.command, command.service or "")
        try:
            return await self._run(command, role, who)
        except Error as error:
            return Reply(status="Error", message=str(error))
        except OSError as error:
            return Reply(status="Error", message=f"Caught exception: {error}")

    async def _run(self, command: Command, role: Role, who: str) -> Reply:
        verb = command.command.partition(" ")[0]
        match verb:
            case "start_observation" | "stop_observation" | "abort_observation":
                return await self._observe(verb, command)
            case "stop_master":
                asyncio.get_running_loop().call_later(0.1, self.hub.stopping.set)
                return Reply(status="Success", message="Stopping master")
            case "reload":
                await self.hub.reload()
                return Reply(status="Success", message="Config reloaded")
            case "node_status":
                return Reply(status="Success", message=self.node_status())
        way, _, what = verb.partition("_")
        if way in _SWITCHES and what in ("status", "enable", "disable"):
            return await self._old_switch(way, what, role, who)
        if verb == "get_attr" and command.service is None:
            return self._attribute(None, command)
        return await self._of_services(verb, command)

    # -- services

    async def _of_services(self, verb: str, command: Command) -> Reply:
        known = self.hub.services
        if command.service == "all":
            names = known
        elif command.service in list(known):
            names = (Name(command.service),)
        else:
            return _error(f"Invalid service: {command.service}")
        actions = {"status": self._status, "start": self._start, "stop": self._stop, "restart": self._restart}
        if verb == "get_attr":
            replies = {name: self._attribute(name, command) for name in names}
            if len(replies) == 1:
                return next(iter(replies.values()))
            found = {name.value: reply.message for name, reply in replies.items()}
            return Reply(status="Success", message=found)
        if verb not in actions:
            return _error(f"Unknown command: {command.command}")
        done = {name.value: await actions[verb](name) for name in names}
        bad = any(word in ("failed",) or str(word).startswith("Failed") for word in done.values())
        return Reply(status="Error" if bad else "Success", message=done)

    def _is_up(self, name: Name) -> bool:
        health = self.hub.health(name).health
        return health in (Health.STARTING, Health.RUNNING, Health.DEGRADED)

    async def _status(self, name: Name) -> str:
        return "running" if self._is_up(name) else "stopped"

    async def _start(self, name: Name) -> str:
        if self._is_up(name):
            return "already running"
        self.hub.start(name)
        return "started"

    async def _stop(self, name: Name) -> str:
        try:
            await asyncio.to_thread(self.hub.supervisors[process_of(name)].stop)
        except Error:
            return "Failed to stop service before timeout"
        return "stopped"

    async def _restart(self, name: Name) -> dict[str, str]:
        return {"stop": await self._stop(name), "start": await self._start(name)}

    def _attribute(self, name: Name | None, command: Command) -> Reply:
        attribute = command.command.partition(" ")[2].strip()
        section = "darc_master" if name is None else name.value
        owner = "DARCMaster" if name is None else CLASSES[name]
        found: dict[str, Any] = {}
        settings = getattr(self.hub.site.settings, section, None)
        if is_dataclass(settings) and not isinstance(settings, type):
            found |= asdict(settings)
        if name is None:
            found |= {"services": [n.value for n in self.hub.services], "hostname": self.hub.site.node}
        elif process_of(name) in self.hub.heard:
            found |= self.hub.heard[process_of(name)].beat.numbers
        if attribute not in found:
            return Reply(status="Error", message=f"No such attribute: {attribute}")
        return Reply(status="Success", message=f"{{'{owner}.{attribute}': {found[attribute]}}}")

    def node_status(self) -> dict[str, Any]:
        """All that a page shows of a node."""
        services = {}
        for name in self.hub.services:
            status = self.hub.health(name)
            heard = self.hub.heard.get(process_of(name))
            services[name.value] = {
                "health": status.health.value,
                "reason": status.reason,
                "restarts": status.restarts,
                "numbers": heard.beat.numbers if heard else {},
                "recent": list(heard.beat.recent) if heard else [],
            }
        observations = {
            task_id: {
                "source": r.body.observation.source,
                "datetimesource": r.body.observation.datetimesource,
                "start_s": r.body.observation.start_s,
                "end_s": r.body.observation.end_s,
                "beam": r.body.observation.beam,
                "galactic_dm": r.body.galactic_dm,
                "stopped": r.stopped,
            }
            for task_id, r in self.observations.running.items()
        }
        return {
            "node": self.hub.site.node,
            "now_s": time.time(),
            "services": services,
            "observations": observations,
            "unrouted": self.hub.unrouted,
            "dropped": sum(link.dropped for link in self.hub.links.values()),
        }

    # -- observations

    async def _observe(self, verb: str, command: Command) -> Reply:
        if not command.payload:
            return _error("Payload missing")
        service = None
        if command.service not in (None, "all"):
            if command.service not in list(self.hub.services):
                return _error(f"Invalid service: {command.service}")
            service = Name(command.service)
        payload = Path(command.payload)
        if verb != "start_observation":
            return await self._end(payload, service, abort=verb == "abort_observation")
        observation = await asyncio.to_thread(self._quick_look, payload)
        if observation is not None and not observation.triggers_wanted:
            return Reply(status="Success", message="Process triggers disabled - not starting")
        observation = await self.observations.start(payload, service)
        if service is not None:
            return Reply(status="Warning", message=f"Only observation for {service.value} started")
        if observation.end_s < time.time():
            return Reply(status="Warning", message="Only offline processing and processor started")
        return Reply(status="Success", message="Observation started")

    def _quick_look(self, payload: Path) -> Observation | None:
        if not payload.is_file() or payload.suffix not in (".parset", ".yaml"):
            return None  # what starts it says so
        return read_observation(payload)

    async def _end(self, payload: Path, service: Name | None, *, abort: bool) -> Reply:
        if self.hub.site.settings.darc_master.mode == "offline" and not abort:
            return Reply(status="Success", message="Ignoring stop in offline processing mode")
        observation = await asyncio.to_thread(self._quick_look, payload)
        if observation is None:
            return Reply(status="Error", message="Failed: config file not found")
        self.observations.stop(observation.task_id, abort=abort, service=service)
        return Reply(status="Success", message="Stopped observation")

    # -- ways out

    async def _old_switch(self, way: str, what: str, role: Role, who: str) -> Reply:
        name, words = _SWITCHES[way]
        if name not in self.hub.services:
            return Reply(status="Error", message=f"Caught exception: '{name.value}'")
        heard = self.hub.heard.get(name)
        if heard is None or not self._is_up(name):
            return Reply(status="Error", message=f"{words} service is not running")
        is_on = heard.beat.numbers.get("state") != "off"
        if what == "status":
            return Reply(status="Success", message=f"{words} is {'enabled' if is_on else 'disabled'}")
        if (what == "enable") == is_on:
            return Reply(status="Success", message=f"{words} already {what}d")
        settings = getattr(self.hub.site.settings, name.value)
        wanted = "off" if what == "disable" else "test" if settings.test else "observe"
        until_s = time.time() + LONGEST_S if wanted == "observe" else 0.0
        reply = await self.switch(
            Switch(way=way, wanted=wanted, who=who, until_s=until_s),  # type: ignore[arg-type]
            role,
        )
        return Reply(status="Success", message=f"{words} {what}d") if reply.status == "Success" else reply

    async def switch(self, switch: Switch, role: Role) -> Reply:
        """Hand it to the sender, which keeps the state; real triggers need the role to arm."""
        needed = Role.ARM if switch.wanted == "observe" else Role.OPERATE
        if not role.may(needed):
            return _error(f"Not allowed: {switch.wanted} needs the role {needed}")
        name, words = _SWITCHES[switch.way]
        if name not in self.hub.services:
            return _error(f"{words}: it is the master node that sends")
        try:
            return await self.hub.ask(name, switch)
        except Error as error:
            return Reply(status="Error", message=str(error))

    async def correct(self, correct: Correct, role: Role) -> Reply:
        """Hand it to the sender, which knows what went out; this needs the role to arm, armed or not."""
        if not role.may(Role.ARM):
            return _error(f"Not allowed: {correct.what} needs the role {Role.ARM}")
        name, words = _SWITCHES[correct.way]
        if name not in self.hub.services:
            return _error(f"{words}: it is the master node that sends")
        try:
            return await self.hub.ask(name, correct, CORRECTION_S)
        except Error as error:
            return Reply(status="Error", message=str(error))
