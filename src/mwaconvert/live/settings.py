"""Settings of the live services: one schema, its defaults, and what a configuration file changes.

Keys are those of the configuration files at ARTS, so that such a file is read as it is. A key that nobody here knows is
an error; keys that have no meaning here are named in `Settings.ignored`. In files, -1 stands for no limit.
"""

from __future__ import annotations

import math
import socket
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mwaconvert.errors import FormatError, InputError
from mwaconvert.extras import need

_LARGEST = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Master:
    """Control of a node; times in seconds."""

    port: int = 51000
    socket_timeout: float = 30
    setup_time: float = 5
    stop_timeout: float = 5
    control_timeout: float = 5
    mode: Literal["real-time", "mixed", "offline"] = "mixed"
    parset_dir: str = "{home}/darc/parsets"


@dataclass(frozen=True, kw_only=True)
class StatusWebsite:
    """The static page; times in seconds."""

    web_dir: str = "{home}/public_html/darc/status"
    interval: float = 10
    timeout: float = 10
    colour_good: str = "green"
    colour_bad: str = "red"
    colour_unknown: str = "grey"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Following the files of AMBER: seconds between two looks."""

    interval: float = 0.05


@dataclass(frozen=True, kw_only=True)
class IquvThresholds:
    """For new sources: DM in parts of the Galactic one, width in samples, seconds between two events."""

    dm_frac_min: float = 1.2
    width_max: float = 100
    snr_min: float = 10
    interval: float = 60


@dataclass(frozen=True, kw_only=True)
class LofarThresholds:
    """Members and DM limit count for new sources only."""

    max_cands_per_cluster: float = 100
    dm_frac_min: float = 2.0
    width_max: float = 80
    snr_min: float = 20


@dataclass(frozen=True, kw_only=True)
class OverrideThresholds:
    """For the sources that are listed; `cb`: compound beam, a list of them, or none for any."""

    snr_min: float = 10
    width_max: float = 80
    cb: int | tuple[int, ...] | None = None
    trigger_on_new_sources: bool = False


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Clusters and criteria; DMs in pc/cm^3, times in seconds.

    Over `most_clusters` of a batch make a storm of interference, and so do over `most_beams` compound beams with the
    same pulse. `most_events` go to the ring buffer at once. `galactic_dm`: program and arguments, {ra} and {dec} in
    degrees among them, that prints the DM of the whole Galaxy there; without it nothing is a new source.
    """

    source_file: str = "{home}/darc/source_list.yaml"
    interval: float = 1.0
    clustering_window: float = 1.0
    dm_range: float = 10
    dm_min_global: float = 5
    snr_min_global: float = 10
    sb_filter: bool = True
    sb_filter_period_min: float = 10
    sb_filter_period_max: float = 15
    thresh_iquv: IquvThresholds = IquvThresholds()
    thresh_lofar: LofarThresholds = LofarThresholds()
    lofar_trigger_sources: tuple[str, ...] = ()
    thresh_lofar_override: OverrideThresholds = OverrideThresholds()
    most_clusters: int = 300
    most_beams: int = 7
    most_events: int = 50
    galactic_dm: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VOEvents:
    """`age_max`: seconds after which a pulse is no news; `per_hour`, `per_source_per_day`: events at most."""

    voevent_dir: str = "{home}/darc/voevents"
    test: bool = True
    interval: float = 1.0
    send_events: bool = False
    broker_host: str = "localhost"
    broker_port: int = 8098
    age_max: float = 300
    per_hour: int = 10
    per_source_per_day: int = 20


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """VOEvents on a topic of Kafka, as of GCN, beside those to a broker; none without `servers`.

    `servers`: HOST:PORT, with commas between several. `options`: a file (YAML) of options of librdkafka, as those of TLS
    and the secret; only its owner may read it. The rest as for VOEvents.
    """

    servers: str = ""
    topic: str = ""
    options: str = ""
    test: bool = True
    interval: float = 1.0
    send_events: bool = False
    age_max: float = 300
    per_hour: int = 10
    per_source_per_day: int = 20


