"""What one conversion asks for: settings gathered from words or JSON, checked against each other, presets filled in.

A request and its settings are one thing in three forms: words of a command line, canonical JSON, and `Request`. Each
setting has the name of the field of `conversion.options.Options` that it sets, or one of `RUN_SETTINGS`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mwaconvert.errors import InputError
from mwaconvert.text import plain
from mwaconvert.vocabulary.options import TABLE, Spec
from mwaconvert.vocabulary.several import OBSID

if TYPE_CHECKING:
    from mwaconvert.observation.model import Metadata

#: settings of which only one may be given
EXCLUSIVE = (
    ("time_res_s", "time_factor", "time_average"),
    ("freq_res_khz", "freq_factor", "freq_average"),
    ("flag_init_s", "flag_init_steps"),
    ("flag_end_s", "flag_end_steps"),
    ("flag_edge_width_khz", "flag_edge_chans"),
    ("dut1_s", "ignore_dut1"),
    ("sel_chan_ranges", "provided_chan_ranges", "first_box"),
    ("sel_chan_ranges", "provided_chan_ranges", "box_count"),
    ("phase_centre_deg", "pointing_centre", "centre"),
    ("phase_centre_deg", "pointing_centre", "phase_centre_ra"),
    ("phase_centre_deg", "pointing_centre", "phase_centre_dec"),
    ("geometric_delay", "phase_centre_deg"),
    ("geometric_delay", "pointing_centre"),
    ("geometric_delay", "phase_centre_ra"),
    ("geometric_delay", "centre"),
    ("max_memory_gib", "max_memory_percent"),
    ("apply_solutions", "calibrate"),
    ("quiet", "verbose"),
    ("overwrite", "skip_existing"),
)

#: defaults of the other programs where they are not ours
PRESETS: dict[str, dict[str, Any]] = {
    "birli": {
        "precomputed_flags": "ignore",
        "rfi_all_baselines": True,
        "flag_edge_width_khz": 0.0,
        "ignore_weights": True,
        "split": True,
        "uvfits_baseline": True,
    },
    "cotter": {
        "flag_init_s": 4.0,
        "flag_dc": True,
        "sel_flagged_ants": False,
        "emulate_cotter": True,
        "passband_gains": "cotter",
        "ignore_dut1": True,
        "ignore_weights": True,
        "split": True,
    },
}

#: what files of spectra end in, where nothing else does
_SPECTRA = (".fil", ".sf", ".sub", ".vdif", ".msgpack", ".h5", ".hdf5")

#: with one of these, `--like cotter` looks for interference also where there are flag files
_DETECTION = frozenset({"precomputed_flags", "rfi", "rfi_strategy", "rfi_sensitivity", "rfi_all_baselines"})

#: settings of the run, as opposed to fields of `conversion.options.Options`
RUN_SETTINGS = frozenset(
    {
        "metafits",
        "outputs",
        "report",
        "qa",
        "dry_run",
        "progress",
        "quiet",
        "verbose",
        "log_file",
        "log_json",
        "skip_existing",
        "defaults",
        "like",
    }
)


@dataclass(frozen=True)
class Request:
    """One conversion as asked for.

    Attributes
    ----------
    settings : what was asked for, by name, without defaults and before presets: the canonical form
    options : fields of `conversion.options.Options`; antennas may still be names
    outputs : files to write; the bare names `uvfits` and `ms` stand for the default name of that kind
    coarse : take the coarse channels that have files, or also those between them; None: as `options` says
    boxes : first gpubox and number of gpuboxes, if chosen so
    defaults : False: files of defaults were left out
    files_instead : flag files, where there are any, are taken instead of looking for interference
    memory : how the limit of the memory was given, if not by --max-memory
    notes : facts for the report
    """

    settings: Mapping[str, Any]
    metafits: Path
    files: tuple[Path, ...]
    outputs: tuple[Path, ...]
    options: Mapping[str, Any] = dataclasses.field(compare=False)  # follows from the settings
    report: Path | None = None
    qa: Path | None = None
    dry_run: bool = False
    progress: bool = True
    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None
    log_json: Path | None = None
    skip_existing: bool = False
    defaults: bool = True
    coarse: Literal["provided", "between"] | None = None
    boxes: tuple[int, int] | None = None
    files_instead: bool = False
    memory: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The settings as strict JSON takes them; `from_json` makes the same request of them.

        Examples
        --------
        >>> from_json({"metafits": "obs.metafits", "time_res_s": 8}).to_json()
        {'metafits': 'obs.metafits', 'time_res_s': 8.0}
        """
        facts: dict[str, Any] = plain({key: self.settings[key] for key in sorted(self.settings)})
        return facts

    def to_words(self) -> list[str]:
        """The words that follow `mwaconvert convert` to ask for the same.

        Examples
        --------
        >>> from_json({"metafits": "obs.metafits", "time_res_s": 8, "rfi": "none"}).to_words()
        ['--metafits=obs.metafits', '--no-rfi', '--timeres=8.0']
        """
        words: list[str] = []
        for spec, occurrences in sorted(said(self.settings).items(), key=lambda item: item[0].canonical):
            for texts in occurrences:
                if spec.is_flag:
                    words.append(spec.canonical)
                elif spec.nargs > 1:
                    words += [spec.canonical, *texts]
                else:
                    words.append(f"{spec.canonical}={texts}")
        return [*words, *(["--", *map(str, self.files)] if self.files else [])]

    def output_paths(self, obsid: int) -> list[Path]:
        """Outputs with default names filled in."""
        return [
            path.with_name(f"{obsid}.{path}") if str(path) in ("uvfits", "ms") else _with_obsid(path, obsid)
            for path in self.outputs
        ]

    def of(self, obsid: int) -> Request:
        """The request with the obsid in the names of report and picture."""
        report, qa = (None if path is None else _with_obsid(path, obsid) for path in (self.report, self.qa))
        return dataclasses.replace(self, report=report, qa=qa)

    def resolve(self, metadata: Metadata, provided_coarse: Sequence[int]) -> dict[str, Any]:
        """Fields of `Options`, with names of antennas and boxes turned into indices.

        Parameters
        ----------
        provided_coarse : indices of the coarse channels that have files

        Raises
        ------
        InputError : an antenna or a gpubox that the observation does not have
        """
        options = dict(self.options)
        for field in ("sel_ants", "flag_antennas"):
            if field in options:
                options[field] = tuple(_antenna_index(a, metadata) for a in options[field])
        if self.coarse == "provided":
            options["sel_chan_ranges"] = _as_ranges(provided_coarse)
        elif self.coarse == "between":
            options["sel_chan_ranges"] = ((min(provided_coarse), max(provided_coarse)),)
        if self.boxes is not None:
            options["sel_chan_ranges"] = _as_ranges(_box_channels(self.boxes, metadata))
        if self.files_instead:
            from mwaconvert.formats.mwaf import find_flag_files

            if "flag_files" in options or find_flag_files(metadata.path.parent, metadata.obsid):
                options["precomputed_flags"] = "only"
        return options


