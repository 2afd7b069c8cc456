"""The configuration of a service: one TOML file, checked as a whole before anything starts."""

from __future__ import annotations

import ipaddress
import os
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.slurm import Slurm
from mwaconvert.jobs.control.store import url_of
from mwaconvert.jobs.control.work import Limits, Quotas
from mwaconvert.jobs.delivery.places import Bucket, BucketSetting, Folder, Web, place
from mwaconvert.jobs.executors import process
from mwaconvert.jobs.executors.apptainer import ApptainerExecutor
from mwaconvert.jobs.executors.containers import ContainerExecutor
from mwaconvert.jobs.executors.executor import Cluster, Executor, Way
from mwaconvert.jobs.executors.reservations import Reservations
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, read_site
from mwaconvert.jobs.workflows.site import LIFE_DAYS, Site
from mwaconvert.vocabulary import values


def _bytes(value: object) -> object:
    """4, "4 GB" or "512 MiB"; a bare number is GiB, as of --max-memory."""
    return value if value is None else int(values.gibibytes(str(value)) * 2**30)


def _from_its_folder(path: Path, info: ValidationInfo) -> Path:
    """Relative paths begin at the folder of the configuration."""
    base: Path = (info.context or {}).get("base", Path())
    return (base / path.expanduser()).resolve()


def _address(text: str, info: ValidationInfo) -> str:
    return text if "://" in text else str(_from_its_folder(Path(text), info))


def _root(word: str, info: ValidationInfo) -> str:
    """NAME=FOLDER with the whole path of the folder, which must not be that of all files there are."""
    name, equals, folder = word.rpartition("=")
    path = _from_its_folder(Path(folder), info)
    if path == Path(path.anchor):
        raise ValueError(f"{word}: this would serve all files of the machine; name the folder of an archive")
    return f"{name}{equals}{path}"


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
ConfigPath = Annotated[Path, AfterValidator(_from_its_folder)]
Address = Annotated[str, AfterValidator(_address)]
_GROUP = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Part):
    """Where the service listens, and how it is reached.

    Attributes
    ----------
    port : 0 takes a free one
    public_url : what clients call it, where a proxy stands before it; else as each request says
    insecure : other addresses than those of this machine without TLS
    session_hours : after so long a user logs in again
    max_body : bytes of a request
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8778, ge=0, le=65535)
    tls_cert: ConfigPath | None = None
    tls_key: ConfigPath | None = None
    public_url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+$")
    insecure: bool = False
    session_hours: float = Field(default=12.0, gt=0, le=24 * 30)
    max_body: int = Field(default=1 << 20, ge=1 << 10, le=1 << 30)

    @model_validator(mode="after")
    def _check(self) -> Server:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_cert is None and not self.insecure and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reached from other machines: give tls_cert and tls_key, or insecure = true"
            )
        return self

    @property
    def is_secure(self) -> bool:
        return self.tls_cert is not None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


class Where(_Part):
    """A folder, s3://bucket/prefix or https://host/folder, and the settings of a bucket."""

    place: Address
    settings: dict[BucketSetting, str | bool] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        return {"place": given} if isinstance(given, str) else given

    def open(self) -> Folder | Bucket | Web:
        """The place itself."""
        return place(self.place, {str(name): value for name, value in self.settings.items()})


