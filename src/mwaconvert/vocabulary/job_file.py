"""Job files of the ASVO: every job checked before any of them runs, and conversions in our own words.

The same checks serve the forms that the ASVO's clients post.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.errors import InputError
from mwaconvert.vocabulary.asvo_names import read_params
from mwaconvert.vocabulary.job_rows import Cell, JobKind, Problem, Row, read_rows
from mwaconvert.vocabulary.request import Request, from_json

#: parameters that say how a job is handled, not what it makes: two jobs that differ only in them are duplicates
_HANDLING = ("allow_resubmit", "expiry_days")


class JobFileError(InputError):
    """A job file with problems; `problems` has all of them."""

    one_line = False

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        n = len(self.problems)
        super().__init__(
            f"{name}: {n} problem{'s' if n > 1 else ''}, so none of its jobs was started:\n{lines}"
        )


@dataclass(frozen=True)
class Conversion:
    """A conversion job in the words of `mwaconvert convert`.

    Attributes
    ----------
    settings : by the names of the fields of `conversion.options.Options`, with `like` and `outputs`; what
        `vocabulary.request.from_json` takes beside the metafits
    calibrate : solutions are to be looked up: the folder, of the configuration, becomes the setting of this name
    allow_missing : False: a raw file that is missing fails the job
    notes : what of the job is not followed, and why
    """

    settings: Mapping[str, Any]
    calibrate: bool
    allow_missing: bool
    notes: tuple[str, ...]

    def request(self, metafits: Path, files: Sequence[Path] = (), solutions: Path | None = None) -> Request:
        """The conversion of staged raw data.

        Parameters
        ----------
        metafits, files : the staged data
        solutions : folder of calibration solutions

        Raises
        ------
        InputError : the job asks for calibration and there is no folder of solutions
        """
        facts = {**self.settings, "metafits": str(metafits), "files": [str(path) for path in files]}
        if self.calibrate:
            if solutions is None:
                raise InputError(
                    "the job asks for calibration (calibrate, apply_di_cal), but no folder of solutions is"
                    " configured; resubmit it without"
                )
            facts["calibrate"] = str(solutions)
        return from_json(facts)


@dataclass(frozen=True)
class JobRow:
    """One job that can be run.

    Attributes
    ----------
    line : in its file; 0 for a form
    given : parameters as they were written
    canonical : by the names of today, defaults filled in, strict JSON: equal for jobs that make the same
    allow_resubmit : run it although such a job is complete
    expiry_days : life of its product; None: as configured
    conversion : for conversions only
    """

    line: int
    kind: JobKind
    obs_id: int
    given: Mapping[str, str]
    canonical: Mapping[str, Any]
    allow_resubmit: bool
    expiry_days: float | None
    conversion: Conversion | None


def read_job_file(path: Path, *, strict: bool = False) -> tuple[JobRow, ...]:
    """Read a job file.

    Parameters
    ----------
    path : CSV of key=value cells, a job a line
    strict : refuse the layout that the released mwa_client refuses

    Raises
    ------
    JobFileError : with all problems of all lines
    InputError : no such file, or no job in it

    Examples
    --------
    >>> jobs = read_job_file(Path("jobs.csv"))  # doctest: +SKIP
    >>> jobs[0].kind, jobs[0].obs_id, jobs[0].conversion.settings["time_res_s"]  # doctest: +SKIP
    (<JobKind.CONVERSION: 'c'>, 1110103576, 8.0)
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a job file: {error.strerror}") from None
    return read_jobs(data, str(path), strict=strict)


def read_jobs(data: bytes, name: str, *, strict: bool = False) -> tuple[JobRow, ...]:
    """As `read_job_file`, of what is read already; errors call it `name`."""
    rows, found = read_rows(data, strict=strict)
    problems = list(found)
    jobs = []
    for row in rows:
        job, wrong = _job(row)
        problems += wrong
        if job is not None:
            jobs.append(job)
    if problems:
        raise JobFileError(name, problems)
    if not jobs:
        raise InputError(
            f"{name}: no jobs in it; expected lines like obs_id=1110103576, job_type=c, timeres=8"
        )
    return tuple(jobs)


def read_job(kind: JobKind, params: Mapping[str, str]) -> JobRow:
    """A job from the parameters that a client posts.

    Raises
    ------
    InputError : with all that is wrong, in one sentence

    Examples
    --------
    >>> job = read_job(JobKind.DOWNLOAD, {"obs_id": "1110103576", "download_type": "vis"})
    >>> job.canonical["download_type"]
    'vis'
    """
    job, problems = _job(Row(0, kind, tuple(Cell(key, value, 1) for key, value in params.items())))
    if job is None:
        raise InputError("; ".join(problem.message for problem in problems))
    return job


