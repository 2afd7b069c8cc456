"""The processor: cuts candidates out while they come, on nodes; puts the results of all beams together, on the master.

It reads the journal of the chain, so candidates are those that were decided on, and none is lost when either process
dies. What was done of them is in a journal of its own.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from mwaconvert.errors import Error
from mwaconvert.live.observation import Observation
from mwaconvert.live.processing.classifier import Classifier
from mwaconvert.live.processing.cutter import Cutter, is_selected, key_of
from mwaconvert.live.processing.extract import Extract, Wanted
from mwaconvert.live.processing.merge import Merged, merge, result_folder, write_merged
from mwaconvert.live.processing.pages import thumbnail
from mwaconvert.live.processing.products import Score
from mwaconvert.live.settings import Classify, expanded
from mwaconvert.services.live.node import Name, Site
from mwaconvert.services.live.processes.journal import Journal, file_name, follow_entries
from mwaconvert.services.live.processes.mails import PostBox
from mwaconvert.services.live.processes.service import Service
from mwaconvert.services.live.wire.messages import StartObservation
from mwaconvert.text import plural

_log = logging.getLogger(__name__)
_LOOK_S = 0.5
_PICTURES = 6
#: candidates of which it is looked up whether their data are there
_AHEAD = 20
#: what may pass, and after how long it is tried again, s
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AGAIN_S = 10.0


@dataclass
class Work:
    """One observation of a node."""

    start: StartObservation
    chain: Path
    journal: Journal
    cutter: Cutter
    offset: int = 0
    clusters: dict[str, tuple[Wanted, float]] = field(default_factory=dict)  # and when it grew last
    queue: list[tuple[float, str]] = field(default_factory=list)  # brightest first
    queued: set[str] = field(default_factory=set)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: list[tuple[Extract, Score]] = field(default_factory=list)
    running: int = 0
    n_raw: int = -1
    n_left_out: int = 0  # clusters of storms
    stopped_s: float | None = None
    again_s: float = 0.0  # on the monotonic clock: not finished before

    @property
    def observation(self) -> Observation:
        return self.start.observation


class Processor(Service):
    """Of one node; on the master it also waits for the others."""

    name: ClassVar[Name] = Name.PROCESSOR
    niceness: ClassVar[int] = 10

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.settings = site.settings.processor
        self.classifier = _classifier(self.settings.classifier)
        self.works: dict[str, Work] = {}
        self._pool = ThreadPoolExecutor(max(1, self.settings.num_extractor))
        self._merging: dict[str, asyncio.Task[None]] = {}
        self.post_box = PostBox(self)
        self.numbers = {"extracted": 0, "refused": 0, "failed": 0, "accepted": 0, "left_out": 0, "queue": 0}
        self._say_classifier()

    async def on_start(self, start: StartObservation) -> None:
        task_id = start.observation.task_id
        role, beam = self.site.settings.network.role, start.observation.beam
        if role != "worker" and task_id not in self._merging:
            self._merging[task_id] = asyncio.create_task(self._merge_in_time(start))
        if role != "master" and beam is not None and task_id not in self.works:
            self.works[task_id] = await asyncio.to_thread(self._open, start)

    async def on_stop(self, task_id: str, *, abort: bool) -> None:
        work = self.works.get(task_id)
        if work is not None and work.stopped_s is None:
            work.stopped_s = time.time()
        if work is not None and abort:
            work.queue.clear()
            work.clusters.clear()

    def _open(self, start: StartObservation) -> Work:
        name = f"{file_name(start.observation.task_id)}-CB{start.observation.beam:02d}.jsonl"
        journal = Journal(self.site.folder("processor") / name)
        cutter = Cutter(start.observation, self.site.settings, self.classifier)
        work = Work(start, self.site.folder("chain") / name, journal, cutter)
        for entry in journal.entries():
            work.done[entry["key"]] = entry
        return work

    async def work(self) -> None:
        while not self.stopping.is_set():
            self.post_box.send_in_background()
            for task_id, work in list(self.works.items()):
                try:
                    await asyncio.to_thread(self._follow, work)
                    self._begin(work)
                    if self._is_over(work):
                        await asyncio.to_thread(self._finish, work)
                        del self.works[task_id]
                except (Error, OSError) as error:
                    self.trouble[task_id] = str(error)
                    work.again_s = time.monotonic() + _AGAIN_S
                else:
                    if time.monotonic() >= work.again_s:
                        self.trouble.pop(task_id, None)
            self.numbers["at_work"] = " ".join(self.works)
            self.numbers["queue"] = sum(len(w.queue) + w.running for w in self.works.values())
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self.stopping.wait()
            except TimeoutError:
                pass
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _follow(self, work: Work) -> None:
        """Take new entries of the chain; queue clusters that grow no more."""
        limits, now_s = self.settings.clustering, time.time()
        for entry, offset in follow_entries(work.chain, work.offset):
            work.offset = offset
            if "decisions" not in entry:
                continue
            work.n_raw = max(0, work.n_raw) + entry["candidates"]
            self._count("left_out", entry["not_recorded"])
            work.n_left_out += entry["not_recorded"]
            for decision in entry["decisions"]:
                c = decision["cluster"]
                wanted = Wanted(**{name: c[name] for name in ("time_s", "dm", "snr", "width", "beam")})
                if is_selected(wanted, limits):
                    work.clusters[str(c["id"])] = (wanted, now_s)
        for id, (wanted, grown_s) in list(work.clusters.items()):
            key = key_of(wanted)
            if now_s - grown_s >= self.settings.interval:
                del work.clusters[id]
                if key not in work.queued and key not in work.done:
                    work.queued.add(key)
                    heapq.heappush(work.queue, (-wanted.snr, json.dumps(vars(wanted))))

    def _begin(self, work: Work) -> None:
        """Start on the brightest that are not begun, as far as there are hands."""
        limit_s = work.observation.end_s + self.settings.processing_time_limit
        if time.time() > limit_s and work.queue:
            self.trouble["late"] = f"{len(work.queue)} candidates were left out: the time is over"
            work.queue.clear()
        while work.running < self.settings.num_extractor and (wanted := self._next(work)) is not None:
            work.running += 1
            future = asyncio.get_running_loop().run_in_executor(self._pool, self._one, work, wanted)
            future.add_done_callback(partial(self._ended, work, wanted))

    def _next(self, work: Work) -> Wanted | None:
        """The brightest whose data are on disk, or whose data can come no more."""
        no_more = time.time() > work.observation.end_s + self.settings.extractor.delay
        for item in heapq.nsmallest(_AHEAD, work.queue):
            wanted = Wanted(**json.loads(item[1]))
            if no_more or work.cutter.has(wanted):
                work.queue.remove(item)
                heapq.heapify(work.queue)
                return wanted
        return None

    def _ended(self, work: Work, wanted: Wanted, done: asyncio.Future[bool]) -> None:
        work.running -= 1
        if done.result():
            key = key_of(wanted)
            work.queued.discard(key)
            work.clusters[f"again {key}"] = (wanted, time.time())

    def _one(self, work: Work, wanted: Wanted) -> bool:
        """One candidate, in a thread; an error costs this one alone, and is in the journal. True: it waits for room."""
        entry: dict[str, Any] = {"key": key_of(wanted), "wanted": vars(wanted)}
        try:
            found = work.cutter.cut(wanted)
            entry |= work.cutter.keep(found, work.kept)
            self._say_classifier()
            if isinstance(found, Extract):
                self._show(found)
                age_s = time.time() - work.observation.start_s - wanted.time_s
                self.numbers["last_sky_to_file_s"] = round(age_s, 3)
            self._count("refused" if "refused" in entry else "extracted")
            if entry.get("accepted"):
                self._count("accepted")
        except OSError as error:
            if error.errno in _FULL:
                self.trouble["disk"] = f"candidates wait: {error.strerror}"
                return True
            entry["failed"] = f"{type(error).__name__}: {error}"
            self._count("failed")
        except Exception as error:
            _log.exception("candidate at %.4f s, DM %.2f", wanted.time_s, wanted.dm)
            entry["failed"] = f"{type(error).__name__}: {error}"
            self._count("failed")
        work.done[entry["key"]] = entry
        try:
            work.journal.append(entry, sync=False)
        except OSError as error:  # after a crash it would be cut out again
            self.trouble["disk"] = f"{work.journal.path}: {error.strerror}"
        else:
            self.trouble.pop("disk", None)
        return False

    def _mail_merged(self, seen: Observation, merged: Merged, page: Path) -> None:
        """The page of an observation, and a warning if it lacks beams, once each."""
        n = plural(len(merged.found), "candidate")
        self.post_box.put(
            f"{seen.task_id}-summary",
            f"ARTS FRB Alert System - {seen.datetimesource}",
            f"{seen.source}, task {seen.task_id}: {n} of {plural(len(merged.counts), 'beam')}.\n{page.parent}\n",
            html=page.read_text(),
            files=[path for beam in merged.counts if (path := page.with_name(f"CB{beam:02d}.pdf")).is_file()],
        )
        if merged.missing:
            lines = [f"CB{beam:02d}: {why}" for beam, why in merged.missing.items()]
            self.post_box.put(
                f"{seen.task_id}-missing",
                f"ARTS FRB Alert System - warning: {plural(len(lines), 'beam')} missing of {seen.datetimesource}",
                "\n".join(
                    [*lines, "", "Put right what is wrong on the node, then: mwaconvert live reprocess"]
                )
                + "\n",
            )

    def _show(self, found: Extract) -> None:
        """The last few, small enough for a message."""
        facts = {"at_s": time.time(), "dm": found.dm, "snr": found.snr, "picture": thumbnail(found)}
        pictures = [c for c in self.recent if "picture" in c]
        for old in pictures[: -_PICTURES + 1]:
            self.recent.remove(old)
        self.recent.append(facts)

    def _say_classifier(self) -> None:
        self.numbers["ranked_by"] = self.classifier.words
        if self.classifier.problem:
            self.trouble["classifier"] = f"the classifier failed: {self.classifier.problem}"

    def _count(self, name: str, n: int = 1) -> None:
        self.numbers[name] = int(self.numbers[name]) + n

    # -- the end

    def _is_over(self, work: Work) -> bool:
        now_s = time.time()
        end_s = work.stopped_s if work.stopped_s is not None else work.observation.end_s
        idle = not work.queue and not work.running and not work.clusters
        return idle and now_s > end_s + self.settings.stop_delay and time.monotonic() >= work.again_s

    def _finish(self, work: Work) -> None:
        """Lists, counts and figures of the beam."""
        folder = result_folder(Path(expanded(self.settings.result_dir)), work.observation)
        local = work.observation.output_dir / self.settings.output_subdir
        found, problem = work.cutter.finish(
            work.done.values(),
            work.kept,
            (work.n_raw, work.n_left_out),
            folder,
            local,
            work.start.galactic_dm,
        )
        if problem:
            self.trouble["figures"] = problem
        work.journal.close()
        _log.info("%s: %d candidates", work.observation.task_id, len(found))
        task_id = work.observation.task_id
        self.recent.append({"task_id": task_id, "candidates": len(found), "folder": str(folder)})

    async def _merge_in_time(self, start: StartObservation) -> None:
        """Put together what is there: as soon as all beams are, or when the time is over."""
        seen, settings = start.observation, self.site.settings.processor_master
        known = sorted(seen.pointings_deg) if seen.beam is None else [seen.beam]
        beams = [int(beam) for beam in start.config.get("beams", known)]
        folder = result_folder(Path(expanded(self.settings.result_dir)), seen)
        until_s = seen.end_s + settings.max_wait_time
        await asyncio.sleep(max(0.0, seen.end_s - time.time()))
        while (missing := (await asyncio.to_thread(merge, folder, beams)).missing) and time.time() < until_s:
            await asyncio.sleep(min(settings.check_interval, max(0.0, until_s - time.time()) + 0.01))
        merged = await asyncio.to_thread(merge, folder, beams)
        page = await self._page_of(start, folder, merged)
        self._mail_merged(seen, merged, page)
        if missing:
            self.trouble[f"merge {seen.task_id}"] = f"{len(missing)} beams are missing"
        self.recent.append({"task_id": seen.task_id, "page": str(page), "missing": len(missing)})

    async def _page_of(self, start: StartObservation, folder: Path, merged: Merged) -> Path:
        """Written as soon as there is room."""
        seen = start.observation
        while True:
            try:
                page = await asyncio.to_thread(
                    write_merged,
                    folder,
                    seen,
                    merged,
                    start.parset,
                    galactic_dm=start.galactic_dm,
                    ranked_by=self.classifier.words,
                    most=self.site.settings.processor_master.ntrig_email_max,
                )
            except OSError as error:
                self.trouble[f"page {seen.task_id}"] = f"{folder}: {error.strerror}"
                await asyncio.sleep(_AGAIN_S)
            else:
                self.trouble.pop(f"page {seen.task_id}", None)
                return page


def _classifier(settings: Classify) -> Classifier:
    """Candidates are cut out whether models can be used or not."""
    try:
        return Classifier(settings)
    except Error as error:
        return Classifier.without(settings, str(error))