class Delivery(_Part):
    """Where products go.

    Attributes
    ----------
    packages : archives (delivery acacia): a folder or a bucket
    scratch, dug, astro : roots of shared disks; files go to <root>/<group>/asvo/<job id>
    groups : of users that may have folders there
    life_days : how long products are kept; 0 for ever
    """

    packages: Where
    scratch: ConfigPath | None = None
    dug: ConfigPath | None = None
    astro: ConfigPath | None = None
    groups: tuple[_GROUP, ...] = ()
    life_days: float = Field(default=LIFE_DAYS, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Delivery:
        if self.packages.place.startswith(("http://", "https://")):
            raise ValueError("packages go to a folder or an s3:// bucket, not to a web server")
        if self.shared and not self.groups:
            raise ValueError("name the groups that have folders on shared disks: groups = [...]")
        return self

    @property
    def shared(self) -> dict[str, Path]:
        roots = {"scratch": self.scratch, "dug": self.dug, "astro": self.astro}
        return {name: root for name, root in roots.items() if root is not None}


class Conversion(_Part):
    """What a conversion has, and the most that it may need.

    Attributes
    ----------
    max_memory, max_output : one that needs more, by its plan, is refused at submission
    max_hours : one that takes longer is ended; one that would, by its estimate, is refused
    """

    solutions: ConfigPath | None = None
    max_memory: Bytes | None = None
    max_output: Bytes | None = None
    max_hours: float | None = Field(default=None, gt=0)


class Workers(_Part):
    """Jobs that the service itself carries out; 0: none, `mwaconvert worker` does it elsewhere.

    Attributes
    ----------
    here : how many at once
    id : fixed, so that a worker that comes back takes over what it left; default: name of the machine
    memory : of all its jobs together
    """

    here: int = Field(default=2, ge=0, le=256)
    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    memory: Bytes | None = None


class Batch(_Part):
    """Conversions are batch jobs of Slurm, which workers submit; without this part they are programs of the worker.

    Attributes
    ----------
    options : of sbatch, such as --partition=work
    poll_s : how often squeue is asked
    """

    options: tuple[Annotated[str, Field(pattern=r"^--?[A-Za-z]\S*$")], ...] = ()
    poll_s: float = Field(default=5.0, ge=1, le=600)


class NewUsers(_Part):
    """Quotas of users that are added without other ones; none: no limit."""

    running: int | None = Field(default=None, ge=0)
    queued: int | None = Field(default=None, ge=0)
    disk: Bytes | None = None


class Image(_Part):
    """What an image stands for on a machine without containers.

    Attributes
    ----------
    launcher : words before the command; {archive} is the folder of the archive
    entrypoint : the program of a job without a command
    environment : variables
    """

    launcher: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)


class Chime(_Part):
    """The face of CHIME/FRB: jobs of containers, and the catalogue of bursts.

    Attributes
    ----------
    executor : what carries out jobs
    images : by name; of the executor process
    socket, network : of docker and podman
    sif : folder of images as files, for apptainer; else they are fetched from a registry
    sbatch : further options of sbatch, for apptainer, whose jobs are batch jobs of Slurm
    archive : the folder that jobs see, to read
    roots : folders of the archive, NAME=FOLDER, whose files are served; see `frb.archive`
    cpus : that jobs of one worker may reserve together; default: all of the machine; with apptainer as Slurm says
    hold_s : so long a job is pending at least
    anonymous : the user whose rights requests without a token have; none: they have none
    token_days : how long a refresh token lives
    """

    executor: Way = Way.PROCESS
    images: dict[str, Image] = Field(default_factory=dict)
    socket: str | None = Field(default=None, pattern=r"^(unix|tcp|ssh|http|https)://\S+$")
    network: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    sif: ConfigPath | None = None
    sbatch: tuple[str, ...] = ()
    archive: ConfigPath | None = None
    roots: tuple[Annotated[str, AfterValidator(_root)], ...] = ()
    cpus: float | None = Field(default=None, gt=0)
    hold_s: float = Field(default=2.0, ge=0, le=60)
    anonymous: str | None = None
    token_days: float = Field(default=30.0, gt=0, le=400)

    def cluster(self) -> Cluster:
        """What carries out jobs."""
        cpus = self.cpus
        if cpus is None and self.executor is not Way.APPTAINER:  # there Slurm knows what is free
            cpus = float(len(os.sched_getaffinity(0)))
        return Cluster(self._executor(), Reservations(cpus), self.hold_s)

    def _executor(self) -> Executor:
        if self.executor is Way.PROCESS:
            table = {
                name: process.Image(image.launcher, image.entrypoint, image.environment)
                for name, image in self.images.items()
            }
            return process.ProcessExecutor(table, self.archive)
        if self.executor is Way.APPTAINER:
            return ApptainerExecutor(Slurm(options=self.sbatch), self.archive, self.sif)
        return ContainerExecutor(self.executor, self.socket, self.archive, self.network)


