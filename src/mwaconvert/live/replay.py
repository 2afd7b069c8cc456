"""Files of candidates judged after the fact, as if they came in: what would have been sent, and why not the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.live.amber import BadLines, Rows, read_whole
from mwaconvert.live.clusters import Links, StreamClusters
from mwaconvert.live.criteria import Coincidence, Decision, Judge, Way
from mwaconvert.live.gate import Admission, Gate, State
from mwaconvert.live.legacy_clusters import BoxStream
from mwaconvert.live.observation import Observation, delay_s
from mwaconvert.live.settings import Settings
from mwaconvert.live.sources import Sources
from mwaconvert.live.triggers import Trigger, dada_event, lofar_packet_of, trigger_of
from mwaconvert.live.voevent import burst_event

#: AMBER reports batches of this length, s
_BATCH_S = 1.024
_NAME = re.compile(r"CB(\d\d)_step(\d)\.trigger")


@dataclass(frozen=True)
class Outgoing:
    """What would have gone out on one way: its text, its bytes in hex or the name of the event."""

    way: Way
    trigger: Trigger
    what: str
    admission: Admission


@dataclass
class Replay:
    """What became of the candidates.

    Parameters
    ----------
    decisions : in the order of time
    outgoing : in the order of time
    bad : lines that are not candidates
    n_rows : candidates
    storms : batches that were storms of interference
    left_out : candidates that nobody looked at
    """

    decisions: list[Decision] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    bad: BadLines = field(default_factory=BadLines)
    n_rows: int = 0
    storms: int = 0
    left_out: int = 0

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": "mwaconvert decisions",
            "candidates": self.n_rows,
            "bad_lines": {"count": self.bad.count, "examples": list(self.bad.examples)},
            "storms": self.storms,
            "left_out": self.left_out,
            "decisions": [decision.facts() for decision in self.decisions],
            "outgoing": [
                {
                    "way": out.way.name.lower(),
                    "id": out.trigger.id,
                    "what": out.what,
                    "admission": out.admission.name.lower(),
                }
                for out in self.outgoing
            ],
        }


def replay(
    paths: Sequence[Path],
    observation: Observation,
    settings: Settings,
    sources: Sources,
    galactic_dm: float | None = None,
    *,
    boxes: bool = False,
) -> Replay:
    """Judge files of candidates of one observation, of one compound beam or several.

    A batch is judged when it ends, as if there were no delays. Triggers pass the gates as tests.

    Parameters
    ----------
    paths : named CB00_step1.trigger and so on; any name if the observation is of one beam
    galactic_dm : pc/cm^3; None: nothing is taken for a new source
    boxes : cluster as DARC does

    Raises
    ------
    InputError
        A name that does not tell the beam.
    """
    done = Replay()
    rows = _rows_by_beam(paths, observation, done)
    gates = {
        Way.LOFAR: Gate(settings.lofar_trigger.per_hour, settings.lofar_trigger.per_source_per_day),
        Way.VOEVENT: Gate(settings.voevent_generator.per_hour, settings.voevent_generator.per_source_per_day),
    }
    receiver = observation.receiver
    links = Links(dt_s=receiver.dt_s, delay_s_per_dm=delay_s(1.0, receiver.centre_mhz, receiver.top_mhz))
    together = Coincidence()
    seen = {beam: replace(observation, beam=beam) for beam in rows}
    streams: dict[int, StreamClusters | BoxStream] = {
        beam: BoxStream(settings.amber_clustering) if boxes else StreamClusters(links) for beam in rows
    }
    judges = {beam: Judge(seen[beam], settings, sources, galactic_dm, together) for beam in rows}
    for end_s, beam, batch in _batches(rows):
        now_s = observation.start_s + end_s
        judgement = judges[beam].judge(streams[beam].add(batch), now_s)
        done.decisions += judgement.decisions
        done.storms += judgement.storm
        done.left_out += judgement.left_out
        done.outgoing += _outgoing(judgement.decisions, seen[beam], settings, galactic_dm, gates, now_s)
    return done


def _rows_by_beam(paths: Sequence[Path], observation: Observation, done: Replay) -> dict[int, Rows]:
    parts: dict[int, list[Rows]] = {}
    for path in paths:
        name = _NAME.fullmatch(path.name)
        beam = int(name[1]) if name else observation.beam
        if beam is None:
            raise InputError(
                f"{path}: expected a name as CB00_step1.trigger, which tells the compound beam", path=path
            )
        batch = read_whole(path, int(name[2]) if name else 1)
        parts.setdefault(beam, []).append(batch.rows)
        done.bad += batch.bad
        done.n_rows += batch.rows.size
    return {beam: np.concatenate(of) for beam, of in sorted(parts.items())}


def _batches(rows: Mapping[int, Rows]) -> Iterator[tuple[float, int, Rows]]:
    """(end in s, beam, candidates) in the order of time, the beams side by side."""
    pieces = []
    for beam, of_beam in rows.items():
        number = np.floor(of_beam["time_s"] / _BATCH_S).astype(np.int64)
        order = np.argsort(number, kind="stable")
        numbers, first = np.unique(number[order], return_index=True)
        for n, piece in zip(numbers.tolist(), np.split(of_beam[order], first[1:]), strict=True):
            pieces.append(((n + 1) * _BATCH_S, beam, piece))
    yield from sorted(pieces, key=lambda piece: piece[:2])


def _outgoing(
    decisions: Sequence[Decision],
    observation: Observation,
    settings: Settings,
    galactic_dm: float | None,
    gates: Mapping[Way, Gate],
    now_s: float,
) -> Iterator[Outgoing]:
    dumps = [trigger_of(d, observation, galactic_dm) for d in decisions if Way.IQUV in d.triggers]
    if dumps:
        text = dada_event(dumps, observation.start_s, settings.dada_trigger)
        yield Outgoing(Way.IQUV, dumps[0], text, Admission.SEND)
    for decision in decisions:
        for way in decision.triggers:
            if way is Way.IQUV:
                continue
            trigger = trigger_of(decision, observation, galactic_dm)
            try:
                what = _text_of(way, trigger, settings, now_s)
            except InputError as error:
                yield Outgoing(way, trigger, str(error), Admission.CANNOT)
            else:
                yield Outgoing(way, trigger, what, gates[way].admit(trigger, State.TEST, now_s))


def _text_of(way: Way, trigger: Trigger, settings: Settings, now_s: float) -> str:
    if way is Way.LOFAR:
        lofar = settings.lofar_trigger
        packet = lofar_packet_of(
            trigger, test=True, lofar_mhz=lofar.lofar_freq, buffer_s=lofar.lofar_tbb_buffer_size
        )
        return packet.hex()
    return burst_event(trigger, test=True, now_s=now_s).ivorn
