"""The JSON documents that the package writes or reads, as types; make_schemas.py makes their schemas of these.

Where a document holds a dataclass of the package, its schema follows from that. Numbers that do not exist are null.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, Required, get_type_hints

from pydantic import ConfigDict
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from mwaconvert.conversion.options import Options
from mwaconvert.conversion.tables.smearing import Smearing
from mwaconvert.jobs.control.work import Job, Product
from mwaconvert.live.clusters import Cluster
from mwaconvert.observation.model import Antenna, CoarseChannel, RawFile
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.recording import Recording
from mwaconvert.transients.periodicity.candidate import PeriodCandidate
from mwaconvert.transients.products.period_requests import FoldRequest, PeriodRequest
from mwaconvert.transients.products.report import InputFile, ProductFile
from mwaconvert.transients.products.requests import (
    DedisperseRequest,
    InjectRequest,
    SearchRequest,
    WaterfallRequest,
)
from mwaconvert.visibilities.interference import Event
from mwaconvert.vocabulary.spectra import RUN_SETTINGS, Verb


class Document(TypedDict):
    """Comments of the fields become descriptions."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[misc]


# -- conversions


class ObservationFacts(Document):
    """The metafits of an observation in a dozen numbers."""

    obsid: int
    name: str
    project: str
    creator: str
    mode: str
    correlator: Literal["legacy", "mwax"]
    start_utc: str
    duration_s: float
    integration_s: float
    fine_channel_hz: float
    antennas: int
    antennas_flagged: list[str]
    """Names of those that the metafits flags."""
    receiver_channels: list[int]
    """Numbers; the centre of a channel is its number times 1.28 MHz."""
    low_hz: float
    high_hz: float
    pointing_deg: tuple[float, float] | None
    """Right ascension and declination."""
    calibrator: str | None
    metafits: str


class StepFacts(Document):
    """A correction or a rule."""

    name: str
    applied: bool
    reason: str


class RuleFacts(Document):
    """What one rule flags, whatever the others do: they overlap."""

    name: str
    cells: int
    fraction: float
    """Of the input."""


class ReadFile(Document):
    path: str
    receiver_channel: int
    batch: int


class MissingHdu(Document):
    receiver_channel: int
    timestep: int


class InputFacts(Document):
    files: list[ReadFile]
    missing_hdus: list[MissingHdu]
    cells: int
    """(timestep, channel, baseline) triples that entered."""


class AntennaFraction(Document):
    index: int
    name: str
    fraction: float


class ChannelFractions(Document):
    frequency_hz: list[float]
    fraction: list[float]


class TimeFractions(Document):
    mjd_utc: list[float]
    fraction: list[float]


class OccupancyFacts(Document):
    """Fractions of the output that are flagged; of the input where only flag files are written."""

    total: float
    antennas: list[AntennaFraction]
    channels: ChannelFractions
    timesteps: TimeFractions


class AntennaQuality(Document):
    index: int
    name: str
    noise: tuple[float, float]
    interference: float


class ChannelQuality(Document):
    frequency_hz: list[float]
    noise: list[tuple[float, float]]
    interference: list[float]


class TimeQuality(Document):
    mjd_utc: list[float]
    noise: list[tuple[float, float]]
    interference: list[float]


class QualityFacts(Document):
    noise: tuple[float, float]
    """Standard deviation of the real or the imaginary part, of XX and of YY."""
    interference: float
    """Fraction of the input cells of cross-correlations that no static rule flags."""
    antennas: list[AntennaQuality]
    channels: ChannelQuality
    timesteps: TimeQuality


class ArrayRfiFacts(Document):
    baselines: int
    fraction: float
    events: list[Event]


class PhaseCentre(Document):
    name: str
    ra_deg: float
    dec_deg: float


class WindowFacts(Document):
    channels: int
    first_hz: float
    last_hz: float
    width_hz: float
    receiver_channels: list[int]


class WrittenFile(Document):
    path: str
    kind: str
    bytes: int
    times: int
    baselines: int
    channels: int


class Throughput(Document):
    wall_s: float
    bytes_read: int
    bytes_written: int
    peak_memory_bytes: int
    threads: int
    read_bytes_per_s: float
    written_bytes_per_s: float


class Report(Document):
    """What one conversion did: mwaconvert OBS.metafits --report FILE.json."""

    format: Literal["mwaconvert report"]
    layout: Literal[1]
    """Grows when a key changes its meaning or goes away."""
    created_utc: str
    software: dict[str, str]
    """Versions by name."""
    command_line: str
    """As typed; empty when called as a library."""
    options: Options
    observation: ObservationFacts
    input: InputFacts
    steps: list[StepFacts]
    flag_rules: list[RuleFacts]
    occupancy: OccupancyFacts
    quality: QualityFacts | None
    rfi_array: ArrayRfiFacts | None
    phase_centre: PhaseCentre
    spectral_windows: list[WindowFacts]
    smearing: Smearing
    outputs: list[WrittenFile]
    performance: Throughput
    notes: list[str]