class Upkeep(_Part):
    """Jobs that ended so many days ago and have no product left are forgotten; 0: never."""

    forget_days: float = Field(default=0, ge=0)


class Config(_Part):
    """All of it.

    Attributes
    ----------
    database : a file, or postgresql://...
    work : folder of the attempts of jobs, which all workers see, and of the secret of the service
    raw : places of raw data, in the order of preference
    archive : configuration of an archive's site (docs/archive.md), in the same database
    """

    database: Address
    work: ConfigPath
    raw: tuple[Where, ...] = Field(min_length=1)
    delivery: Delivery
    server: Server = Server()
    conversion: Conversion = Conversion()
    workers: Workers = Workers()
    slurm: Batch | None = None
    quotas: NewUsers = NewUsers()
    upkeep: Upkeep = Upkeep()
    chime: Chime | None = None
    archive: ConfigPath | None = None

    def site(self) -> Site:
        """The site that jobs see."""
        hours = self.conversion.max_hours
        packages = self.delivery.packages.open()
        assert not isinstance(packages, Web)  # of Delivery._check
        return Site(
            tuple(where.open() for where in self.raw),
            packages,
            shared=self.delivery.shared,
            solutions=self.conversion.solutions,
            life_days=self.delivery.life_days or None,
            limits=Limits(memory=self.conversion.max_memory, wall_s=None if hours is None else hours * 3600),
            slurm=None if self.slurm is None else Slurm(poll_s=self.slurm.poll_s, options=self.slurm.options),
            cluster=None if self.chime is None else self.chime.cluster(),
            archive=self._archive(),
        )

    def _archive(self) -> ArchiveSite | None:
        if self.archive is None:
            return None
        found = read_site(self.archive)
        if url_of(found.database) != url_of(self.database):
            raise InputError(f"{self.archive}: its database is not that of the service; both must be one")
        return found

    def quotas_of_new_users(self) -> Quotas:
        return Quotas(self.quotas.running, self.quotas.queued, self.quotas.disk)


def read_config(path: Path) -> Config:
    """Read and check a configuration.

    Raises
    ------
    InputError : with everything that is wrong in it
    """
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a TOML file: {error}") from None
    return check_config(data, path)


def check_config(data: dict[str, Any], path: Path) -> Config:
    """A configuration of facts that were read from a file."""
    try:
        config = Config.model_validate(data, context={"base": path.absolute().parent})
    except ValidationError as error:
        problems = [_sentence(problem) for problem in error.errors(include_url=False)]
        raise InputError(f"{path}: " + "; ".join(problems)) from None
    missing = [f"{where}: {what}" for where, what in _missing(config)]
    if missing:
        raise InputError(f"{path}: " + "; ".join(missing))
    return config


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {text}" if where else text


def _missing(config: Config) -> list[tuple[str, str]]:
    """Folders and files that must be there before the service starts."""
    folders = [
        (f"raw.{k}", Path(where.place)) for k, where in enumerate(config.raw) if "://" not in where.place
    ]
    folders += [(f"delivery.{name}", root) for name, root in config.delivery.shared.items()]
    if config.conversion.solutions is not None:
        folders.append(("conversion.solutions", config.conversion.solutions))
    if config.chime is not None:
        kept = {"archive": config.chime.archive, "sif": config.chime.sif}
        named = [(name, folder) for name, folder in kept.items() if folder is not None]
        named += [("roots", Path(word.rpartition("=")[2])) for word in config.chime.roots]
        folders += [(f"chime.{name}", folder) for name, folder in named]
    if "://" not in config.database:
        folders.append(("database", Path(config.database).parent))
    found = [(name, f"there is no folder {folder}") for name, folder in folders if not folder.is_dir()]
    files = {
        "server.tls_cert": config.server.tls_cert,
        "server.tls_key": config.server.tls_key,
        "archive": config.archive,
    }
    return found + [
        (name, f"there is no file {path}") for name, path in files.items() if path and not path.is_file()
    ]
