"""Whether a cluster triggers, and where; why, or why not: one record for each cluster.

Limits close when in doubt: without the Galactic DM of a pointing nothing is a new source, a pulse with a time to come
is of a wrong clock, and a storm of interference triggers nothing outside the house.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mwaconvert.live.clusters import Changes, Cluster
from mwaconvert.live.observation import Observation, delay_s
from mwaconvert.live.settings import Lofar, LofarThresholds, OverrideThresholds, Settings
from mwaconvert.live.sources import NEW, Kind, Source, Sources
from mwaconvert.text import utc_text

#: the dump of a ring buffer begins so long before a pulse: two of its pages, s
BEFORE_S = 2.048
#: a clock that is wrong by more than this is not trusted, s
_CLOCK_S = 1.0


class Way(Enum):
    """Where a trigger goes; the value is what is said of it."""

    IQUV = "dump of the IQUV ring buffer"
    LOFAR = "freeze of the LOFAR buffers"
    VOEVENT = "VOEvent"


class Reason(Enum):
    """Why a cluster triggers or not; the value is what is said of it."""

    TRIGGER = "meets all limits"
    OFF = "this observation triggers nothing here"
    DM_LOW = "the DM is below the limit"
    DM_NOT_KNOWN = "the Galactic DM here is not known, so nothing is taken for a new source"
    SNR_LOW = "the S/N is below the limit"
    TOO_WIDE = "the pulse is too wide"
    MANY_MEMBERS = "too many candidates in the cluster"
    PULSAR = "known pulsars go nowhere outside"
    OTHER_BEAM = "the source triggers from other compound beams only"
    NEW_SOURCES_OFF = "new sources are off while this source is observed"
    MANY_BEAMS = "seen in too many compound beams: interference"
    STORM = "part of a storm of interference"
    TOO_OLD = "too late: the buffers no longer hold the pulse, or it is no news"
    IN_FUTURE = "the pulse lies in the future: a clock is wrong"
    FAINTER = "brighter clusters of the batch go first"
    LOCKED_OUT = "too soon after the last one"
    ALREADY_SENT = "the cluster has triggered before"


@dataclass(frozen=True)
class Verdict:
    """For one way. `found` and `limit`: the numbers that decided, NaN where none did."""

    reason: Reason
    found: float = math.nan
    limit: float = math.nan

    def __str__(self) -> str:
        numbers = "" if math.isnan(self.found) else f" ({self.found:g}, limit {self.limit:g})"
        return self.reason.value + numbers


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided of a cluster at a moment.

    Parameters
    ----------
    task_id, beam : observation and compound beam
    cluster : as it was then
    source : known, or `NEW`
    arrival_s : at the top of the band, seconds since 1970
    decided_s : seconds since 1970
    verdicts : by way
    """

    task_id: str
    beam: int
    cluster: Cluster
    source: Source
    arrival_s: float
    decided_s: float
    verdicts: Mapping[Way, Verdict]

    @property
    def triggers(self) -> tuple[Way, ...]:
        return tuple(way for way, verdict in self.verdicts.items() if verdict.reason is Reason.TRIGGER)

    def facts(self) -> dict[str, Any]:
        """The record, for JSON."""
        cluster = {name: getattr(self.cluster, name) for name in self.cluster.__dataclass_fields__}
        return {
            "task_id": self.task_id,
            "compound_beam": self.beam,
            "arrival_utc": utc_text(self.arrival_s),
            "arrival_unix_s": self.arrival_s,
            "decided_unix_s": self.decided_s,
            "source": {"kind": self.source.kind.name.lower(), "name": self.source.name},
            "cluster": cluster,
            "verdicts": {
                way.name.lower(): {
                    "reason": v.reason.name.lower(),
                    "words": v.reason.value,
                    "found": v.found,
                    "limit": v.limit,
                }
                for way, v in self.verdicts.items()
            },
        }


@dataclass(frozen=True)
class Judgement:
    """Of one batch. `storm`: it had too many clusters or candidates; `left_out`: candidates that nobody looked at."""

    decisions: tuple[Decision, ...]
    storm: bool = False
    left_out: int = 0


class Coincidence:
    """In how many compound beams a pulse is seen; kept where all beams meet.

    Parameters
    ----------
    window_s : between arrivals of one pulse
    keep_s : how long beams may be apart in reporting

    Examples
    --------
    >>> seen = Coincidence()
    >>> [seen.add(beam, 100.0, 56.0) for beam in (0, 1, 1)]
    [1, 2, 2]
    """

    def __init__(self, window_s: float = 0.1, keep_s: float = 12.0, most: int = 20_000) -> None:
        self.window_s, self.keep_s = window_s, keep_s
        self._seen: deque[tuple[int, float, float]] = deque(maxlen=most)

    def add(self, beam: int, arrival_s: float, dm: float) -> int:
        """Beams with a pulse at that time and DM, this one counted."""
        while self._seen and self._seen[0][1] < arrival_s - self.keep_s:
            self._seen.popleft()
        self._seen.append((beam, arrival_s, dm))
        near_dm = 10 + 0.1 * dm
        return len(
            {b for b, t, d in self._seen if abs(t - arrival_s) <= self.window_s and abs(d - dm) <= near_dm}
        )