class PlannedInput(Document):
    files: list[str]
    bytes: int
    timesteps: tuple[int, int]
    """First and last."""
    receiver_channels: list[int]
    missing_hdus: int


class PlannedFile(Document):
    path: str
    bytes: int


class PlannedOutput(Document):
    files: list[PlannedFile]
    times: int
    baselines: int
    channels: int
    spectral_windows: int
    interval_s: float
    channel_hz: float
    phase_centre_deg: tuple[float, float]


class PlannedDetection(Document):
    baselines: int
    baselines_at_once: int
    spill_bytes: int
    spill_in_file: bool


class Plan(Document):
    """What a conversion would do: mwaconvert OBS.metafits --dry-run --report FILE.json."""

    format: Literal["mwaconvert plan"]
    observation: ObservationFacts
    options: Options
    input: PlannedInput
    steps: list[StepFacts]
    output: PlannedOutput
    rfi: PlannedDetection | None
    memory_bytes: int
    """Estimated peak."""
    smearing: Smearing
    notes: list[str]


class Info(Document):
    """What was observed: mwaconvert info OBS.metafits --json. What needs raw files is there if they are."""

    format: Literal["mwaconvert info"]
    observation: ObservationFacts
    applied_by_correlator: dict[str, str]
    phase_centre_deg: tuple[float, float] | None
    az_alt_deg: tuple[float, float] | None
    dut1_s: float | None
    quack_s: float | None
    antennas: list[Antenna]
    coarse_channels: list[CoarseChannel]
    files: NotRequired[list[RawFile]]
    timesteps_unix_s: NotRequired[list[float]]
    common: NotRequired[list[int]]
    """First and last timestep that all channels have; empty for none."""
    common_good: NotRequired[list[int]]
    present: NotRequired[list[list[Literal[0, 1]]]]
    """[timestep][coarse channel]."""
    notes: NotRequired[list[str]]
    default_plan: NotRequired[Plan]


_ANTENNAS = dict.fromkeys(("sel_ants", "flag_antennas"), list[int | str])  # indices, or names of tiles
_Fields = TypedDict("_Fields", get_type_hints(Options) | _ANTENNAS, total=False)  # type: ignore[misc]


class Request(_Fields, total=False):
    """A conversion as asked for, by what is not at its default: vocabulary.request.from_json."""

    metafits: Required[str]
    files: list[str]
    """Raw files; searched beside the metafits unless given."""
    outputs: list[str]
    report: str
    qa: str
    dry_run: bool
    progress: bool
    quiet: bool
    verbose: bool
    log_file: str
    log_json: str
    skip_existing: bool
    defaults: bool
    like: str
    allow_missing: bool
    flag_missings: bool
    provided_chan_ranges: bool
    first_box: int
    """This and the next: gpuboxes, as cotter selects them."""
    box_count: int
    max_memory_percent: float


# -- spectra


class Software(Document):
    mwaconvert: str


class Candidates(Document):
    """A list of pulses: mwaconvert search FILE -o FILE.json."""

    format: Literal["mwaconvert candidates"]
    software: Software
    search: dict[str, str]
    """Facts of the search in words."""
    candidates: list[Candidate]


class Periods(Document):
    """A list of periods: mwaconvert period FILE -o FILE.json."""

    format: Literal["mwaconvert periods"]
    search: dict[str, str]
    candidates: list[PeriodCandidate]


class Work(Document):
    wall_s: float
    peak_memory_bytes: int


class ProductReport(Document):
    software: Software
    inputs: list[InputFile]
    numbers: dict[str, Any]
    """What was decided and found, by name."""
    outputs: list[ProductFile]
    notes: list[str]
    performance: Work


class Search(ProductReport):
    """What a search for pulses did: --report FILE.json."""

    format: Literal["mwaconvert search"]
    request: SearchRequest
    candidates: list[Candidate]


class Period(ProductReport):
    """What a search for periods did: --report FILE.json."""

    format: Literal["mwaconvert period"]
    request: PeriodRequest
    candidates: list[PeriodCandidate]


class Dedisperse(ProductReport):
    """What dedisperse did: --report FILE.json."""

    format: Literal["mwaconvert dedisperse"]
    request: DedisperseRequest


class Waterfall(ProductReport):
    """What waterfall did: --report FILE.json."""

    format: Literal["mwaconvert waterfall"]
    request: WaterfallRequest


class Inject(ProductReport):
    """What inject did: --report FILE.json."""

    format: Literal["mwaconvert inject"]
    request: InjectRequest


class Fold(ProductReport):
    """What fold did: --report FILE.json."""

    format: Literal["mwaconvert fold"]
    request: FoldRequest