def _with_obsid(path: Path, obsid: int) -> Path:
    return Path(str(path).replace(OBSID, str(obsid)))


def build(given: Mapping[Spec, Sequence[Any]], arguments: Sequence[str]) -> Request:
    """A request from the words of a command line.

    Parameters
    ----------
    given : for each option that was given, its values as text, once per occurrence (True for a flag)
    arguments : the words that are not options: the metafits and raw files

    Raises
    ------
    InputError : a value that cannot be read, options that contradict each other, no metafits
    """
    settings, names = read_settings(given)
    refuse_contradictions(settings, names)
    settings["metafits"], files = _metafits(settings.get("metafits"), arguments)
    for average in ("time_average", "freq_average"):
        settings.update(settings.pop(average, {}))
    _compose_centre(settings)
    return _compose(settings, files)


def from_json(facts: Mapping[str, Any]) -> Request:
    """A request from its canonical JSON: settings by the names of the fields they set.

    Values are read as the words of a command line are, so that both refuse the same. A value that is the default
    anyway need not be there.

    Raises
    ------
    InputError : a setting that does not exist, a value that it cannot have, settings that contradict each other
    """
    settings = dict(facts)
    files = settings.pop("files", ())
    if not isinstance(files, list | tuple) or not all(isinstance(name, str) for name in files):
        raise InputError(f"files is {files!r}; expected a list of file names")
    settings = _without_defaults(settings)
    if not isinstance(settings.get("metafits"), str):
        raise InputError("metafits is missing; expected the name of a metafits file")
    return build(said(settings), list(files))


