"""What can be asked for: a search, a dedispersion, a waterfall. One field for each option, each with a default."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from mwaconvert.errors import InputError
from mwaconvert.quantities import bare

#: largest dispersion constant that anybody can mean, MHz^2 s cm^3 / pc
_LARGEST_K_DM = 1e6
#: inches: a figure must be larger
_SMALLEST_IN = 0.5


class Auto(StrEnum):
    """A value that the data decide."""

    AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class SpectraRequest:
    """What all requests share.

    Parameters
    ----------
    band_mhz : of VDIF: edges of the band, that of the first channel first
    channels : of voltages: split each channel of the file into this many; None: 128 of MWAX, else 1
    average : of voltages: spectra that become one
    continued : files that continue the first, as one observation
    start_s, end_s : what is read of the file, in seconds from its start; None: all of it
    pol : read this polarisation or IF only, counted from 0; None: total intensity
    use_weights, use_scales, use_offsets : of PSRFITS: apply DAT_WTS, DAT_SCL, DAT_OFFS
    k_dm : dispersion constant, MHz^2 s cm^3 / pc; None: 1 / 2.41e-4
    mask : (first, last) channels that are left out, counted from 0 at the lowest frequency
    mask_mhz : (low, high) frequencies whose channels are left out
    threads : 0 for all cores that the process may use; results do not depend on it
    max_memory_gib : refuse to take more; None: than the machine has free
    overwrite : replace outputs that exist
    report : file for what was done, as JSON
    """

    band_mhz: tuple[float, float] | None = None
    channels: int | None = None
    average: int = 1
    continued: tuple[Path, ...] = ()
    start_s: float | None = None
    end_s: float | None = None
    pol: int | None = None
    use_weights: bool = True
    use_scales: bool = True
    use_offsets: bool = True
    k_dm: float | None = None
    mask: tuple[tuple[int, int], ...] = ()
    mask_mhz: tuple[tuple[float, float], ...] = ()
    threads: int = 0
    max_memory_gib: float | None = None
    overwrite: bool = False
    report: Path | None = None

    def __post_init__(self) -> None:
        for field in fields(self):  # quantities of astropy may stand for numbers
            object.__setattr__(self, field.name, bare(field.name, getattr(self, field.name)))

    def check(self) -> None:
        """Refuse values that no file can make right.

        Raises
        ------
        InputError : with the field that is to blame
        """
        if self.k_dm is not None and not 0 < self.k_dm < _LARGEST_K_DM:
            raise refused("k_dm", self.k_dm, "a number near 4149, MHz^2 s cm^3 / pc")
        if self.channels is not None and self.channels < 1:
            raise refused("channels", self.channels, "a whole number of at least 1")
        if self.average < 1:
            raise refused("average", self.average, "a whole number of at least 1")
        if self.pol is not None and self.pol < 0:
            raise refused("pol", self.pol, "a whole number of at least 0")
        start_s = self.start_s or 0.0
        if not start_s >= 0:
            raise refused("start_s", start_s, "seconds from the start of the file")
        if self.end_s is not None and not self.end_s > start_s:
            raise refused("end_s", self.end_s, f"seconds from the start of the file, above {start_s:g}")
        if self.threads < 0:
            raise refused("threads", self.threads, "a whole number of at least 0")
        if self.max_memory_gib is not None and not self.max_memory_gib > 0:
            raise refused("max_memory_gib", self.max_memory_gib, "a positive number of GiB")


@dataclass(frozen=True, kw_only=True)
class GulpedRequest(SpectraRequest):
    """What is read in pieces of a size that may be chosen.

    Parameters
    ----------
    gulp : samples read at a time; None: as many as are quick; results do not depend on it
    """

    gulp: int | None = None

    def check(self) -> None:
        super().check()
        if self.gulp is not None and self.gulp < 1:
            raise refused("gulp", self.gulp, "a whole number of at least 1")


class Grouping(StrEnum):
    """Whether several files are one observation."""

    AUTO = "auto"
    ONE = "one"
    EACH = "each"


@dataclass(frozen=True, kw_only=True)
class SeveralRequest(SpectraRequest):
    """What may be asked for of several observations at once, see `products.observations`.

    Parameters
    ----------
    path : the file; those that are `continued` are other observations, unless they follow it
    grouping : auto: files that begin where another one ends are one observation; one: all are one; each: none
    """

    path: Path = Path()
    grouping: str = Grouping.AUTO

    def check(self) -> None:
        super().check()
        if self.grouping not in list(Grouping):
            raise InputError(f"`grouping={self.grouping}`: expected {', '.join(Grouping)}", option="grouping")


@dataclass(frozen=True, kw_only=True)
class SearchRequest(SeveralRequest, GulpedRequest):
    """Pulses within a range of DMs.

    Parameters
    ----------
    dm_min, dm_max : pc/cm^3
    threshold : S/N of detections
    loss : S/N that faster, approximate delays may cost, as a fraction; 0 for exact delays
    width_min_s : full width at half maximum of the narrowest pulse for which the loss is bounded; None: a sample
    n_width : boxcars of 1, 2, 4, ... 2^(n_width - 1) samples
    downsample : average samples, and take wider steps of DM, where channels smear pulses
    scale : bring each channel to mean 0 and standard deviation 1 first
    mask_outliers, iqrm, zero_dm : masks that look at the data before they are cleaned, see `transients.masking`
    mask_files : masks of channels and times: .mask of PRESTO's rfifind, .txt of channels
    write_mask : .mask, for what cleaning masked, as PRESTO's rfifind writes it
    raw : do not clean the data, see `transients.clean.cleaning`
    baseline, bad_channels, impulses : steps of the cleaning
    output : list of the candidates: .csv, .ecsv, .json, .singlepulse (PRESTO), .cand (heimdall) or .trigger (AMBER)
    barycentric : report times at the barycentre too, at infinite frequency
    gain_k_jy, tsys_k : K/Jy and K; with both the report has flux densities and fluences
    beams : the files are beams of one telescope; `products.beams.search_beams` tells in how many each candidate is
    plots : folder for a figure of each candidate
    cutouts : folder for a .h5 of each candidate, for classifiers; of the best `max_plots`
    classifier : .onnx, a model of others whose score of the cut-outs takes the place of ours; of the best `max_plots`
    completeness : pulses that are injected into copies of the data and searched again, to see how many are found
    max_plots : figures of the best ones, at most

    Examples
    --------
    >>> SearchRequest(path=Path("burst.fil"), dm_min=0, dm_max=1000).threshold
    6.75
    """

    dm_min: float | None = None
    dm_max: float | None = None
    threshold: float = 6.75
    loss: float = 0.01
    width_min_s: float | None = None
    n_width: int = 9
    downsample: bool = False
    scale: bool = False
    mask_outliers: bool = False
    iqrm: bool = False
    zero_dm: bool = False
    mask_files: tuple[Path, ...] = ()
    write_mask: Path | None = None
    raw: bool = False
    baseline: bool = True
    bad_channels: bool = True
    impulses: bool = True
    output: Path | None = None
    barycentric: bool = False
    gain_k_jy: float | None = None
    tsys_k: float | None = None
    beams: bool = False
    plots: Path | None = None
    max_plots: int = 50
    cutouts: Path | None = None
    classifier: Path | None = None
    completeness: int = 0

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
        self.dm_range  # noqa: B018  refuses what is missing
        if not self.threshold > 0:
            raise refused("threshold", self.threshold, "a positive number")
        if not 0 <= self.loss < 1:
            raise refused("loss", self.loss, "a fraction from 0 to below 1")
        if self.downsample and self.loss == 0:
            raise InputError(
                "`downsample` averages samples, which costs S/N: give a `loss` above 0, such as 0.01",
                option="downsample",
            )
        if self.width_min_s is not None and not self.width_min_s > 0:
            raise refused("width_min_s", self.width_min_s, "a positive time")
        for name, other in (("gain_k_jy", "tsys_k"), ("tsys_k", "gain_k_jy")):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise refused(name, value, "a positive number")
            if value is None and getattr(self, other) is not None:
                raise InputError(
                    f"`{other}` alone does not make a flux density: give `{name}` too", option=name
                )
        if not 1 <= self.n_width <= 20:
            raise refused("n_width", self.n_width, "a whole number from 1 to 20")
        if self.max_plots < 1:
            raise refused("max_plots", self.max_plots, "a whole number of at least 1")
        if self.write_mask is not None and (self.raw or self.write_mask.suffix.lower() != ".mask"):
            raise InputError(
                f"`write_mask={self.write_mask}`: expected a name that ends in .mask, and a search that cleans its data",
                option="write_mask",
            )
        if self.completeness < 0:
            raise refused("completeness", self.completeness, "a whole number of at least 0")


@dataclass(frozen=True, kw_only=True)
class InjectRequest(GulpedRequest):
    """Pulses added to a file; channels that are left out by `mask` and `mask_mhz` get nothing.

    Parameters
    ----------
    path : the file
    n_pulses : of random time and strength
    dm_min, dm_max : pc/cm^3, of the pulses
    widths_s : range of full widths at half maximum
    snrs : range of S/N of the matched filter, in the noise of the file
    scattering_s : 1/e time at 1 GHz
    index : of the power law of the spectrum
    seed : of the random numbers
    output : .fil, beside which a .csv says what was injected; None: the name of the file with _injected.fil

    Examples
    --------
    >>> InjectRequest(path=Path("noise.fil"), dm_min=10, dm_max=300).target
    PosixPath('noise_injected.fil')
    """

    path: Path = Path()
    n_pulses: int = 10
    dm_min: float | None = None
    dm_max: float | None = None
    widths_s: tuple[float, float] | None = None
    snrs: tuple[float, float] = (8.0, 20.0)
    scattering_s: float = 0.0
    index: float = 0.0
    seed: int = 0
    output: Path | None = None

    @property
    def dm_range(self) -> tuple[float, float]:
        """DMs of the pulses, pc/cm^3.

        Raises
        ------
        InputError : they were not given
        """
        return dm_pair(self.dm_min, self.dm_max, "of the pulses")

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.path.with_name(f"{self.path.stem}_injected.fil") if self.output is None else self.output

    def check(self) -> None:
        super().check()
        low, high = self.dm_range
        if not 0 <= low <= high < float("inf"):
            raise refused("dm_min", low, "DMs of 0 or more, the lower one first")
        if self.n_pulses < 1:
            raise refused("n_pulses", self.n_pulses, "a whole number of at least 1")
        if self.widths_s is not None and not 0 < self.widths_s[0] <= self.widths_s[1]:
            raise refused("widths_s", self.widths_s, "two positive times, the shorter one first")
        if not 0 < self.snrs[0] <= self.snrs[1]:
            raise refused("snrs", self.snrs, "two positive numbers, the smaller one first")
        if not self.scattering_s >= 0:
            raise refused("scattering_s", self.scattering_s, "a time of 0 or more")
        if self.seed < 0:
            raise refused("seed", self.seed, "a whole number of at least 0")


@dataclass(frozen=True, kw_only=True)
class DedisperseRequest(GulpedRequest):
    """One DM, to a waterfall, a filterbank or a time series.

    Parameters
    ----------
    path : the file
    dm : pc/cm^3; 0 only converts and averages
    n_sub : average to this number of sub-bands; None: all channels
    tscrunch : samples that become one
    n_bits : of .fil, .sf: 1, 2, 4, 8, 16 or 32; None: 8 if the values stay whole numbers of 8 bits, else 32
    reference : the frequency at which times stay as they are: top, centre, bottom, infinity, or MHz
    scale : bring each channel to mean 0 and standard deviation 1 first
    clean : clean the data first, see `transients.clean.cleaning`; what comes out are bytes in units of the noise
    baseline, bad_channels, impulses : steps of the cleaning
    mask_files : with `clean`, masks of channels and times: .mask of PRESTO's rfifind, .txt of channels
    output : .npz for a waterfall; .fil, .sf, .h5 for a filterbank; .tim, .dat for a time series; None: the name of
        the file with _dm<DM>.npz

    Examples
    --------
    >>> DedisperseRequest(path=Path("burst.fil"), dm=475.28).target
    PosixPath('burst_dm475.28.npz')
    """

    path: Path = Path()
    dm: float | None = None
    n_sub: int | None = None
    tscrunch: int = 1
    n_bits: int | None = None
    reference: str | float = "top"
    scale: bool = False
    clean: bool = False
    baseline: bool = True
    bad_channels: bool = True
    impulses: bool = True
    mask_files: tuple[Path, ...] = ()
    output: Path | None = None

    @property
    def known_dm(self) -> float:
        """The DM.

        Raises
        ------
        InputError : it was not given, or is none
        """
        if self.dm is None:
            raise InputError("`dm` is missing: give a number of pc/cm^3", option="dm")
        check_dm(self.dm)
        return self.dm

    @property
    def target(self) -> Path:
        """The file to write."""
        if self.output is not None:
            return self.output
        return self.path.with_name(f"{self.path.stem}_dm{self.known_dm:g}.npz")

    def check(self) -> None:
        super().check()
        self.known_dm  # noqa: B018  refuses what is none
        _check_averages(self.n_sub, self.tscrunch)
        if self.n_bits is not None and self.n_bits not in (1, 2, 4, 8, 16, 32):
            raise refused("n_bits", self.n_bits, "1, 2, 4, 8, 16 or 32")
        if self.clean and self.scale:
            raise InputError("`scale` is not needed: `clean` scales the channels", option="scale")
        steps = {name: getattr(self, name) for name in ("baseline", "bad_channels", "impulses")}
        given = [name for name, step in steps.items() if not step] + ["mask_files"] * bool(self.mask_files)
        if given and not self.clean:
            raise InputError(f"`{given[0]}` is a step of the cleaning: give `clean` too", option=given[0])


@dataclass(frozen=True, kw_only=True)
class WaterfallRequest(GulpedRequest):
    """Figures of pulses, each below its profile.

    Parameters
    ----------
    paths : the files, one for each panel
    dms : pc/cm^3, one for all files or one for each; auto: that of the brightest pulse; (): those that the files state
    n_sub : number of sub-bands; None: the largest divisor of the channels up to 128
    tscrunch : samples that become one; None: as many as make the pulse stand out
    window_s : shown on either side of the peak; None: 25 ms, or more for a pulse that is wider
    times_s : times that become 0, one for all files or one for each; (): where the pulse is brightest
    percentiles : limits of the colours: of what is shown, and of what is before the pulse
    titles : one for each file; (): the sources of several files
    label : above all panels, such as (a)
    size_in : inches, width and height of a row
    columns : panels side by side; None: up to 4
    cmap : colours, as matplotlib names them
    dpi : of .png
    mask_sum : leave out channels whose values add up to more than this, or less than its negative
    mask_var : leave out channels whose variance is larger
    scale : bring each channel to mean 0 and standard deviation 1 first; None: not of .npz waterfalls
    output : .pdf, .png or .svg; None: the first file with .pdf

    Examples
    --------
    >>> WaterfallRequest(paths=(Path("wfall.npz"),), dms=(87.81,)).target
    PosixPath('wfall.pdf')
    """

    paths: tuple[Path, ...] = ()
    dms: tuple[float | Auto, ...] = ()
    n_sub: int | None = None
    tscrunch: int | None = None
    window_s: float | None = None
    times_s: tuple[float, ...] = ()
    percentiles: tuple[float, float] = (2.5, 97.5)
    titles: tuple[str, ...] = ()
    label: str = ""
    size_in: tuple[float, float] = (4.26, 3.0)
    columns: int | None = None
    cmap: str = "viridis"
    dpi: int = 300
    mask_sum: float | None = None
    mask_var: float | None = None
    scale: bool | None = None
    output: Path | None = None

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.paths[0].with_suffix(".pdf") if self.output is None else self.output

    def check(self) -> None:
        super().check()
        if not self.paths:
            raise InputError("`paths` is missing: give one file or more", option="paths")
        _check_averages(self.n_sub, self.tscrunch)
        if self.window_s is not None and not self.window_s > 0:
            raise refused("window_s", self.window_s, "a positive time")
        if not min(self.size_in) > _SMALLEST_IN:
            raise refused("size_in", self.size_in, f"inches above {_SMALLEST_IN:g}")
        for dm in self.dms:
            if not isinstance(dm, Auto):
                check_dm(dm, "dms")
        if self.columns is not None and self.columns < 1:
            raise refused("columns", self.columns, "a whole number of at least 1")
        if not 30 <= self.dpi <= 2400:
            raise refused("dpi", self.dpi, "a whole number from 30 to 2400")
        for name in ("dms", "times_s"):
            n = len(getattr(self, name))
            if n not in (0, 1, len(self.paths)):
                raise InputError(
                    f"`{name}` was given {n} times for {len(self.paths)} files: give it once, or for each",
                    option=name,
                )
        if self.titles and len(self.titles) != len(self.paths):
            raise InputError(
                f"`titles` was given {len(self.titles)} times for {len(self.paths)} files: give it once for each",
                option="titles",
            )


def check_dm(dm: float, option: str = "dm") -> None:
    """Refuse a number that cannot be a DM.

    Raises
    ------
    InputError : it is negative, or not a number
    """
    if not 0 <= dm < float("inf"):
        raise refused(option, dm, "a number of pc/cm^3, 0 or more")


def dm_pair(dm_min: float | None, dm_max: float | None, what: str) -> tuple[float, float]:
    """Both ends of a range of DMs.

    Raises
    ------
    InputError : one was not given
    """
    if dm_min is None or dm_max is None:
        name = "dm_min" if dm_min is None else "dm_max"
        raise InputError(
            f"`{name}` is missing: give the range of DMs {what}, pc/cm^3, with `dm_min` and `dm_max`",
            option=name,
        )
    return dm_min, dm_max


def _check_averages(n_sub: int | None, tscrunch: int | None) -> None:
    if n_sub is not None and n_sub < 1:
        raise refused("n_sub", n_sub, "a whole number of at least 1")
    if tscrunch is not None and tscrunch < 1:
        raise refused("tscrunch", tscrunch, "a whole number of at least 1")


def refused(option: str, value: object, expected: str) -> InputError:
    """The error of a value that makes no sense."""
    text = " ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}"
    return InputError(f"`{option}={text}`: expected {expected}", option=option)