class FilInfo(Document):
    """What a file of spectra holds: mwaconvert fil-info FILE --json."""

    format: Literal["mwaconvert fil-info"]
    file: str
    kind: str
    source: str
    n_chan: int
    n_times: int
    freq_low_mhz: float
    freq_high_mhz: float
    descending: bool
    dt_s: float
    duration_s: float
    start_mjd: float | None
    recording: Recording
    dm: float
    k_dm: float
    delay_per_dm_s: float
    notes: list[str]
    header: dict[str, Any]


# -- jobs


class JobRecord(Document):
    """job.json in a package: what was asked for, what was done."""

    format: Literal["mwaconvert job"]
    layout: Literal[1]
    job_id: int
    kind: str
    given: dict[str, Any]
    """Parameters as they came."""
    canonical: dict[str, Any]
    """By the names of today, defaults filled in."""
    software: Software
    missing: NotRequired[list[str]]
    command: NotRequired[list[str]]
    notes: NotRequired[list[str]]
    limits_held_by: NotRequired[dict[str, str]]
    report: NotRequired[Report]


class JobAttempt(Document):
    step: str
    number: int
    outcome: str


_Job = TypedDict("_Job", get_type_hints(Job))  # type: ignore[misc]


class JobState(_Job):
    """A job, in the list of mwaconvert jobs list --json; show --json adds attempts and products.

    Times are seconds since 1970, UTC.
    """

    format: Literal["mwaconvert job state"]
    attempts: NotRequired[list[JobAttempt]]
    products: NotRequired[list[Product]]


class JobError(Document):
    job_id: int | None
    obs_id: str
    result: str


class Restore(Document):
    """restore.json beside what was restored."""

    format: Literal["mwaconvert restore"]
    what: str
    casa: str
    calibrated: str
    warnings: list[str]
    notes: list[str]
    inputs: dict[str, Any]
    raw: dict[str, Any]
    sets: Any
    equal: dict[str, Any]


# -- other faces


class BadLines(Document):
    count: int
    examples: list[str]


class Source(Document):
    kind: str
    name: str


class Verdict(Document):
    reason: str
    words: str
    found: float | str
    limit: float | str


class DecisionRecord(Document):
    """A cluster of candidates, and why it would trigger each way out or not."""

    task_id: str
    compound_beam: int
    arrival_utc: str
    arrival_unix_s: float
    decided_unix_s: float
    source: Source
    cluster: Cluster
    verdicts: dict[str, Verdict]


class Outgoing(Document):
    way: str
    id: str
    what: str
    admission: str


class Decisions(Document):
    """What candidates of AMBER would trigger: mwaconvert live decide --json."""

    format: Literal["mwaconvert decisions"]
    candidates: int
    bad_lines: BadLines
    storms: int
    left_out: int
    decisions: list[DecisionRecord]
    outgoing: list[Outgoing]


class ServiceStatus(Document):
    health: str
    reason: str
    restarts: int
    numbers: dict[str, Any]
    recent: list[Any]


class LiveStatus(Document):
    """A node: mwaconvert live status --json."""

    format: Literal["mwaconvert live status"]
    node: str
    now_s: float
    services: dict[str, ServiceStatus]
    observations: dict[str, Any]
    unrouted: int
    dropped: int


class Holding(Document):
    root: str
    data: str
    level: str
    beam: int | None
    folder: str
    files: list[str]
    bytes: int
    missing: str
    refused: list[str]


class FrbFiles(Document):
    """What an archive of CHIME/FRB holds of an event: mwaconvert frb find EVENT --json."""

    format: Literal["mwaconvert frb files"]
    event: int
    holdings: list[Holding]
    missing: list[str]


class LogLine(Document):
    """A line of --log-json."""

    time: str
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    logger: str
    message: str


def _asked(verb: Verb) -> Any:
    """A request of a verb, by what is not at its default: vocabulary.spectra.from_json."""
    kinds = {name: NotRequired[kind] for name, kind in get_type_hints(verb.request).items()}
    return TypedDict(  # type: ignore[operator]
        f"{verb.name.title()}Request",
        {"verb": Literal[verb.value], **kinds, **dict.fromkeys(RUN_SETTINGS, NotRequired[bool])},
    )


#: name of the schema -> document
DOCUMENTS: dict[str, Any] = {
    "report": Report,
    "plan": Plan,
    "info": Info,
    "request": Request,
    "candidates": Candidates,
    "periods": Periods,
    "search": Search,
    "period": Period,
    "dedisperse": Dedisperse,
    "waterfall": Waterfall,
    "inject": Inject,
    "fold": Fold,
    "fil-info": FilInfo,
    "job": JobRecord,
    "job-state": JobState,
    "job-errors": list[JobError],
    "restore": Restore,
    "decisions": Decisions,
    "live-status": LiveStatus,
    "frb-files": FrbFiles,
    "log-line": LogLine,
    **{f"{verb}-request": _asked(verb) for verb in Verb},
}