_UNSET = object()


def _without_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that change something: with the defaults of another program, all of them may."""
    if "like" in settings:
        return dict(settings)
    defaults = _defaults()
    return {key: value for key, value in settings.items() if _as_tuples(value) != defaults.get(key, _UNSET)}


def _defaults() -> dict[str, Any]:
    """Values that settings have when nobody asks: words for most of them do not exist."""
    from mwaconvert.conversion.options import Options

    fields = dataclasses.fields(Options)
    run = dict.fromkeys(("quiet", "verbose", "dry_run", "skip_existing"), False)
    run |= {"progress": True, "defaults": True}
    return {field.name: field.default for field in fields} | run


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def said(settings: Mapping[str, Any]) -> dict[Spec, list[Any]]:
    """Settings as the options that say them: for each, its values as text, once per occurrence.

    Raises
    ------
    InputError : a setting that does not exist, or a value that no option can say
    """
    said: dict[Spec, list[Any]] = {}
    for key, value in settings.items():
        if key == "files":
            continue
        candidates = [spec for spec in TABLE if spec.sets == key]
        if not candidates:
            close = get_close_matches(key, {spec.sets for spec in TABLE}, 1, 0.75)
            raise InputError(f"there is no setting {key}" + (f"; did you mean {close[0]}?" if close else ""))
        flag = next((spec for spec in candidates if spec.is_flag and _same(spec.value, value)), None)
        valued = next((spec for spec in candidates if not spec.is_flag), None)
        if flag is not None:
            said[flag] = [True]
        elif valued is not None and not isinstance(value, bool) and value is not None:
            said[valued] = _texts(valued, value)
        else:
            raise InputError(f"{key} is {value!r}, which cannot be asked for; leave it out for the default")
    return said


def _same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and bool(first == second)


def _texts(spec: Spec, value: Any) -> list[Any]:
    """A value as the texts that its option takes, once per occurrence."""
    if spec.nargs > 1:
        if not isinstance(value, list | tuple) or len(value) != spec.nargs:
            raise InputError(f"{spec.sets} is {value!r}; expected {spec.nargs} values")
        return [tuple(map(_text, value))]
    items = list(value) if isinstance(value, list | tuple) else [value]
    if spec.listed and spec.metavar != "LIST":
        return [_text(item) for item in items]
    return [",".join(map(_text, items))]


def _text(value: Any) -> str:
    """A number, name or range as a command line has it."""
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _compose(settings: dict[str, Any], files: tuple[Path, ...]) -> Request:
    """What the settings of one conversion come to, with the preset that they name."""
    canonical = _without_defaults(settings) | ({"files": files} if files else {})
    notes = tuple(spec.note for spec in TABLE if spec.note and settings.pop(spec.sets, _UNSET) is not _UNSET)
    run = {key: settings.pop(key) for key in RUN_SETTINGS & settings.keys()}
    like = run.pop("like", None)
    outputs = tuple(run.pop("outputs", ()))
    if not outputs:
        outputs = (Path("preprocessed.ms" if like == "cotter" else "uvfits"),)
    boxes, memory = None, ""
    if "first_box" in settings or "box_count" in settings:
        boxes = settings.pop("first_box", 1), settings.pop("box_count", 24)
    coarse: Literal["provided", "between"] | None = None
    if settings.pop("provided_chan_ranges", False):
        coarse = "provided"
    elif like is not None and boxes is None and "sel_chan_ranges" not in settings:
        coarse = "between"
    if "max_memory_percent" in settings:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        share = settings.pop("max_memory_percent")
        settings["max_memory_gib"] = share / 100 * physical / 2**30
        memory = f"--mem {share:g}, percent of {physical / 2**30:.3g} GiB"
    if like is not None:
        preset = _preset(like, settings, outputs)
        chosen = ", ".join(f"{field}={value}" for field, value in preset.items())
        notes = (*notes, f"--like {like} set {chosen}")
        settings = preset | settings
    metafits = Path(run.pop("metafits"))
    for key in ("report", "qa", "log_file", "log_json"):
        if key in run:
            run[key] = Path(run[key])
    run["files_instead"] = like == "cotter" and not _DETECTION.intersection(settings)
    return Request(
        canonical,
        metafits,
        files,
        outputs,
        settings,
        coarse=coarse,
        boxes=boxes,
        memory=memory,
        notes=notes,
        **run,
    )


def read_settings(given: Mapping[Spec, Sequence[Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values by what they set, and the name of the option that set each."""
    settings: dict[str, Any] = {}
    names: dict[str, str] = {}
    for spec in TABLE:
        name = spec.names[-1] if len(spec.names[0]) == 2 else spec.names[0]
        for text in given.get(spec, ()):
            if spec.is_flag:
                value = spec.value
            else:
                try:
                    value = spec.parse(*text) if spec.nargs > 1 else spec.parse(text)
                except ValueError as error:
                    raise InputError(f"{name}: {error}") from None
            key = spec.sets
            if spec.listed:
                more = value if isinstance(value, tuple) else (value,)
                value = (*settings.get(key, ()), *(v for v in more if v not in settings.get(key, ())))
            elif key in settings and settings[key] != value:
                both = f"{names[key]} and {name}" if names[key] != name else f"{name}, given twice,"
                raise InputError(f"{both} contradict each other: give one")
            settings[key] = value
            names[key] = name
    return settings, names


