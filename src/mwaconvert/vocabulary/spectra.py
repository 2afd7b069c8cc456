"""Requests for spectra in three forms: words of a command line, canonical JSON, and `transients.products` requests.

Every option of `mwaconvert search`, `period`, `fold`, `dedisperse`, `waterfall` and `inject` stands in one table, with
the names that PRESTO, heimdall, `your`, riptide, dspsr and the tutorial of CHIME/FRB give it. Names are compared
without dashes and underscores, and one dash does for two: -detect_thresh is --detect-thresh.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwaconvert.errors import InputError
from mwaconvert.text import plain
from mwaconvert.vocabulary import values
from mwaconvert.vocabulary.options import Named, squeeze

if TYPE_CHECKING:
    from mwaconvert.transients.products import SpectraRequest


class Verb(StrEnum):
    """What can be asked for."""

    SEARCH = "search"
    DEDISPERSE = "dedisperse"
    WATERFALL = "waterfall"
    INJECT = "inject"
    PERIOD = "period"
    FOLD = "fold"

    @property
    def request(self) -> type[SpectraRequest]:
        """The class of its requests."""
        from mwaconvert.transients import products

        return {
            Verb.SEARCH: products.SearchRequest,
            Verb.DEDISPERSE: products.DedisperseRequest,
            Verb.WATERFALL: products.WaterfallRequest,
            Verb.INJECT: products.InjectRequest,
            Verb.PERIOD: products.PeriodRequest,
            Verb.FOLD: products.FoldRequest,
        }[self]

    @property
    def file_field(self) -> str:
        """The field that names the file, or the files."""
        return "paths" if self is Verb.WATERFALL else "path"


#: who has an option under one of its names: the letters of `Spec.peers`
PEERS = {
    "P": "PRESTO",
    "H": "heimdall",
    "Y": "your",
    "C": "CHIME/FRB's tutorial",
    "R": "riptide",
    "D": "dspsr",
}

#: settings of the run, which are not fields of a request
RUN_SETTINGS = ("dry_run", "quiet", "verbose")


@dataclass(frozen=True)
class Kind:
    """How a value is read from words, and written as words.

    Attributes
    ----------
    parse : words -> value; raises ValueError with a sentence
    write : value -> words that are read as the same value; raises TypeError or ValueError for another type
    show : a value as text, in the unit of the field -> in that of the words
    """

    parse: Callable[..., Any]
    write: Callable[[Any], tuple[str, ...]]
    show: Callable[[str], str] = str


def _any_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number") from None


def _number(text: str) -> float:
    value = _any_number(text)
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is not a finite number")
    return value


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text.strip()):
        raise ValueError(f"'{text}' is not a whole number")
    return int(text)


def _milliseconds(text: str) -> float:
    """25, 25ms, 0.025s -> seconds."""
    lower = text.strip().lower()
    if lower.endswith("ms"):
        return _number(lower[:-2]) / 1e3
    return _number(lower[:-1]) if lower.endswith("s") else _number(lower) / 1e3


def _seconds(text: str) -> float:
    """0.0337, 0.0337s, 33.7ms -> seconds."""
    lower = text.strip().lower()
    if lower.endswith("ms"):
        return _number(lower[:-2]) / 1e3
    return _number(lower.removesuffix("s"))


def _how(text: str) -> Any:
    """fft, ffa or both."""
    from mwaconvert.transients.products.period_requests import How

    if text.strip().lower() not in list(How):
        raise ValueError(f"'{text}' is none of {', '.join(How)}")
    return How(text.strip().lower())


def _boxcars(text: str) -> int:
    """The longest boxcar in samples -> how many there are, each twice as long as the last."""
    return values.positive(text).bit_length()


def _as_number(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("expected a number")
    return (repr(float(value)),)


def _as_whole(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("expected a whole number")
    return (str(value),)


def _as_milliseconds(value: Any) -> tuple[str, ...]:
    (seconds,) = _as_number(value)
    text = repr(float(value) * 1e3)
    return (text,) if _milliseconds(text) == value else (f"{seconds}s",)


def _as_pair(value: Any) -> tuple[str, ...]:
    first, second = value
    return (*_as_number(first), *_as_number(second))


def _as_text(value: Any) -> tuple[str, ...]:
    if not isinstance(value, str | Path):
        raise TypeError("expected text")
    return (str(value),)


def _as_range(value: Any) -> tuple[str, ...]:
    first, last = value
    return (f"{_as_whole(first)[0]}-{_as_whole(last)[0]}",)


def _dm(text: str) -> Any:
    """A number, or auto."""
    from mwaconvert.transients.products.requests import Auto

    return Auto.AUTO if text.strip().lower() == Auto.AUTO else _any_number(text)


def _as_dm(value: Any) -> tuple[str, ...]:
    return (value,) if value == "auto" else _as_number(value)


NUMBER = Kind(_number, _as_number)
DM = Kind(_dm, _as_dm)
REFERENCE = Kind(
    lambda text: float(text) if re.match(r"[+-]?[\d.]", text) else text,
    lambda value: (value,) if isinstance(value, str) else _as_number(value),
)
ANY_NUMBER = Kind(_any_number, _as_number)  # the request refuses what is not finite in better words
SECONDS = Kind(_seconds, _as_number)
HOW = Kind(_how, lambda value: (str(value),))
WHOLE = Kind(_whole, _as_whole)
THREADS = Kind(values.threads, _as_whole)
MILLISECONDS = Kind(_milliseconds, _as_milliseconds, lambda text: f"{1e3 * float(text):g}")
BOXCARS = Kind(_boxcars, lambda value: (str(1 << (value - 1)),))
GIBIBYTES = Kind(values.gibibytes, _as_number)
MILLISECOND_PAIR = Kind(
    lambda first, second: (_milliseconds(first), _milliseconds(second)),
    lambda value: tuple(_as_milliseconds(v)[0] for v in value),
    lambda text: " ".join(f"{1e3 * float(v):g}" for v in text.split()),
)
PAIR = Kind(lambda first, second: (_number(first), _number(second)), _as_pair)
TEXT = Kind(str, _as_text)
PATH = Kind(Path, _as_text)
RANGES = Kind(lambda text: values.ranges(text.replace(":", "-")), _as_range)


@dataclass(frozen=True)
class Spec(Named):
    """One option; `sets` is a field, or two separated by a blank, or one of `RUN_SETTINGS`.

    Attributes
    ----------
    kind : how values are read and written; not used by flags
    value : what a flag sets
    nargs : how many values follow
    listed : values add up when the option is repeated
    peers : letters of `PEERS`: who has it under one of these names
    required : click refuses its absence
    """

    kind: Kind = TEXT
    value: Any = True
    nargs: int = 1
    listed: bool = False
    peers: str = ""
    required: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """What it sets."""
        return tuple(self.sets.split())


# one option a line or two, as a table
# fmt: off
_PREPARING = (
    Spec("--start", "start_s", "Leave out what is before, in seconds from the start of the file.", "S", NUMBER),
    Spec("--end", "end_s", "Leave out what is after, in seconds from the start of the file.", "S", NUMBER),
    Spec("--pol", "pol", "Read this polarisation or IF only, counted from 0. Default: total intensity.", "N", WHOLE),
    Spec("--no-weights", "use_weights", "PSRFITS: do not apply the weights of the file.", value=False, peers="P"),
    Spec("--no-scales", "use_scales", "PSRFITS: do not apply the scales of the file.", value=False, peers="P"),
    Spec("--no-offsets", "use_offsets", "PSRFITS: do not apply the offsets of the file.", value=False, peers="P"),
    Spec("--mask --ignorechan", "mask",
         "Leave out channels, counted from 0 at the lowest frequency: 0-10,35; may be repeated.", "LIST", RANGES,
         listed=True, peers="P"),
    Spec("--mask-mhz", "mask_mhz", "Leave out channels within these frequencies; may be repeated.", "LOW HIGH", PAIR,
         nargs=2, listed=True),
)
#: options for files of voltages, which are detected while they are read
VOLTAGES = (
    Spec("--band", "band_mhz", "VDIF: edges of the band in MHz, that of the first channel first.", "LOW HIGH", PAIR,
         nargs=2),
    Spec("--channels", "channels", "Voltages: split each channel into this many. Default: 128 of MWAX, else 1.", "N",
         WHOLE),
    Spec("--average", "average", "Voltages: spectra that become one.", "N", WHOLE),
)
_RUNNING = (
    Spec("--k-dm", "k_dm", "Dispersion constant, MHz^2 s cm^3 / pc. Default: 1/2.41e-4 = 4149.378.", "K", NUMBER),
    Spec("--gulp --nsamps-gulp", "gulp", "Samples read at a time; results do not depend on it.", "N", WHOLE,
         peers="HY"),
    Spec("-j --threads --ncpus", "threads", "Default: all cores this process may use.", "N", THREADS, peers="P"),
    Spec("--max-memory", "max_memory_gib", "Refuse to take more than this: 4, 4GB, 512MiB.", "GIB", GIBIBYTES),
    Spec("--report", "report", "Write what was done as JSON.", "FILE", PATH),
    Spec("--dry-run", "dry_run", "Print what would be done and how much memory it takes."),
    Spec("--overwrite", "overwrite", "Replace outputs that exist."),
    Spec("-q --quiet", "quiet", "Print nothing but errors."),
    Spec("-v --verbose", "verbose", "Log lines, and tracebacks of unexpected errors."),
)
_RUNNING_IN_PIECES = tuple(spec for spec in _RUNNING if spec.sets != "gulp")  # of a size that the data decide
_SCALE = Spec("--scale", "scale", "Bring each channel to mean 0 and standard deviation 1 first.")
_TSCRUNCH = Spec("--tscrunch --downsamp", "tscrunch", "Average this many samples in time.", "N", WHOLE, peers="PC")

_GROUPING = (
    Spec("--one-observation", "grouping", "Several files: all of them are one observation.", value="one"),
    Spec("--each", "grouping",
         "Several files: each is an observation. Default: those are one that begin where another one ends.",
         value="each"),
)
_MASK_FILE = Spec(
    "--mask-file", "mask_files",
    "Leave out what a mask says: .mask of PRESTO's rfifind, .txt of channels; may be repeated.", "FILE", PATH,
    listed=True)
_STEPS = (
    Spec("--no-baseline", "baseline", "Do not subtract running medians.", value=False),
    Spec("--no-bad-channels", "bad_channels", "Do not mask channels, and times of channels, unlike the others.",
         value=False),
)
_CLEANING = (
    _MASK_FILE,
    Spec("--raw", "raw", "Take the data as they are: by default they are cleaned."),
    *_STEPS,
    Spec("--impulses", "impulses",
         "Take away what arrives at all frequencies at once, bright pulses of low DM too."),
)

TABLES: dict[Verb, tuple[Spec, ...]] = {
    Verb.SEARCH: (
        Spec("--dm-range --dm", "dm_min dm_max", "DMs to search, pc/cm^3.", "LO HI", ANY_NUMBER, nargs=2, peers="HY"),
        Spec("--dm-min --lodm", "dm_min", "The lowest DM, pc/cm^3.", "DM", ANY_NUMBER, peers="P"),
        Spec("--dm-max --hidm", "dm_max", "The highest DM, pc/cm^3.", "DM", ANY_NUMBER, peers="P"),
        Spec("--snr --threshold --detect-thresh", "threshold", "S/N of detections. Default: 6.75.", "X", ANY_NUMBER,
             peers="PH"),
        Spec("--loss", "loss",
             "S/N that faster, approximate delays may cost, as a fraction; 0: exact delays. Default: 0.01.", "X",
             ANY_NUMBER),
        Spec("--width-min", "width_min_s",
             "Narrowest pulse (full width at half maximum) for which the loss is bounded. Default: a sample.", "MS",
             MILLISECONDS),
        Spec("--widths", "n_width", "Boxcars of 1, 2, 4, ... 2^(N-1) samples. Default: 9.", "N", WHOLE),
        Spec("--boxcar-max", "n_width", "Same, by the samples of the longest.", "SAMPLES", BOXCARS, peers="HY"),
        Spec("--downsample", "downsample",
             "Average samples, and take wider steps of DM, where channels smear pulses: faster for wide channels; "
             "at most as much S/N is lost again. Not for data that are dedispersed within channels."),
        Spec("-o --output", "output",
             "Write all candidates: .csv, .ecsv (astropy), .json, .singlepulse (PRESTO), .cand (heimdall) or .trigger "
             "(AMBER).", "OUT", PATH),
        Spec("--barycentric", "barycentric", "Report times at the barycentre too (TDB), at infinite frequency."),
        Spec("--gain", "gain_k_jy", "K/Jy; with --tsys, report flux densities and fluences.", "K/JY", NUMBER),
        Spec("--tsys", "tsys_k", "Temperature of the system with the sky, K.", "K", NUMBER),
        Spec("--plots", "plots", "Draw a figure of each candidate.", "DIR", PATH),
        Spec("--max-plots", "max_plots", "Of the best ones. Default: 50.", "N", WHOLE),
        Spec("--cutouts", "cutouts", "Write a .h5 of each of these for classifiers, as `your` does.", "DIR", PATH),
        Spec("--classifier", "classifier",
             "A model in ONNX that judges the cut-outs of these: its score takes the place of ours.", "FILE", PATH),
        Spec("--completeness", "completeness",
             "Inject N pulses into the data, 20 at a time, search again, and tell how many are found.", "N", WHOLE),
        _MASK_FILE,
        Spec("--write-mask", "write_mask", "Write what cleaning masked, as rfifind does (.mask).", "FILE", PATH),
        Spec("--raw", "raw", "Search the data as they are: by default they are cleaned."),
        *_STEPS,
        Spec("--no-impulses", "impulses", "Do not take away what arrives at all frequencies at once.", value=False),
        Spec("--zero-dm", "zero_dm", "Subtract what arrives at all frequencies at once.", peers="P"),
        Spec("--iqrm", "iqrm",
             "Mask channels, for about a thousand samples each time, that vary more than their neighbours (IQRM)."),
        Spec("--mask-outliers", "mask_outliers",
             "Mask channels whose mean or variation in a segment is unlike that of their neighbours."),
        *_GROUPING,
        Spec("--beams", "beams",
             "Several files: they are beams of one telescope. Tell in how many each candidate is, and flag what is in "
             "more than 4."),
        _SCALE, *_PREPARING, *VOLTAGES, *_RUNNING,
    ),
    Verb.DEDISPERSE: (
        Spec("--dm", "dm", "pc/cm^3; 0 only converts and averages.", "DM", ANY_NUMBER, required=True, peers="PC"),
        Spec("--nsub", "n_sub", "Average to this number of sub-bands. Default: all channels.", "N", WHOLE,
             peers="PC"),
        _TSCRUNCH,
        Spec("--reference", "reference",
             "Frequency at which times stay as they are: top, centre, bottom, infinity, or MHz. Default: top.", "FREQ",
             REFERENCE),
        Spec("--nbits", "n_bits", "Of .fil and .sf. Default: 8 if the values stay whole numbers of 8 bits, else 32.",
             "1|2|4|8|16|32", WHOLE),
        Spec("-o --output --outfile", "output",
             "Default: FILE with _dm<DM>.npz. .npz: waterfall; .fil, .sf (PSRFITS), .h5 (blimpy): filterbank; "
             ".tim, .dat: time series.",
             "OUT", PATH, peers="P"),
        Spec("--clean", "clean",
             "Clean the data first, as search does: bytes in units of the noise, without interference."),
        _MASK_FILE, *_STEPS,
        Spec("--no-impulses", "impulses", "Do not take away what arrives at all frequencies at once.", value=False),
        _SCALE, *_PREPARING, *VOLTAGES, *_RUNNING,
    ),
    Verb.INJECT: (
        Spec("--dm-range --dm", "dm_min dm_max", "DMs of the pulses, pc/cm^3.", "LO HI", ANY_NUMBER, nargs=2),
        Spec("--dm-min", "dm_min", "The lowest DM, pc/cm^3.", "DM", ANY_NUMBER),
        Spec("--dm-max", "dm_max", "The highest DM, pc/cm^3.", "DM", ANY_NUMBER),
        Spec("--pulses", "n_pulses", "How many. Default: 10.", "N", WHOLE),
        Spec("--snr", "snrs", "S/N of the matched filter. Default: 8 20.", "LO HI", PAIR, nargs=2),
        Spec("--width", "widths_s", "Full widths at half maximum. Default: 1 to 64 samples.", "MS MS",
             MILLISECOND_PAIR, nargs=2),
        Spec("--scattering", "scattering_s", "1/e time at 1 GHz; it goes with frequency^-4. Default: 0.", "MS",
             MILLISECONDS),
        Spec("--index", "index", "Power law of the spectrum. Default: 0.", "X", NUMBER),
        Spec("--seed", "seed", "Of the random numbers. Default: 0.", "N", WHOLE),
        Spec("-o --output", "output", "A .fil; a .csv beside it has the truth. Default: FILE_injected.", "OUT", PATH),
        *_PREPARING, *VOLTAGES, *_RUNNING,
    ),
    Verb.PERIOD: (
        Spec("--dm-range --dm", "dm_min dm_max", "DMs to search, pc/cm^3. Default: that of data that are dedispersed.",
             "LO HI", ANY_NUMBER, nargs=2),
        Spec("--dm-min --lodm", "dm_min", "The lowest DM, pc/cm^3.", "DM", ANY_NUMBER, peers="P"),
        Spec("--dm-max --hidm", "dm_max", "The highest DM, pc/cm^3.", "DM", ANY_NUMBER, peers="P"),
        Spec("--period-min --Pmin", "period_min_s", "The shortest period. Default: 1ms, or 4 samples.", "S", SECONDS,
             peers="R"),
        Spec("--period-max --Pmax", "period_max_s", "The longest period. Default: 10, or a quarter of the data.", "S",
             SECONDS, peers="R"),
        Spec("--method", "how", "Spectra with sums of harmonics, the fast folding algorithm, or both. Default: both.",
             "fft|ffa|both", HOW),
        Spec("--ffa-min", "ffa_min_s",
             "The shortest period of the fast folding algorithm, which takes longer the shorter it is. Default: 0.5.",
             "S", SECONDS),
        Spec("--snr --threshold --sigma --smin", "threshold",
             "S/N of a trial, of spectra that of a Gaussian as unlikely. Default: 8.", "X", ANY_NUMBER, peers="PR"),
        Spec("--width-min", "width_min_s",
             "Narrowest pulse, by which the steps of DM are chosen. Default: a tenth of the shortest period.", "MS",
             MILLISECONDS),
        _TSCRUNCH,
        Spec("-o --output --outfile", "output", "Write all candidates: .csv, .ecsv (astropy) or .json.", "OUT", PATH,
             peers="P"),
        Spec("--plots", "plots", "Fold and draw each candidate.", "DIR", PATH),
        Spec("--max-plots", "max_plots", "Of the best ones. Default: 10.", "N", WHOLE),
        _MASK_FILE,
        Spec("--raw", "raw", "Search the data as they are: by default they are cleaned."),
        *_STEPS,
        Spec("--no-impulses", "impulses",
             "Keep what arrives at all frequencies at once: interference, but bright pulses of low DM too.",
             value=False),
        *_GROUPING, *_PREPARING, *VOLTAGES, *_RUNNING_IN_PIECES,
    ),
    Verb.FOLD: (
        Spec("-p --period", "period_s", "At the start of the data: 0.0337, 33.7ms.", "S", SECONDS, peers="P"),
        Spec("--pdot --pd", "pdot", "Its change, s/s. Default: 0.", "X", NUMBER, peers="P"),
        Spec("--dm", "dm", "pc/cm^3. Default: that of the data.", "DM", ANY_NUMBER, peers="PD"),
        Spec("--barycentric", "barycentric", "The period is that at the barycentre of the solar system."),
        Spec("--bins --nbins", "n_bin", "Of a period. Default: 64, or as many as it has samples.", "N", WHOLE,
             peers="D"),
        Spec("--npart", "n_part", "Parts of the time. Default: 64, or as many as there are periods.", "N", WHOLE,
             peers="P"),
        Spec("--nsub", "n_band", "Parts of the band. Default: 32, or all channels.", "N", WHOLE, peers="P"),
        Spec("-o --output --outfile", "output", "Figure: .png, .pdf or .svg. Default: FILE_fold.png.", "OUT", PATH,
             peers="P"),
        Spec("--archive", "archive", "Write the parts as .npz.", "FILE", PATH),
        *_CLEANING, *_PREPARING, *VOLTAGES, *_RUNNING_IN_PIECES,
    ),
    Verb.WATERFALL: (
        Spec("--dm", "dms",
             "pc/cm^3, or auto: that of the brightest pulse; once for all files or once for each. Default: that of the "
             "file.", "DM", DM, listed=True, peers="PC"),
        Spec("--nsub", "n_sub", "Number of sub-bands. Default: the largest divisor of the channels up to 128.", "N",
             WHOLE, peers="PC"),
        Spec("--tscrunch --downsamp", "tscrunch",
             "Average this many samples in time. Default: as many as make the pulse stand out.", "N", WHOLE, peers="PC"),
        Spec("--window", "window_s",
             "Shown on either side of the peak. Default: 25, or more for a pulse that is wider.", "MS", MILLISECONDS),
        Spec("--time", "times_s",
             "Time that becomes 0; once for each file; only what is about it is read. Default: where the pulse is "
             "brightest.", "S", NUMBER, listed=True),
        Spec("--percentiles", "percentiles",
             "Limits of the colours: of what is shown, and of what is before the pulse. Default: 2.5 97.5.",
             "LOW HIGH", PAIR, nargs=2),
        Spec("--title", "titles", "Once for each file. Default of several files: their sources.", "TEXT", TEXT,
             listed=True),
        Spec("--label", "label", "Above all panels, such as (a).", "TEXT", TEXT),
        Spec("--size", "size_in", "Inches, of a row. Default: 4.26 3.", "W H", PAIR, nargs=2),
        Spec("--columns", "columns", "Panels side by side. Default: up to 4.", "N", WHOLE),
        Spec("--cmap --colour-map", "cmap", "Colours, as matplotlib names them. Default: viridis.", "NAME", TEXT,
             peers="P"),
        Spec("--dpi", "dpi", "Of .png. Default: 300.", "N", WHOLE),
        Spec("--mask-sum", "mask_sum",
             "Leave out channels whose values add up to more than this, or less than -X.", "X", NUMBER),
        Spec("--mask-var", "mask_var", "Leave out channels whose variance is larger than this.", "X", NUMBER),
        Spec("--scale --scaleindep", "scale",
             "Bring each channel to mean 0 and standard deviation 1 first. Default: not of .npz waterfalls.",
             peers="P"),
        Spec("--no-scale", "scale", "Leave the channels as they are.", value=False),
        *_PREPARING,
        Spec("-o --output --figname --output-file", "output",
             "Default: the first FILE with .pdf; .pdf, .png or .svg.", "FIGURE", PATH, peers="PC"),
        *VOLTAGES, *_RUNNING,
    ),
}

#: the file as an option, of programs that have it so
FILE_NAMES = ("--fname", "--files", "--filename", "-f")

_NO_GRID = "is not needed, trials of DM follow from the band and the narrowest pulse; see --loss"
#: options of the other programs that are refused, and why
REFUSED: dict[str, str] = {
    "--zap-chans": "counts channels in the order of the file; use --mask, which counts from 0 at the lowest frequency",
    "--dmstep": _NO_GRID, "--numdms": _NO_GRID, "--dm-tol": _NO_GRID,
    "--gpu-id": "is not needed, the work is done by the cores of this machine; see --threads",
    "--nobary": "is not needed, times are never corrected to the barycentre",
    "--output-dir": "is not supported, use -o OUT for the list and --plots DIR for figures",
    "--subdm": "is not supported, channels are shifted before they are averaged, at the DM of --dm",
}
# fmt: on


@dataclass(frozen=True)
class Asked:
    """A request and how it is run.

    Attributes
    ----------
    dry_run : say what would be done, and stop
    quiet : print nothing but errors
    verbose : tracebacks of unexpected errors
    """

    verb: Verb
    request: SpectraRequest
    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False

    def to_json(self) -> dict[str, Any]:
        """The canonical form: fields that are not at their default, as strict JSON takes them.

        Examples
        --------
        >>> from_json({"verb": "dedisperse", "path": "a.fil", "dm": 300}).to_json()
        {'verb': 'dedisperse', 'dm': 300.0, 'path': 'a.fil'}
        """
        facts: dict[str, Any] = {"verb": self.verb.value}
        facts |= {key: plain(value) for key, value in sorted(self._settings().items())}
        return facts

    def to_words(self) -> list[str]:
        """The words that follow `mwaconvert` to ask for the same.

        Examples
        --------
        >>> from_json({"verb": "dedisperse", "path": "a.fil", "dm": 300}).to_words()
        ['dedisperse', '--dm', '300.0', '--', 'a.fil']
        """
        words: list[str] = [self.verb.value]
        files: list[str] = []
        for key, value in sorted(self._settings().items()):
            if key in (self.verb.file_field, "continued"):  # "continued" is sorted before "path"
                files = [str(v) for v in value] if isinstance(value, tuple) else [str(value), *files]
                continue
            spec = _spec_of(self.verb, key, value)
            for texts in _texts(spec, key, value):
                words += [spec.canonical, *texts]
        return [*words, "--", *files]

    def _settings(self) -> dict[str, Any]:
        """What was asked for, by name, without defaults."""
        settings = {name: True for name in RUN_SETTINGS if getattr(self, name)}
        for field in fields(self.request):
            value = getattr(self.request, field.name)
            if field.default is MISSING or value != field.default:
                settings[field.name] = value
        return settings


def build(verb: Verb, given: Mapping[Spec, Sequence[Any]], files: Sequence[str]) -> Asked:
    """A request from the words of a command line.

    Parameters
    ----------
    verb : what is asked for
    given : for each option that was given, its words, once per occurrence: a text, a tuple of texts, or True
    files : the words that are not options

    Raises
    ------
    InputError : a value that cannot be read, options that contradict each other, no file
    """
    settings: dict[str, Any] = {}
    names: dict[str, str] = {}
    for spec, occurrences in given.items():
        for words in occurrences:
            value = spec.value if spec.is_flag else parsed(spec, words)
            for key, item in zip(spec.fields, value if len(spec.fields) > 1 else (value,), strict=True):
                if names.setdefault(key, spec.canonical) != spec.canonical:
                    raise InputError(
                        f"{names[key]} and {spec.canonical} cannot be combined: give one", option=key
                    )
                if spec.listed:
                    more = item if spec.kind is RANGES else (item,)
                    settings[key] = (*settings.get(key, ()), *more)
                else:
                    settings[key] = item
    return _composed(verb, settings | _files(verb, files))


def from_json(facts: Mapping[str, Any]) -> Asked:
    """A request from its canonical JSON: fields by name, and `verb`.

    Values are read as words of a command line are, so that both refuse the same.

    Raises
    ------
    InputError : a field that does not exist, or a value that it cannot have
    """
    name = facts.get("verb")
    if name not in list(Verb):
        raise InputError(f"verb is {name!r}; expected {', '.join(Verb)}", option="verb")
    verb = Verb(name)
    known = {"verb", *RUN_SETTINGS, *(field.name for field in fields(verb.request))}
    for key in facts:
        if key not in known:
            close = get_close_matches(key, known, 1, 0.75)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise InputError(f"there is no setting {key}" + hint, option=key)
    settings = {key: value for key, value in facts.items() if value is not None and key != "verb"}
    files = settings.pop(verb.file_field, [])
    files = [files] if isinstance(files, str) else files
    if verb is not Verb.WATERFALL:
        files = [*files, *settings.pop("continued", [])]
    if not isinstance(files, list | tuple) or not all(isinstance(file, str) for file in files):
        raise InputError(f"{verb.file_field} is {files!r}; expected names of files", option=verb.file_field)
    given: dict[Spec, Sequence[Any]] = {}
    for key, value in settings.items():
        if value is False and (key in RUN_SETTINGS or _default(verb, key) is False):
            continue
        spec = _spec_of(verb, key, value)
        given[spec] = [
            True if spec.is_flag else texts if spec.nargs > 1 else texts[0]
            for texts in _texts(spec, key, value)
        ]
    return build(verb, given, files)


def prepare(verb: Verb, words: Sequence[str]) -> list[str]:
    """Rewrite the words after a verb so that every option has its canonical name.

    Raises
    ------
    InputError : an option of another program that has no counterpart
    """
    names = {squeeze(name): spec for spec in TABLES[verb] for name in spec.names}
    refused = {squeeze(name): why for name, why in REFUSED.items()}
    as_files = {squeeze(name) for name in FILE_NAMES}
    done: list[str] = []
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word == "--":
            return [*done, word, *words[i:]]
        name, equals, rest = word.partition("=")
        key = squeeze(name)
        long = name.startswith("--") or (name.startswith("-") and len(name) > 2)
        spec = names.get(key) if long or name in ("-o", "-j", "-q", "-v") else None
        if spec is not None:
            end = i if spec.is_flag or equals else i + spec.nargs
            done += [f"{spec.canonical}={rest}" if equals else spec.canonical, *words[i:end]]
            i = end
        elif (long or name == "-f") and key in as_files:
            if equals:
                done.append(rest)
        elif long and key in refused:
            raise InputError(f"{name}: {refused[key]}")
        elif name != "--help" and (name.startswith("--") or (long and not _is_short(name))):
            close = get_close_matches(
                name, [n for s in TABLES[verb] for n in s.names if n.startswith("--")], 1, 0.75
            )
            hint = f"did you mean {close[0]}?" if close else f"see mwaconvert {verb} --help"
            raise InputError(f"there is no option {name}; {hint}")
        else:
            done.append(word)
    return done


def _is_short(name: str) -> bool:
    """Whether a word of one dash is for click: options of one letter, perhaps with a value, or a negative number."""
    return name[1] in "ojqvhp.0123456789"


def in_words(verb: Verb, message: str) -> str:
    """A sentence of the library with the names of the command line in place of its fields.

    Examples
    --------
    >>> in_words(Verb.SEARCH, "`threshold=0`: expected a positive number; `loss` is another matter")
    '--snr 0: expected a positive number; --loss is another matter'
    >>> in_words(Verb.WATERFALL, "`window_s=0.0001`: too short")
    '--window 0.1: too short'
    """

    def word(found: re.Match[str]) -> str:
        key, value = found[1], found[2]
        specs = [spec for spec in TABLES[verb] if spec.fields == (key,)]
        if not specs:
            return "FILE" if key == verb.file_field else found[0]
        return specs[0].canonical + ("" if value is None else f" {specs[0].kind.show(value)}")

    return re.sub(r"`(\w+)(?:=([^`]*))?`", word, message)


def parsed(spec: Spec, words: Any) -> Any:
    """The value that words of an option stand for.

    Raises
    ------
    InputError : they cannot be read
    """
    try:
        if len(spec.fields) > 1:
            return tuple(spec.kind.parse(word) for word in words)
        return spec.kind.parse(*words) if spec.nargs > 1 else spec.kind.parse(words)
    except ValueError as error:
        raise InputError(f"{spec.canonical}: {error}", option=spec.fields[0]) from None


def _files(verb: Verb, files: Sequence[str]) -> dict[str, Any]:
    paths = tuple(Path(file) for file in files)
    if not paths:
        raise InputError(f"no file was given; see mwaconvert {verb} --help", option=verb.file_field)
    if verb is Verb.WATERFALL:
        return {"paths": paths}
    return {"path": paths[0]} | ({"continued": paths[1:]} if len(paths) > 1 else {})


def _composed(verb: Verb, settings: dict[str, Any]) -> Asked:
    run = {name: settings.pop(name) for name in RUN_SETTINGS if name in settings}
    return Asked(verb, verb.request(**settings), **run)


def _default(verb: Verb, key: str) -> Any:
    return next((field.default for field in fields(verb.request) if field.name == key), MISSING)


def _spec_of(verb: Verb, key: str, value: Any) -> Spec:
    """The option that says a value of a field.

    Raises
    ------
    InputError : no option can say this
    """
    for spec in TABLES[verb]:
        said = spec.value is value or (isinstance(value, str) and spec.value == value)
        if spec.fields == (key,) and (not spec.is_flag or said):
            return spec
    raise InputError(
        f"{key} is {value!r}, which cannot be asked for; leave it out for the default", option=key
    )


def _texts(spec: Spec, key: str, value: Any) -> list[tuple[str, ...]]:
    """The words of a value, once per occurrence of its option.

    Raises
    ------
    InputError : the value is of another type
    """
    if spec.is_flag:
        return [()]
    try:
        if spec.listed:
            if not isinstance(value, list | tuple):
                raise TypeError("expected a list")
            return [spec.kind.write(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("expected a finite number")
        return [spec.kind.write(value)]
    except (TypeError, ValueError) as error:
        expected = str(error) if str(error).startswith("expected") else f"expected {spec.metavar}"
        raise InputError(f"{key} is {value!r}; {expected}", option=key) from None