@dataclass(frozen=True, kw_only=True)
class Lofar:
    """Frequency in MHz, length of the buffer in seconds; triggers at most, as for VOEvents."""

    test: bool = True
    interval: float = 1.0
    send_events: bool = False
    lofar_host: str = "localhost"
    lofar_port: int = 31662
    lofar_freq: float = 200
    lofar_tbb_buffer_size: float = 5
    per_hour: int = 5
    per_source_per_day: int = 5


@dataclass(frozen=True, kw_only=True)
class Dada:
    """Dumps of the ring buffers; times in seconds. `dialect`: eight or ten fields an event."""

    port_i: int = 30000
    port_iquv: int = 30001
    min_window_size: float = 2.048
    delay_end: float = 2.048
    polcal_dump_size: float = 30
    polcal_interval: float = 60
    polcal_max_dumps: int = 4
    dialect: Literal["8", "10"] = "8"
    history: float = 10.24


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which clusters are cut out; width in samples."""

    dm_min: float = 20
    dm_max: float = math.inf
    snr_min: float = 10
    width_max: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Cutting out of filterbanks; DMs in pc/cm^3, `delay` in seconds until data are on disk.

    `rfi_mask`: channels to leave out, counted from the lowest; FREQ in it is the frequency in MHz. `rfi_clean_type`: any
    but none also masks channels that are unlike their neighbours.
    """

    dm_halfrange: float = 10
    ndm: int = 64
    ntime: int = 64
    nfreq: int = 64
    delay: float = 5
    rfi_mask: str = "{home}/.controller/amber_conf/zapped_channels_FREQ.conf"
    rfi_apply_mask: bool = True
    rfi_clean_type: str = "perchannel"
    snr_min_local: float = 5
    snr_dm0_filter: bool = True
    snr_dm0_diff_threshold: float = 3


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Models in ONNX; without one, candidates are ranked by their S/N.

    `scaling`: whether the model of frequency and time expects each channel in units of its noise, or all at once.
    """

    model_freqtime: str = ""
    model_dmtime: str = ""
    scaling: Literal["global", "channel"] = "global"
    thresh_freqtime: float = 0.5
    thresh_dmtime: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Pages of figures."""

    nplot_per_side: int = 5
    figsize: float = 15
    colour_extragal: str = "red"
    colour_gal: str = "orange"
    cmap_freqtime: str = "viridis"
    cmap_dmtime: str = "viridis"


@dataclass(frozen=True, kw_only=True)
class Processing:
    """What is done with candidates beside triggers; times in seconds."""

    num_extractor: int = 2
    interval: float = 1.1
    output_subdir: str = "triggers_realtime"
    result_dir: str = "{home}/darc/results"
    stop_delay: float = 2
    processing_time_limit: float = 10800
    clustering: Selection = Selection()
    extractor: Extractor = Extractor()
    classifier: Classify = Classify()
    visualizer: Draw = Draw()


@dataclass(frozen=True, kw_only=True)
class Merging:
    """Results of all beams; times in seconds, after the end of the observation."""

    check_interval: float = 5
    max_wait_time: float = 600
    ntrig_email_max: int = 100


@dataclass(frozen=True, kw_only=True)
class Offline:
    """Programs and arguments that are run on a node when an observation has ended.

    {output_dir}, {source}, {beam} and {datetimesource} stand for those of the observation. `fold` is for the sources
    listed, in their beam; `calibrate` for drift scans of the calibrators. No shell sees them.
    """

    delay: float = 10
    max_proc_time: float = 18000
    fold: tuple[str, ...] = ()
    test_pulsars: tuple[str, ...] = ("B0329+54", "B1933+16", "B0531+21", "B0950+08")
    calibrate: tuple[str, ...] = ()
    calibrators: tuple[str, ...] = ("CasA", "TauA", "3C48", "3C196", "3C286", "3C138", "3C147")


@dataclass(frozen=True, kw_only=True)
class Beams:
    """Tables of synthesised beams by science case."""

    table_folder: str = "{home}/.controller/synthesized_beam_tables/"
    table: Mapping[str, str] = field(
        default_factory=lambda: {
            "sc3": "sbtable-9tabs-114sbs-f1370.txt",
            "sc4": "sbtable-sc4-12tabs-71sbs.txt",
        }
    )
    numtab: Mapping[str, int] = field(default_factory=lambda: {"sc3": 9, "sc4": 12})
    numsb: Mapping[str, int] = field(default_factory=lambda: {"sc3": 114, "sc4": 71})


