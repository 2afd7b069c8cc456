"""What is run on a node when an observation has ended: folding, calibration; programs of others, in limits."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import ClassVar

from mwaconvert.errors import Error
from mwaconvert.jobs.control.execute import run
from mwaconvert.jobs.control.work import Limits
from mwaconvert.live.files import read_facts, write_facts
from mwaconvert.services.live.node import Name, Site
from mwaconvert.services.live.processes.journal import file_name
from mwaconvert.services.live.processes.service import Service
from mwaconvert.services.live.wire.messages import StartObservation

_log = logging.getLogger(__name__)


class Offline(Service):
    """Of one node."""

    name: ClassVar[Name] = Name.OFFLINE
    niceness: ClassVar[int] = 10

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.numbers = {"programs": 0, "failed": 0}

    async def on_start(self, start: StartObservation) -> None:
        task_id = start.observation.task_id
        if task_id not in self._tasks:
            self._tasks[task_id] = asyncio.create_task(self._after(start))

    async def on_stop(self, task_id: str, *, abort: bool) -> None:
        task = self._tasks.get(task_id)
        if abort and task is not None:
            task.cancel()

    async def _after(self, start: StartObservation) -> None:
        seen, settings = start.observation, self.site.settings.offline_processing
        await asyncio.sleep(max(0.0, seen.end_s + settings.delay - time.time()))
        for what, argv in self.programs(start):
            mark = self.site.folder("offline") / f"{file_name(seen.task_id)}-{what}.json"
            if read_facts(mark) is not None:  # begun by an earlier process
                continue
            write_facts(mark, {"argv": argv, "at_s": time.time()})
            await asyncio.to_thread(self._run, what, argv, seen.task_id)

    def programs(self, start: StartObservation) -> list[tuple[str, list[str]]]:
        """(what, program and arguments) for an observation."""
        seen, settings = start.observation, self.site.settings.offline_processing
        words = {
            "{output_dir}": str(seen.output_dir),
            "{source}": seen.source,
            "{beam}": str(seen.beam),
            "{datetimesource}": seen.datetimesource,
        }

        def filled(argv: tuple[str, ...]) -> list[str]:
            found = list(argv)
            for word, value in words.items():
                found = [part.replace(word, value) for part in found]
            return found

        found = []
        in_beam = seen.beam is not None and seen.source_beam == seen.beam
        if settings.fold and in_beam and seen.source in settings.test_pulsars:
            found.append(("fold", filled(settings.fold)))
        is_drift = any(seen.source.startswith(f"{name}drift") for name in settings.calibrators)
        if settings.calibrate and is_drift and seen.beam is not None and _in_drift(seen.source, seen.beam):
            found.append(("calibrate", filled(settings.calibrate)))
        return found

    def _run(self, what: str, argv: list[str], task_id: str) -> None:
        settings = self.site.settings.offline_processing
        folder = self.site.folder("offline")
        log_path = folder / f"{file_name(task_id)}-{what}.log"
        self.numbers["programs"] = int(self.numbers["programs"]) + 1
        problem = ""
        try:
            run(argv, directory=folder, log_path=log_path, limits=Limits(wall_s=settings.max_proc_time))
        except (Error, OSError) as error:
            problem = f"{what}: {error}"
        if problem:
            self.numbers["failed"] = int(self.numbers["failed"]) + 1
            self.trouble[f"{what} {task_id}"] = problem
            _log.error("%s: %s", task_id, problem)


def _in_drift(source: str, beam: int) -> bool:
    """Whether a drift scan, 3C48drift0107, passes a beam: its first one or two pairs of digits say which.

    Examples
    --------
    >>> _in_drift("3C48drift0107", 3), _in_drift("3C48drift01", 3)
    (True, False)
    """
    digits = source.partition("drift")[2]
    if not digits.isdigit() or len(digits) not in (2, 4):
        return False
    return int(digits[:2]) <= beam <= int(digits[-2:])