def _job(row: Row) -> tuple[JobRow | None, list[Problem]]:
    read = read_params(row.kind, row.cells)
    if read.problems:
        return None, [Problem(row.line, column, message) for column, message in read.problems]
    canonical = _composed(row.kind, read.canonical, is_old=read.is_old)
    conversion = _conversion(canonical) if row.kind is JobKind.CONVERSION else None
    job = JobRow(
        row.line,
        row.kind,
        canonical["obs_id"],
        row.params,
        {name: canonical[name] for name in sorted(canonical.keys() - set(_HANDLING))},
        canonical["allow_resubmit"],
        canonical["expiry_days"],
        conversion,
    )
    if conversion is not None:
        try:  # what the parameters cannot say wrong here, the converter's own words can
            conversion.request(Path(f"{job.obs_id}.metafits"), solutions=Path("solutions"))
        except InputError as error:
            return None, [Problem(row.line, 1, str(error))]
    return job, []


def _composed(kind: JobKind, params: Mapping[str, Any], *, is_old: bool) -> dict[str, Any]:
    """Defaults that depend on the kind, and several parameters that say one thing made one."""
    made = dict(params)
    on_scratch = kind is JobKind.VOLTAGES
    made["delivery"] = made["delivery"] or ("scratch" if on_scratch else "acacia")
    made["delivery_format"] = made["delivery_format"] or ("tar" if made["delivery"] == "acacia" else "files")
    if kind is JobKind.VOLTAGES:
        made["download_type"] = "volt"
        made["channel_range"] = made["from_channel"] is not None
    if kind is JobKind.CONVERSION:
        made["preprocessor"] = made["preprocessor"] or ("cotter" if is_old else "birli")
        if (
            made["allow_missing"] is None
        ):  # Birli takes the files that are there, cotter asked for all of them
            made["allow_missing"] = made["preprocessor"] == "birli"
        custom = made["centre_ra_deg"] is not None
        pointing = made.pop("use_pointing_centre") or made["centre"] == "pointing"
        made["centre"] = "custom" if custom else "pointing" if pointing else "phase"
    return made


#: parameters that set one of our fields under another name: setting, and its value where the parameter is true
_FLAGS = {
    "no_geometric_delay": ("geometric_delay", False),
    "no_cable_delay": ("cable_delay", False),
    "no_digital_gains": ("digital_gains", False),
    "no_passband_gains": ("passband_gains", "none"),
    "no_stats": ("statistics", False),
    "no_antenna_pruning": ("sel_flagged_ants", True),
    "no_flag_autos": ("flag_autos", False),
    "no_apply_amps": ("solution_amplitudes", False),
}


def _conversion(params: Mapping[str, Any]) -> Conversion:
    settings: dict[str, Any] = {
        "like": params["preprocessor"],
        "outputs": [params["output"]],
        "flag_edge_width_khz": params["flag_edge_width"],
    }
    for name, setting in (("avg_time_res", "time_res_s"), ("avg_freq_res", "freq_res_khz")):
        if params[name]:
            settings[setting] = params[name]
    settings |= {setting: value for name, (setting, value) in _FLAGS.items() if params[name]}
    if params["flag_dc"] is not None:
        settings["flag_dc"] = params["flag_dc"]
    settings |= _interference(params)
    if params["centre"] == "pointing":
        settings["pointing_centre"] = True
    elif params["centre"] == "custom":
        settings["phase_centre_deg"] = [params["centre_ra_deg"], params["centre_dec_deg"]]
    notes = []
    if params["no_flag_missings"]:
        notes.append(
            "noflagmissings was not followed: missing data have no values, so they are always flagged"
        )
    return Conversion(settings, params["apply_di_cal"], params["allow_missing"], tuple(notes))


def _interference(params: Mapping[str, Any]) -> dict[str, Any]:
    """Detection, and flag files made earlier.

    In cotter's time: flag files in place of detection where there are any, which `like` cotter does by itself;
    norfi: flag files alone, where there are any; noprecomputedflags: detection alone; both: neither. Since Birli,
    flag files count only when a job says noprecomputedflags=false.
    """
    ignored = params["no_precomputed_flags"]
    if ignored is None:
        ignored = params["preprocessor"] == "birli"
    settings: dict[str, Any] = {"rfi": "none"} if params["no_rfi"] else {}
    if ignored:
        settings["precomputed_flags"] = "ignore"
    elif params["no_rfi"] or params["preprocessor"] == "birli":
        settings["precomputed_flags"] = "auto"
    return settings