def refuse_contradictions(settings: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Refuse two settings that exclude each other, by the names of `read_settings`."""
    # --centre phase asks for the default, --centre custom for the values given beside it
    harmless = {"phase": ("geometric_delay",), "custom": ("phase_centre_deg",)}.get(
        settings.get("centre", ""), ()
    )
    for group in EXCLUSIVE:
        found = [names[key] for key in group if key in settings]
        if len(found) > 1 and not ("centre" in group and any(key in settings for key in harmless)):
            raise InputError(f"{found[0]} and {found[1]} cannot be combined: give one")


def _metafits(named: str | None, arguments: Sequence[str]) -> tuple[str, tuple[Path, ...]]:
    words = list(arguments)
    if named is None:
        candidates = [w for w in words if "metafits" in Path(w).name.lower()]
        # the archive has a second, shorter one beside it (ppds), which a glob finds too
        short = [w for w in candidates if "ppds" in Path(w).name.lower()]
        if len(short) < len(candidates):
            candidates = [w for w in candidates if w not in short]
            words = [w for w in words if w not in short]
        if len(candidates) > 1:
            raise InputError(f"{candidates[0]} and {candidates[1]} are both metafits files: give one")
        if not words:
            raise InputError("no metafits file given; try mwaconvert obs.metafits, or mwaconvert --help")
        named = candidates[0] if candidates else words[0]
        words.remove(named)
        _refuse_other_kinds(named)
    return named, tuple(Path(w) for w in words)


def _refuse_other_kinds(name: str) -> None:
    """Say which verb is for a file that is plainly no metafits."""
    suffix = Path(name).suffix.lower()
    if suffix in _SPECTRA:
        raise InputError(
            f"{name} is a file of spectra, not a metafits: look for pulses with mwaconvert search {name} "
            "--dm-range 0 1000, or see dedisperse, waterfall and fil-info"
        )
    if suffix in (".uvfits", ".ms"):
        raise InputError(
            f"{name} holds converted visibilities, not a metafits: draw it with mwaconvert qa {name} -o look.png"
        )


def _compose_centre(settings: dict[str, Any]) -> None:
    """Turn --centre and the two halves of a phase centre into fields of Options."""
    centre = settings.pop("centre", None)
    halves = [settings.pop(key, None) for key in ("phase_centre_ra", "phase_centre_dec")]
    given = [half is not None for half in halves]
    if any(given) != all(given):
        raise InputError("a phase centre needs both --phase-centre-ra and --phase-centre-dec")
    if centre == "custom" and not all(given) and "phase_centre_deg" not in settings:
        raise InputError("--centre custom needs --phase-centre-ra and --phase-centre-dec")
    if centre in ("phase", "pointing") and any(given):
        raise InputError(f"--centre {centre} and --phase-centre-ra cannot be combined: give one")
    if centre == "pointing":
        settings["pointing_centre"] = True
    if all(given):
        settings["phase_centre_deg"] = (halves[0], halves[1])


def _preset(like: str, settings: Mapping[str, Any], outputs: Sequence[Path]) -> dict[str, Any]:
    """Defaults of another program for what was not given explicitly."""
    preset = dict(PRESETS[like])
    if like == "cotter" and "flag_autos" not in settings:
        kinds = {str(path).rpartition(".")[2].lower() for path in outputs}
        if kinds == {"uvfits", "ms"}:
            raise InputError(
                "cotter flags autocorrelations in measurement sets and not in uvfits: with both in one run,"
                " say --flag-autos or --no-flag-autos"
            )
        preset["flag_autos"] = kinds == {"ms"}
    if settings.get("rfi") == "none" or settings.get("precomputed_flags") == "only":
        preset.pop("rfi_all_baselines", None)  # is about a detection that is not wanted
    for group in EXCLUSIVE:
        if any(key in settings for key in group):
            for key in group:
                preset.pop(key, None)
    return {field: value for field, value in preset.items() if field not in settings}


def _antenna_index(antenna: int | str, metadata: Metadata) -> int:
    if isinstance(antenna, int):
        if antenna >= metadata.n_antennas:
            raise InputError(
                f"antenna {antenna} does not exist: {metadata.path.name} has antennas 0 to"
                f" {metadata.n_antennas - 1}"
            )
        return antenna
    for candidate in metadata.antennas:
        if candidate.name.lower() == antenna.lower():
            return candidate.index
    raise InputError(
        f"antenna '{antenna}' does not exist: {metadata.path.name} has tiles {metadata.antennas[0].name} to"
        f" {metadata.antennas[-1].name}"
    )


def _box_channels(boxes: tuple[int, int], metadata: Metadata) -> list[int]:
    """Indices of the coarse channels of gpuboxes first .. first + count - 1 (cotter's selection)."""
    if metadata.correlator != "legacy":
        raise InputError(
            "--sbstart and --sbcount count gpuboxes; an MWAX observation has none: use --sel-chan-ranges"
        )
    first, count = boxes
    found = [c.index for c in metadata.coarse_channels if first <= c.gpubox < first + count]
    if not found:
        raise InputError(f"no gpubox has a number from {first} to {first + count - 1}")
    return found


def _as_ranges(indices: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Sorted indices as inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for i in sorted(indices):
        if ranges and ranges[-1][1] == i - 1:
            ranges[-1] = (ranges[-1][0], i)
        else:
            ranges.append((i, i))
    return tuple(ranges)