@dataclass(frozen=True, kw_only=True)
class Network:
    """Where a node listens, and whom it knows.

    Parameters
    ----------
    node : its name; {hostname} stands for that of the machine
    role : what it does: a laptop does both
    host, port : of typed messages of services, nodes and operators
    master : HOST:PORT of the master node, for workers
    workers : HOST:PORT of each worker by name, for the status page
    text_host, text_role : of the text protocol of old clients, which says nobody's name: what any of them may do
    keys : file of peers with keys and roles; only its owner may read it
    tls_cert, tls_key, tls_ca : own certificate; authority of the other nodes. None: messages carry proofs in the clear
    state_dir : journals and states
    page_host, page_port : of the status page
    """

    node: str = "{hostname}"
    role: Literal["both", "master", "worker"] = "both"
    host: str = "127.0.0.1"
    port: int = 51001
    master: str = ""
    workers: Mapping[str, str] = field(default_factory=dict)
    text_host: str = "127.0.0.1"
    text_role: Literal["view", "operate", "arm"] = "operate"
    keys: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    state_dir: str = "{home}/darc/state"
    page_host: str = "127.0.0.1"
    page_port: int = 51002


@dataclass(frozen=True, kw_only=True)
class Mail:
    """Mail of observations, warnings and freezes of LOFAR; none is sent without `host` and `to`.

    `security`: starttls, tls from the first byte, or none. `port`: 0 for the usual one. `ca`: certificates that the
    server's must come from; empty: the system's. `password_file`: holds the password of `user` and nothing else.
    """

    host: str = ""
    port: int = 0
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: str = ""
    to: tuple[str, ...] = ()
    ca: str = ""
    user: str = ""
    password_file: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All sections, by the names of the file.

    Examples
    --------
    >>> Settings().amber_clustering.thresh_lofar.snr_min
    20
    """

    darc_master: Master = Master()
    status_website: StatusWebsite = StatusWebsite()
    amber_listener: Listener = Listener()
    amber_clustering: Clustering = Clustering()
    voevent_generator: VOEvents = VOEvents()
    kafka_sender: Kafka = Kafka()
    lofar_trigger: Lofar = Lofar()
    dada_trigger: Dada = Dada()
    sb_generator: Beams = field(default_factory=Beams)
    processor: Processing = Processing()
    processor_master: Merging = Merging()
    offline_processing: Offline = Offline()
    mail: Mail = Mail()
    network: Network = field(default_factory=Network)
    ignored: tuple[str, ...] = ()


#: keys without a meaning here: lists of services, shared passwords, pickled queues, programs of others, colours
_WITHOUT_MEANING = {
    "log_file",
    "editor",
    "master_commands",
    "service_commands",
    "service_to_name",
    "services_master_rt",
    "services_worker_rt",
    "services_master_off",
    "services_worker_off",
    "services_master_mix",
    "services_worker_mix",
    "start_timeout",
    "server_port",
    "server_auth",
    "waterfall_sb",
    "email_settings",
}


#: the same in what is done beside triggers
_OF_PROCESSING = {
    *("scavenger_interval", "status_generator_interval", "processing_status_generator_interval"),
    *("processing_status_path", "reprocessing_delay", "snr_min_clustering", "sb_filter_period_min"),
    *("output_file", "sb_filter", "sb_filter_period_max", "clustering_window", "gpu", "model_dir"),
    *("rfi_threshold_time", "rfi_n_iter_time", "rfi_threshold_freq", "rfi_n_iter_freq", "rfi_bin_size"),
    *("colour_1dtime", "plot_types", "webdir", "node_timeout", "email", "mailto", "full_processing_enabled"),
    *("process_sb", "numthread", "timeout", "pthresh_freqtime", "pthresh_dmtime", "cmap", "ntime_plot"),
    *(
        "nfreq_plot",
        "snrmin_processing",
        "snrmin_processing_local",
        "dmmin",
        "dmmax",
        "dmgal_frac",
        "clean_type",
    ),
    *("ml_gpus", "key_ntriggers_skipped", "keys_data", "model_1dtime", "calibration_dir", "emailer"),
    *(
        "triggering",
        "classifier",
        "calibration_tools",
        "fetch_after_obs",
        "nfreq",
        "ntime",
        "ndm",
        "interval",
    ),
    *("result_dir", "model_dmtime", "model_freqtime", "plot_script"),
}


def expanded(text: str) -> str:
    """A setting with the home folder and the name of the machine in it.

    Examples
    --------
    >>> expanded("{home}/a") == str(Path.home() / "a")
    True
    """
    return text.replace("{home}", str(Path.home())).replace("{hostname}", socket.gethostname())


def host_port(where: str) -> tuple[str, int]:
    """Of HOST:PORT. Raises InputError."""
    host, _, port = where.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"{where}: expected HOST:PORT, as localhost:8098")
    return host.strip("[]"), int(port)


def read_settings(path: Path) -> Settings:
    """A configuration file (YAML).

    Raises
    ------
    FormatError
        No YAML, unknown keys, values of another type or out of range.
    """
    found = read_yaml(path)
    if not isinstance(found, Mapping):
        raise FormatError(f"{path}: expected sections as darc_master, found {type(found).__name__}")
    return settings_of(found, str(path))


def settings_of(found: Mapping[str, Any], name: str = "settings") -> Settings:
    """What is found over the defaults. Errors as of `read_settings`."""
    ignored: list[str] = []
    settings = _section(Settings, found, name, "", ignored)
    assert isinstance(settings, Settings)
    return Settings(**{**vars(settings), "ignored": tuple(ignored)})


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, plain values only.

    Raises
    ------
    FormatError
        It says where, and quotes nothing of the file: there may be secrets in it.
    """
    yaml = need("yaml", "live", f"{path}: reading YAML")
    data = path.read_bytes()
    if len(data) > _LARGEST:
        raise FormatError(f"{path}: {len(data)} bytes are too many for a configuration", path=path)
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise FormatError(
            f"{path}: is no YAML{where}; texts with signs such as : # ! * need quotes", path=path
        ) from None


