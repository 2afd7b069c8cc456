"""The candidates of a beam, one by one, and the lists and figures of all: for services and for reprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.errors import Error
from mwaconvert.live.amber import read_whole
from mwaconvert.live.clusters import Cluster, Links, StreamClusters
from mwaconvert.live.observation import Observation, delay_s, read_beam_table
from mwaconvert.live.processing.beams import find_beams, open_beam
from mwaconvert.live.processing.classifier import Classifier
from mwaconvert.live.processing.extract import Extract, Refusal, Wanted, extract, window_of
from mwaconvert.live.processing.pages import write_pages
from mwaconvert.live.processing.products import (
    Counts,
    Found,
    Score,
    read_candidate,
    write_candidate,
    write_clusters,
    write_lists,
)
from mwaconvert.live.settings import Selection, Settings, expanded

#: figures of so many candidates at most
_DRAWN = 500


def key_of(wanted: Wanted) -> str:
    """By which a candidate is known."""
    return f"{wanted.time_s:.4f} {wanted.dm:.2f}"


def is_selected(wanted: Wanted, limits: Selection) -> bool:
    """Whether a cluster is worth to be cut out."""
    return (
        limits.dm_min <= wanted.dm <= limits.dm_max
        and wanted.snr >= limits.snr_min
        and wanted.width <= limits.width_max
    )


class Cutter:
    """Of one beam of an observation.

    Parameters
    ----------
    filterbanks : folder of CB00_00.fil and so on; None: filterbank/ in the output of the observation
    """

    def __init__(
        self,
        observation: Observation,
        settings: Settings,
        classifier: Classifier,
        filterbanks: Path | None = None,
    ) -> None:
        self.observation, self.classifier = observation, classifier
        self.settings = settings.processor
        self.filterbanks = filterbanks or observation.output_dir / "filterbank"
        beams = settings.sb_generator
        case = next((name for name, n in beams.numtab.items() if n == observation.n_tabs), "")
        table = Path(expanded(beams.table_folder)) / beams.table.get(case, "")
        self._table = read_beam_table(table, observation.n_tabs) if table.is_file() else None
        mask = Path(
            expanded(settings.processor.extractor.rfi_mask).replace(
                "FREQ", f"{observation.receiver.centre_mhz:.0f}"
            )
        )
        self._masked: list[int] = []
        if settings.processor.extractor.rfi_apply_mask and mask.is_file():
            self._masked = [int(word) for word in mask.read_text().split() if word.isdigit()]

    def has(self, wanted: Wanted) -> bool:
        """Whether all its data are on disk."""
        beam = self.observation.beam or 0
        if not find_beams(self.filterbanks, beam):
            return False
        stream = open_beam(self.filterbanks, beam, wanted.beam, self._table)
        try:
            return window_of(stream, wanted, self.settings.extractor).end <= stream.n_times
        finally:
            stream.close()

    def cut(self, wanted: Wanted) -> Extract | Refusal:
        """Cut it out of what is there."""
        beam = self.observation.beam or 0
        if not find_beams(self.filterbanks, beam):
            return Refusal.NO_DATA
        stream = open_beam(self.filterbanks, beam, wanted.beam, self._table)
        try:
            masked = [channel for channel in self._masked if channel < stream.n_chan]
            return extract(stream, wanted, self.settings.extractor, masked)
        finally:
            stream.close()

    def keep(self, found: Extract | Refusal, kept: list[tuple[Extract, Score]]) -> dict[str, Any]:
        """Judge and write it: what is to be noted. It joins `kept`, which are drawn, if it is accepted."""
        if isinstance(found, Refusal):
            return {"refused": found.value}
        score = self.classifier.score(found)
        path = write_candidate(
            self.observation.output_dir / self.settings.output_subdir / "data", found, score
        )
        accepted = self.classifier.accepts(score)
        if accepted and len(kept) < _DRAWN:
            kept.append((found, score))
        return {
            "file": str(path),
            "snr": found.snr,
            "time_s": found.time_s,
            "width": found.width,
            "p": score.freq_time,
            "accepted": accepted,
        }

    def finish(
        self,
        entries: Iterable[Mapping[str, Any]],
        kept: Sequence[tuple[Extract, Score]],
        counted: tuple[int, int],
        folder: Path,
        local: Path,
        galactic_dm: float | None,
    ) -> tuple[list[Found], str]:
        """Lists, counts and figures; the summary last.

        Parameters
        ----------
        entries : what was noted of each candidate, with `wanted`
        counted : lines of AMBER, -1 if not known, and clusters of storms that were left out
        folder, local : of the results of all beams, and of this one

        Returns
        -------
        candidates, and why there are no figures, or an empty text
        """
        beam, problem = self.observation.beam or 0, ""
        found, clusters, n_cut = [], [], 0
        entries = list(entries)
        kept = [*kept, *_of_before(entries, kept)]
        for entry in entries:
            w = entry["wanted"]
            common = {"beam": beam, "dm": w["dm"], "synthesised": w["beam"]}
            clusters.append(Found(**common, snr=w["snr"], time_s=w["time_s"], width=w["width"]))
            n_cut += "file" in entry
            if entry.get("accepted"):
                p = float("nan") if entry["p"] is None else entry["p"]
                place = {"time_s": entry["time_s"], "width": entry["width"]}
                found.append(Found(**common, **place, snr=entry["snr"], p=p))
        found.sort(key=lambda f: -f.snr)
        write_clusters(local / "grouped_pulses.singlepulse", clusters)
        folder.mkdir(parents=True, exist_ok=True)
        low_mhz = self.observation.min_freq_mhz
        band_mhz = (low_mhz, low_mhz + self.observation.receiver.bandwidth_mhz)
        try:
            write_pages(
                folder / f"CB{beam:02d}.pdf",
                kept,
                self.settings.visualizer,
                galactic_dm=galactic_dm,
                band_mhz=band_mhz,
            )
        except (Error, ValueError) as error:  # a colour that nobody knows, for one
            problem = str(error)
        counts, (n_raw, n_left_out) = Counts(), counted
        if n_raw >= 0:
            counts = Counts(
                raw=n_raw,
                clustered=len(clusters),
                thresholds=n_cut,
                classified=len(found),
                left_out=n_left_out,
            )
        write_lists(folder, beam, found, counts)
        return found, problem


def _of_before(
    entries: Sequence[Mapping[str, Any]], kept: Sequence[tuple[Extract, Score]]
) -> list[tuple[Extract, Score]]:
    """Candidates that an earlier process accepted, to be drawn, too, as far as their files are there."""
    drawn = {key_of(found.wanted) for found, _ in kept}
    before = [
        entry for entry in entries if entry.get("accepted") and key_of(Wanted(**entry["wanted"])) not in drawn
    ]
    found = []
    for entry in before[: max(0, _DRAWN - len(kept))]:  # threads may have kept one too many
        with suppress(Error):
            found.append(read_candidate(Path(entry["file"])))
    return found


@dataclass(frozen=True)
class Reprocessed:
    """What was found again. `notes`: what could not be done, and why."""

    found: tuple[Found, ...]
    refused: Mapping[str, int]
    notes: tuple[str, ...]


def reprocess(
    files: Sequence[Path],
    observation: Observation,
    settings: Settings,
    filterbanks: Path,
    folder: Path,
    galactic_dm: float | None = None,
) -> Reprocessed:
    """Cluster files of candidates of a beam, cut all out, judge and draw them, after the fact.

    Parameters
    ----------
    files : of AMBER, of one compound beam
    filterbanks : folder of CB00_00.fil and so on
    folder : of the results

    Raises
    ------
    Error
    """
    receiver = observation.receiver
    links = Links(dt_s=receiver.dt_s, delay_s_per_dm=delay_s(1.0, receiver.centre_mhz, receiver.top_mhz))
    stream = StreamClusters(links, keep_s=observation.duration_s + 60)
    clusters: dict[int, Cluster] = {}
    n_raw, notes = 0, []
    for number, path in enumerate(files, 1):
        batch = read_whole(path, number)
        n_raw += batch.rows.size
        changes = stream.add(batch.rows)
        for old in changes.merged:
            clusters.pop(old, None)
        clusters |= {c.id: c for c in changes.clusters}
        if batch.bad.count:
            notes.append(
                f"{path}: {batch.bad.count} lines are not candidates: {'; '.join(batch.bad.examples)}"
            )
    cutter = Cutter(observation, settings, Classifier(settings.processor.classifier), filterbanks)
    wanted = [
        Wanted(time_s=c.time_s, dm=c.dm, snr=c.snr, width=c.width, beam=c.beam)
        for c in sorted(clusters.values(), key=lambda c: -c.snr)
    ]
    wanted = [w for w in wanted if is_selected(w, settings.processor.clustering)]
    kept: list[tuple[Extract, Score]] = []
    with ThreadPoolExecutor(max(1, settings.processor.num_extractor)) as pool:
        cut = list(pool.map(cutter.cut, wanted))
    entries = [{"wanted": vars(w), **cutter.keep(found, kept)} for w, found in zip(wanted, cut, strict=True)]
    local = observation.output_dir / settings.processor.output_subdir
    found, problem = cutter.finish(entries, kept, (n_raw, 0), folder, local, galactic_dm)
    refused: dict[str, int] = {}
    for entry in entries:
        if "refused" in entry:
            refused[entry["refused"]] = refused.get(entry["refused"], 0) + 1
    if cutter.classifier.problem:
        notes.append(
            f"candidates without p are ranked by S/N: the classifier failed: {cutter.classifier.problem}"
        )
    return Reprocessed(tuple(found), refused, (*notes, *([problem] if problem else [])))
