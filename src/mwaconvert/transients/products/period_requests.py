"""What can be asked for of what repeats: a search for periods, a fold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mwaconvert.errors import InputError
from mwaconvert.transients.products.requests import (
    SeveralRequest,
    SpectraRequest,
    check_dm,
    dm_pair,
    refused,
)


class How(StrEnum):
    """Which searches for periods are made."""

    BOTH = "both"
    FFT = "fft"
    FFA = "ffa"


@dataclass(frozen=True, kw_only=True)
class CleanedRequest(SpectraRequest):
    """What requests share that clean their data.

    Parameters
    ----------
    mask_files : masks of channels and times: .mask of PRESTO's rfifind, .txt of channels
    raw : do not clean the data, see `transients.clean.cleaning`
    baseline, bad_channels : steps of the cleaning
    impulses : take away what arrives at all frequencies at once; it takes away bright pulses of low DM too
    """

    mask_files: tuple[Path, ...] = ()
    raw: bool = False
    baseline: bool = True
    bad_channels: bool = True
    impulses: bool = False


@dataclass(frozen=True, kw_only=True)
class PeriodRequest(CleanedRequest, SeveralRequest):
    """Periods within a range of DMs.

    Parameters
    ----------
    dm_min, dm_max : pc/cm^3; None: that of the data, if it is dedispersed
    period_min_s : None: 1 ms, or 4 samples if that is more
    period_max_s : None: 10 s, or a quarter of the data if that is less
    ffa_min_s : the shortest period of the fast folding algorithm
    how : both searches, or one
    threshold : S/N in a single trial
    width_min_s : narrowest pulse, by which the steps of DM are chosen; None: a tenth of the shortest period
    tscrunch : samples of a series that become one
    output : list of the candidates: .csv, .ecsv or .json
    plots : folder for a figure of each candidate
    max_plots : figures of the best ones, at most

    Examples
    --------
    >>> PeriodRequest(path=Path("b0355.fil"), dm_min=0, dm_max=100).threshold
    8.0
    """

    dm_min: float | None = None
    dm_max: float | None = None
    period_min_s: float | None = None
    period_max_s: float | None = None
    ffa_min_s: float = 0.5
    how: How = How.BOTH
    threshold: float = 8.0
    width_min_s: float | None = None
    tscrunch: int = 1
    output: Path | None = None
    plots: Path | None = None
    max_plots: int = 10

    @property
    def dm_range(self) -> tuple[float, float]:
        """DMs to search, pc/cm^3.

        Raises
        ------
        InputError : they were not given
        """
        return dm_pair(self.dm_min, self.dm_max, "to search")

    def check(self) -> None:
        super().check()
        if (self.dm_min is None) != (self.dm_max is None):
            self.dm_range  # noqa: B018  refuses what is missing
        if not self.threshold >= 4:
            raise refused("threshold", self.threshold, "4 or more: below, noise is found everywhere")
        for name in ("period_min_s", "period_max_s", "ffa_min_s", "width_min_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise refused(name, value, "a positive time")
        if self.how not in list(How):
            raise InputError(f"`how={self.how}`: expected {', '.join(How)}", option="how")
        if not 1 <= self.tscrunch <= 1 << 12:
            raise refused("tscrunch", self.tscrunch, "a whole number from 1 to 4096")
        if self.max_plots < 1:
            raise refused("max_plots", self.max_plots, "a whole number of at least 1")


@dataclass(frozen=True, kw_only=True)
class FoldRequest(CleanedRequest):
    """A fold at one period and DM.

    Parameters
    ----------
    path : the file
    period_s : at the start of the data
    pdot : s/s
    dm : pc/cm^3; None: that of the data
    barycentric : whether the period is that at the barycentre of the solar system
    n_bin : of a period; None: 64, or as many as there are samples
    n_part : parts of the time
    n_band : parts of the band; None: 32, or as many as there are channels
    output : figure: .png, .pdf or .svg; None: the name of the file with _fold.png
    archive : .npz for the parts, see `transients.periodicity.folding.Folded`

    Examples
    --------
    >>> FoldRequest(path=Path("b0355.fil"), period_s=0.15638, dm=57.1).target
    PosixPath('b0355_fold.png')
    """

    path: Path = Path()
    period_s: float | None = None
    pdot: float = 0.0
    dm: float | None = None
    barycentric: bool = False
    n_bin: int | None = None
    n_part: int = 64
    n_band: int | None = None
    output: Path | None = None
    archive: Path | None = None

    @property
    def known_period_s(self) -> float:
        """The period.

        Raises
        ------
        InputError : it was not given, or is none
        """
        if self.period_s is None:
            raise InputError("`period_s` is missing: give a number of seconds", option="period_s")
        if not 0 < self.period_s < float("inf"):
            raise refused("period_s", self.period_s, "a positive time")
        return self.period_s

    @property
    def target(self) -> Path:
        """The figure to write."""
        return self.path.with_name(f"{self.path.stem}_fold.png") if self.output is None else self.output

    def check(self) -> None:
        super().check()
        self.known_period_s  # noqa: B018  refuses what is none
        if self.dm is not None:
            check_dm(self.dm)
        if not abs(self.pdot) < 1:
            raise refused("pdot", self.pdot, "seconds per second, far below 1")
        for name, least, most in (("n_bin", 4, 4096), ("n_part", 1, 4096), ("n_band", 1, 1 << 20)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise refused(name, value, f"a whole number from {least} to {most}")