class Judge:
    """Decides on the clusters of one compound beam in one observation.

    Parameters
    ----------
    observation, settings, sources : as read
    galactic_dm : of the whole Galaxy along the pointing, pc/cm^3; None if it is not known
    coincidence : shared by the judges of all beams; None: this beam alone is known
    last_iquv_s : when the last dump was asked for, seconds since 1970, kept from an earlier run
    """

    def __init__(
        self,
        observation: Observation,
        settings: Settings,
        sources: Sources,
        galactic_dm: float | None,
        coincidence: Coincidence | None = None,
        last_iquv_s: float = -math.inf,
    ) -> None:
        self.observation, self.settings, self.galactic_dm = observation, settings, galactic_dm
        self.beam = observation.beam or 0
        self.source = sources.find(observation.source)
        self.coincidence = coincidence
        wanted = (sources.find(name) for name in settings.amber_clustering.lofar_trigger_sources)
        self._is_override = self.source is not None and self.source in wanted
        self._sent: dict[Way, set[int]] = {way: set() for way in Way}
        self.last_iquv_s = last_iquv_s

    def judge(self, changes: Changes, now_s: float) -> Judgement:
        """Decide on what a batch changed.

        Parameters
        ----------
        now_s : seconds since 1970
        """
        storm = len(changes.clusters) > self.settings.amber_clustering.most_clusters or changes.left_out > 0
        for old, into in changes.merged.items():
            for sent in self._sent.values():
                if old in sent:
                    sent.add(into)
        sources = [self._source_of(cluster) for cluster in changes.clusters]
        beams = [self._n_beams(cluster) for cluster in changes.clusters]
        verdicts = [
            {way: self._verdict(way, cluster, source, now_s, n_beams, storm=storm) for way in Way}
            for cluster, source, n_beams in zip(changes.clusters, sources, beams, strict=True)
        ]
        self._lock_out(changes.clusters, verdicts, now_s)
        self._brightest(changes.clusters, sources, verdicts)
        for cluster, of in zip(changes.clusters, verdicts, strict=True):
            for way, verdict in of.items():
                if verdict.reason is Reason.TRIGGER:
                    self._sent[way].add(cluster.id)
        return Judgement(
            tuple(
                Decision(
                    task_id=self.observation.task_id,
                    beam=self.beam,
                    cluster=cluster,
                    source=source,
                    arrival_s=self.observation.start_s + cluster.time_s,
                    decided_s=now_s,
                    verdicts=of,
                )
                for cluster, source, of in zip(changes.clusters, sources, verdicts, strict=True)
            ),
            storm,
            changes.left_out,
        )

    def _source_of(self, cluster: Cluster) -> Source:
        near = self.settings.amber_clustering.dm_range
        if self.source is not None and abs(cluster.dm - self.source.dm) <= near:
            return self.source
        return NEW

    def _n_beams(self, cluster: Cluster) -> int:
        if self.coincidence is None or cluster.snr < self.settings.amber_clustering.snr_min_global:
            return 1
        return self.coincidence.add(self.beam, self.observation.start_s + cluster.time_s, cluster.dm)

    def _verdict(
        self, way: Way, cluster: Cluster, source: Source, now_s: float, n_beams: int, *, storm: bool
    ) -> Verdict:
        """The first limit that a cluster fails."""
        seen = self.observation
        if not seen.triggers_wanted or (way is Way.IQUV and seen.is_polcal):
            return Verdict(Reason.OFF)
        if cluster.id in self._sent[way]:
            return Verdict(Reason.ALREADY_SENT)
        for checked in (self._limits(way, cluster, source), self._age(way, cluster, now_s)):
            if checked is not None:
                return checked
        if way is not Way.IQUV:
            if storm and source.kind is Kind.NEW:
                return Verdict(Reason.STORM)
            most = self.settings.amber_clustering.most_beams
            if n_beams > most:
                return Verdict(Reason.MANY_BEAMS, n_beams, most)
        return Verdict(Reason.TRIGGER)

    def _limits(self, way: Way, cluster: Cluster, source: Source) -> Verdict | None:
        common = self.settings.amber_clustering
        limits: LofarThresholds | OverrideThresholds = common.thresh_lofar
        is_new, dm_part, members = source.kind is Kind.NEW, common.thresh_lofar.dm_frac_min, math.inf
        snr_min, width_max = common.snr_min_global, math.inf
        if way is Way.IQUV:
            if is_new:
                dm_part = common.thresh_iquv.dm_frac_min
                snr_min = max(snr_min, common.thresh_iquv.snr_min)
                width_max = common.thresh_iquv.width_max
        else:
            if source.kind is Kind.PULSAR:
                return Verdict(Reason.PULSAR)
            if self._is_override:
                override = common.thresh_lofar_override
                if is_new and not override.trigger_on_new_sources:
                    return Verdict(Reason.NEW_SOURCES_OFF)
                if not is_new:
                    limits = override
                    if not _is_listed(self.beam, override.cb):
                        return Verdict(Reason.OTHER_BEAM)
            if is_new:
                members = common.thresh_lofar.max_cands_per_cluster
            snr_min, width_max = max(snr_min, limits.snr_min), limits.width_max
        dm_min = common.dm_min_global
        if is_new:
            if self.galactic_dm is None or not self.galactic_dm >= 0:
                return Verdict(Reason.DM_NOT_KNOWN)
            dm_min = max(dm_min, dm_part * self.galactic_dm)
        if cluster.dm < dm_min:
            return Verdict(Reason.DM_LOW, cluster.dm, dm_min)
        if cluster.snr < snr_min:
            return Verdict(Reason.SNR_LOW, cluster.snr, snr_min)
        if cluster.width > width_max:
            return Verdict(Reason.TOO_WIDE, cluster.width, width_max)
        if cluster.n_members > members:
            return Verdict(Reason.MANY_MEMBERS, cluster.n_members, members)
        return None

    def _age(self, way: Way, cluster: Cluster, now_s: float) -> Verdict | None:
        age_s = now_s - self.observation.start_s - cluster.time_s
        if age_s < -_CLOCK_S:
            return Verdict(Reason.IN_FUTURE, -age_s, _CLOCK_S)
        if way is Way.IQUV:
            oldest_s = self.observation.history_s - BEFORE_S
        elif way is Way.LOFAR:
            oldest_s = freeze_delay_s(cluster.dm, self.observation, self.settings.lofar_trigger)
        else:
            oldest_s = self.settings.voevent_generator.age_max
        return Verdict(Reason.TOO_OLD, age_s, oldest_s) if age_s > oldest_s else None

    def _lock_out(
        self, clusters: tuple[Cluster, ...], verdicts: list[dict[Way, Verdict]], now_s: float
    ) -> None:
        """The brightest of a batch share one event text; after it, none goes until the interval is over."""
        passed = [i for i, of in enumerate(verdicts) if of[Way.IQUV].reason is Reason.TRIGGER]
        interval_s = self.settings.amber_clustering.thresh_iquv.interval
        since_s = now_s - self.last_iquv_s
        if 0 <= since_s < interval_s:
            for i in passed:
                verdicts[i][Way.IQUV] = Verdict(Reason.LOCKED_OUT, since_s, interval_s)
        elif passed:
            self.last_iquv_s = now_s
            ranked = sorted(passed, key=lambda i: -clusters[i].snr)
            most = self.settings.amber_clustering.most_events
            for i in ranked[most:]:
                verdicts[i][Way.IQUV] = Verdict(
                    Reason.FAINTER, clusters[i].snr, clusters[ranked[most - 1]].snr
                )

    def _brightest(
        self, clusters: tuple[Cluster, ...], sources: list[Source], verdicts: list[dict[Way, Verdict]]
    ) -> None:
        """Outside goes one cluster of a batch: of the known source before new ones, the brightest."""
        for way in (Way.LOFAR, Way.VOEVENT):
            passed = [i for i, of in enumerate(verdicts) if of[way].reason is Reason.TRIGGER]
            ranked = sorted(passed, key=lambda i: (sources[i].kind is Kind.NEW, -clusters[i].snr))
            for i in ranked[1:]:
                verdicts[i][way] = Verdict(Reason.FAINTER, clusters[i].snr, clusters[ranked[0]].snr)


def _is_listed(beam: int, listed: int | tuple[int, ...] | None) -> bool:
    if listed is None:
        return True
    return beam in (listed if isinstance(listed, tuple) else (listed,))


def freeze_delay_s(dm: float, observation: Observation, settings: Lofar) -> float:
    """From the arrival at the top of the band until LOFAR's buffers are frozen, with the pulse in their middle."""
    top_mhz = observation.receiver.top_mhz
    return delay_s(dm, settings.lofar_freq, top_mhz) + settings.lofar_tbb_buffer_size / 2
