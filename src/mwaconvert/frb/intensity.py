"""Intensity of an event: its beams, the brightest of them, and the waterfall that get_wfall.py makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.chime_msgpack import SUFFIXES, ChunkStream
from mwaconvert.frb.archive import EventFiles, Holding
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.text import some
from mwaconvert.transients.figures import pulse_of

_TRIAL_SUBBANDS = 128  # in which beams are compared


@dataclass(frozen=True, eq=False)
class BeamWaterfall:
    """A dedispersed beam of an event.

    Parameters
    ----------
    event, beam : which
    spectra : in sub-bands, each channel scaled before
    snr : of the best boxcar, by beam, where several were compared
    """

    event: int
    beam: int
    spectra: Spectra
    snr: Mapping[int, float]


def beam_of(files: EventFiles, beam: int | None) -> tuple[int, Holding]:
    """A beam of which there is raw intensity.

    Parameters
    ----------
    files : of `find_event`
    beam : its number; None: the only one

    Raises
    ------
    InputError : there is no such beam, or there are several to choose from
    """
    beams = files.beams()
    there = some([f"{number:04d}" for number in beams])
    if not beams:
        raise InputError(f"event {files.event}: there is no raw intensity of it in the archive")
    if beam is None and len(beams) > 1:
        raise InputError(
            f"event {files.event}: there are the beams {there}: give one with `beam`", option="beam"
        )
    number = next(iter(beams)) if beam is None else beam
    if number not in beams:
        raise InputError(
            f"event {files.event}: there is no raw intensity of beam {number:04d}, only of {there}",
            option="beam",
        )
    return number, beams[number]


def open_beam(held: Holding) -> ChunkStream:
    """The chunks of a beam as one stream.

    Raises
    ------
    InputError : there is none
    FormatError : one is damaged, or they do not belong together
    """
    chunks = [path for path in held.paths if Path(path).suffix in SUFFIXES]
    if not chunks:
        raise InputError(f"{held.folder}: there are no chunks (.msgpack) in it")
    return ChunkStream(chunks)


def make_wfall(
    files: EventFiles, dm: float, n_sub: int, *, beam: int | None = None, threads: int = 0
) -> BeamWaterfall:
    """The waterfall of an event: channels scaled, dedispersed at full resolution, averaged to sub-bands.

    Parameters
    ----------
    files : of `find_event`
    dm : pc/cm^3
    n_sub : number of sub-bands, at least 2
    beam : its number; None: the one in which the pulse is brightest at this DM
    threads : 0 for all cores

    Raises
    ------
    InputError : there is no such beam, or numbers that make no sense
    FormatError : a file is damaged
    ResourceError : there is no memory for it
    """
    if n_sub < 2:
        raise InputError(f"`n_sub={n_sub}`: expected at least 2 sub-bands", option="n_sub")
    snr: dict[int, float] = {}
    if beam is None and len(files.beams()) > 1:
        for number, held in files.beams().items():
            trial = open_beam(held).waterfall(dm, _TRIAL_SUBBANDS, threads=threads)
            snr[number] = pulse_of(trial)[1]
        beam = max(snr, key=lambda number: snr[number])
    beam, held = beam_of(files, beam)
    return BeamWaterfall(files.event, beam, open_beam(held).waterfall(dm, n_sub, threads=threads), snr)
