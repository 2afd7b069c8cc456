"""iautils.cascade: the beams of an event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.frb import intensity
from mwaconvert.frb.archive import ROOTS, EventFiles, Root, find_event
from mwaconvert.frb.closed.spectra import Spectra
from mwaconvert.spectra import spectra as ours

MAX_BEAM, ALL_BEAMS = "max", "all"


@dataclass
class Archive:
    """Where `make_cascade_from_eventid` looks: set by whoever runs the script.

    Parameters
    ----------
    roots, telescope, day : see `find_event`
    beam : which is the brightest, where that is known
    """

    roots: Sequence[Root] = field(default_factory=lambda: ROOTS)
    telescope: str = "chime"
    day: date | None = None
    beam: int | None = None


#: of this process
ARCHIVE = Archive()


class Cascade:
    """Beams of an event, of which one is the brightest.

    Parameters
    ----------
    event_id : its number
    beams : by their numbers
    max_beam_no : number of the brightest
    """

    def __init__(self, event_id: int, beams: dict[int, Spectra], max_beam_no: int) -> None:
        self.event_id, self.beam_nos, self.beams = event_id, list(beams), list(beams.values())
        self.max_beam = beams[max_beam_no]

    @property
    def dm(self) -> float:
        """pc/cm^3, of the brightest beam; if it is set, all beams are dedispersed to it."""
        return self.max_beam.dm

    @dm.setter
    def dm(self, dm: float) -> None:
        for beam in self.beams:
            beam.dedisperse(dm)

    def process_cascade(
        self,
        dm: float | None = None,
        nsub: int | None = None,
        downsample_factor: int | None = None,
        dedisperse: bool = True,
        subband: bool = True,
        downsample: bool = True,
        zerodm: bool = False,
    ) -> None:
        """Subtract the mean over channels, dedisperse, average channels and samples of all beams, in this order.

        Parameters
        ----------
        dm, nsub, downsample_factor : None: that is left out
        dedisperse, subband, downsample, zerodm : whether it is done
        """
        for beam in self.beams:
            if zerodm:
                beam.zerodm()
            if dedisperse and dm is not None:
                beam.dedisperse(dm)
            if subband and nsub is not None:
                beam.subband(nsub)
            if downsample and downsample_factor is not None:
                beam.downsample(downsample_factor)


def make_cascade_from_eventid(eventid: int, beams: str | Iterable[int] = ALL_BEAMS) -> Cascade:
    """The beams of an event from the archive.

    Parameters
    ----------
    eventid : its number
    beams : max, all, or numbers

    Raises
    ------
    InputError : there is no such event, or it is not known which beam is the brightest
    """
    files = find_event(eventid, ARCHIVE.roots, telescope=ARCHIVE.telescope, day=ARCHIVE.day)
    numbers = _numbers(files, beams)
    brightest = ARCHIVE.beam if ARCHIVE.beam in numbers else numbers[0]
    return Cascade(files.event, {number: _read(files, number) for number in numbers}, brightest)


def _numbers(files: EventFiles, beams: str | Iterable[int]) -> list[int]:
    if beams == MAX_BEAM:
        return [intensity.beam_of(files, ARCHIVE.beam)[0]]
    if isinstance(beams, str):
        if beams != ALL_BEAMS:
            raise InputError(f"beams {beams!r}: expected max, all or numbers")
        beams = files.beams() or (intensity.beam_of(files, None)[0],)
    return [intensity.beam_of(files, number)[0] for number in beams]


def _read(files: EventFiles, number: int) -> Spectra:
    """A beam with NaN where it is masked: scripts look at the intensity alone."""
    stream = intensity.open_beam(intensity.beam_of(files, number)[1])
    read: ours.Spectra = stream.spectra()
    assert read.weights is not None
    values = np.where(read.weights > 0, read.data, np.float32(np.nan))
    return Spectra(values, read.fbottom, read.df_mhz, 0.0, read.dt_s, weights=read.weights)
