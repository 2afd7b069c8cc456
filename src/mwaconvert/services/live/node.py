"""What a node is: its name, its services, its folders."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mwaconvert.errors import InputError
from mwaconvert.live.settings import Settings, expanded, host_port, read_settings

#: an observation is forgotten so long after its end: processing may take three hours
KEEP_S = 4 * 3600.0


class Name(StrEnum):
    """Services, by the names that operators know."""

    LISTENER = "amber_listener"
    CLUSTERING = "amber_clustering"
    DADA = "dada_trigger"
    PROCESSOR = "processor"
    OFFLINE = "offline_processing"
    LOFAR = "lofar_trigger"
    VOEVENT = "voevent_generator"
    KAFKA = "kafka_sender"
    WEBSITE = "status_website"


#: as get_attr writes them
CLASSES = {
    Name.LISTENER: "AMBERListener",
    Name.CLUSTERING: "AMBERClustering",
    Name.DADA: "DADATrigger",
    Name.PROCESSOR: "ProcessorManager",
    Name.OFFLINE: "OfflineProcessing",
    Name.LOFAR: "LOFARTrigger",
    Name.VOEVENT: "VOEventGenerator",
    Name.KAFKA: "KafkaSender",
    Name.WEBSITE: "StatusWebsite",
}
_WORKER = (Name.LISTENER, Name.CLUSTERING, Name.DADA, Name.PROCESSOR)
_MASTER = (Name.WEBSITE, Name.VOEVENT, Name.LOFAR, Name.PROCESSOR)


def process_of(name: Name) -> Name:
    """Lines are followed where they are clustered, so that positions and decisions are kept together: one process."""
    return Name.CLUSTERING if name is Name.LISTENER else name


def services_of(settings: Settings) -> tuple[Name, ...]:
    """Of a node, by its role and mode."""
    mode, role = settings.darc_master.mode, settings.network.role
    found: list[Name] = [] if mode == "real-time" else [Name.OFFLINE]
    if mode == "offline" and role != "worker":
        found.append(Name.WEBSITE)
    if mode != "offline":
        found += _MASTER if role == "master" else _WORKER if role == "worker" else (*_WORKER, *_MASTER)
        if role != "worker" and settings.kafka_sender.servers:
            found.append(Name.KAFKA)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Site:
    """Settings of a node with what follows from them. `config`: the file; None: defaults."""

    settings: Settings
    config: Path | None = None

    @property
    def node(self) -> str:
        return expanded(self.settings.network.node)

    @property
    def state(self) -> Path:
        return Path(expanded(self.settings.network.state_dir)) / self.node

    @property
    def operator_key(self) -> Path:
        """The key of whoever may read it: the user that runs the master."""
        return self.state / "operator.key"

    def folder(self, *parts: str) -> Path:
        """Below the folder of states; made if it is not there."""
        made = self.state.joinpath(*parts)
        made.mkdir(parents=True, exist_ok=True, mode=0o700)
        return made


def read_site(config: Path | None) -> Site:
    """Raises FormatError, InputError."""
    settings = read_settings(config) if config else Settings()
    site = Site(settings, config)
    if "/" in site.node or not site.node:
        raise InputError(f"network.node: {site.node!r}: expected a name without /")
    network = settings.network
    if network.role == "worker" and not network.master:
        raise InputError("network.master: a worker needs HOST:PORT of the master node")
    for where in (*([network.master] if network.master else []), *network.workers.values()):
        host_port(where)
    if site.settings.kafka_sender.servers and not site.settings.kafka_sender.topic:
        raise InputError("kafka_sender.topic: expected the name of a topic, beside `servers`")
    mail = site.settings.mail
    if mail.host and not (mail.sender and mail.to):
        raise InputError("mail: expected `sender`, and addresses in `to`, beside `host`")
    return site