def _section(kind: type[Any], found: Any, name: str, at: str, ignored: list[str]) -> Any:
    if not isinstance(found, Mapping):
        raise FormatError(f"{name}: {at or 'the file'}: expected keys and values, found {found!r}")
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)} - {"ignored"}
    values = {}
    for key, value in found.items():
        place = f"{at}.{key}" if at else str(key)
        if key in known:
            values[key] = _value(hints[key], value, name, place, ignored)
        elif key in _WITHOUT_MEANING or (
            key in _OF_PROCESSING and at.startswith(("processor", "offline_processing"))
        ):
            ignored.append(place)
        else:
            raise FormatError(
                f"{name}: {place}: there is no such setting; known are {', '.join(sorted(known))}"
            )
    return kind(**values)


def _value(hint: Any, value: Any, name: str, place: str, ignored: list[str]) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return _section(hint, value, name, place, ignored)
    if get_origin(hint) is types.UnionType:
        if isinstance(value, list):
            return tuple(_value(int, item, name, place, ignored) for item in value)
        return None if value is None else _value(int, value, name, place, ignored)
    if get_origin(hint) is Literal:
        if str(value) not in get_args(hint):
            raise FormatError(
                f"{name}: {place}: expected one of {', '.join(get_args(hint))}, found {value!r}"
            )
        return str(value)
    if get_origin(hint) is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if get_origin(hint) is Mapping and isinstance(value, Mapping):
        return {str(k): _value(get_args(hint)[1], v, name, place, ignored) for k, v in value.items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number and (value >= 0 or value == -1):
        return math.inf if value == -1 else float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    expected = {float: "a number from 0, or -1 for no limit", int: "a whole number from 0"}
    raise FormatError(
        f"{name}: {place}: expected {expected.get(hint, getattr(hint, '__name__', str(hint)))}, found {value!r}"
    )
