"""A site that restores and reviews: database, areas, stores, CASA, mail; read from one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mwaconvert.archive.casa.versions import CasaVersion, VersionTable, read_version_table
from mwaconvert.archive.catalog import Catalog
from mwaconvert.archive.products import ProductTable, read_product_table
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.slurm import Slurm
from mwaconvert.jobs.control.store import url_of
from mwaconvert.jobs.delivery.mail import MailServer, Security
from mwaconvert.jobs.delivery.places import place
from mwaconvert.jobs.workflows.archives.stores.exporting import ExportStore
from mwaconvert.jobs.workflows.archives.stores.ngas import Ngas
from mwaconvert.jobs.workflows.archives.stores.store import PlaceStore, Store

#: areas that a site has, with the folder of each beside the configuration if none is named
AREAS = {"processing": "processing", "qa": "qa", "cache": "cache", "delivered": "delivered"}


@dataclass(frozen=True)
class ArchiveSite:
    """What steps need and no job may choose.

    Attributes
    ----------
    database : of jobs and catalogue
    work : attempts of jobs
    areas : processing (ages), qa (never), cache of calibrated sets (ages), delivered (what was handed out)
    stores : where files come from, the likeliest first
    ingest : where products go
    casas : installations of CASA; a Python that has casatasks stands for its tasks alone
    obscore : table of the public archive as CSV, from which sets are known too
    procedures : files of pipeline procedures by telescope and purpose, as ``vla-calibrate``
    analysts, manager : who gets mail
    slurm : where CASA runs as batch jobs; without it CASA is a child of the worker
    """

    database: str
    work: Path
    areas: Mapping[str, Path]
    stores: tuple[Store, ...] = ()
    ingest: Store | None = None
    casas: Mapping[CasaVersion, Path] = field(default_factory=dict)
    procedures: Mapping[str, Path] = field(default_factory=dict)
    retention: Path | None = None
    kinds: Path | None = None
    versions: Path | None = None
    obscore: Path | None = None
    metadata: str | None = None
    mail: MailServer | None = None
    analysts: tuple[str, ...] = ()
    manager: str | None = None
    slurm: Slurm | None = None

    def catalog(self) -> Catalog:
        """The catalogue, to be closed by who opened it."""
        return Catalog(url_of(self.database))

    def table(self) -> ProductTable:
        """Kinds and roles of files."""
        return read_product_table(self.kinds)

    def version_table(self) -> VersionTable:
        """Which CASA belongs to which pipeline, and is in operations."""
        return read_version_table(self.versions)

    def procedure(self, name: str) -> Path:
        """The file of a procedure; `InputError` for one the site has not."""
        try:
            return self.procedures[name]
        except KeyError:
            known = ", ".join(sorted(self.procedures)) or "none"
            raise InputError(
                f"the site has no procedure {name}; name its file under [procedures] (there are {known})"
            ) from None

    @property
    def everybody(self) -> tuple[str, ...]:
        """All who get mail."""
        return tuple(dict.fromkeys((*self.analysts, *([self.manager] if self.manager else []))))


def now() -> datetime:
    """The time, as archives have it."""
    return datetime.now(UTC)


def open_store(address: str, settings: Mapping[str, Any] | None = None) -> Store:
    """The store of an address: a path, s3://bucket/prefix, https://host/folder, or ngas://host:port.

    Examples
    --------
    >>> open_store("/archive")
    PlaceStore(Folder('/archive'))
    """
    if address.startswith(("ngas://", "ngas+https://")):
        return Ngas(address)
    return PlaceStore(place(address, settings))


def local_site(
    folder: Path,
    stores: Sequence[str] = (),
    casas: Mapping[CasaVersion, Path] | None = None,
    metadata: str | None = None,
) -> ArchiveSite:
    """A site in one folder, for restores by hand; what it needs is hidden in it."""
    home = folder / ".mwaconvert-jobs"
    return ArchiveSite(
        database=str(home / "jobs.db"),
        work=home / "work",
        areas={**{name: home / name for name in AREAS}, "delivered": folder},
        stores=tuple(open_store(address) for address in stores),
        casas=dict(casas or {}),
        metadata=metadata,
    )


def read_site(path: Path) -> ArchiveSite:
    """Read the configuration of a site; relative paths begin at its folder.

    Raises
    ------
    InputError
        It cannot be read, has keys nobody knows, or lacks some.
    """
    try:
        facts = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a TOML file: {error}") from None
    return _Reader(path).site(facts)


_PARTS = {"database", "work", "areas", "stores", "casa", "procedures", "files", "metadata", "mail", "slurm"}
_FILES = {"retention", "kinds", "versions", "obscore"}
_STORES = {"read", "ingest", "settings", "export"}
_SLURM = {"options", "poll_s"}
_MAIL = {"host", "port", "security", "ca", "user", "password_file", "sender", "analysts", "manager"}


class _Reader:
    """One configuration on its way to a site; each error says where it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._base = path.resolve().parent

    def site(self, facts: dict[str, Any]) -> ArchiveSite:
        self._known(facts, _PARTS, "")
        areas = self._part(facts, "areas", set(AREAS))
        stores = self._part(facts, "stores", _STORES)
        files = self._part(facts, "files", _FILES)
        mail = self._part(facts, "mail", _MAIL)
        procedures = self._part(facts, "procedures", None)
        slurm = self._part(facts, "slurm", _SLURM)
        settings = stores.get("settings", {})
        ingest = stores.get("ingest")
        metadata = facts.get("metadata")
        return ArchiveSite(
            database=self._address(self._text(facts, "database", "archive.db")),
            work=self._place(self._text(facts, "work", "work")),
            areas={name: self._place(self._text(areas, name, usual)) for name, usual in AREAS.items()},
            stores=(
                *(open_store(self._address(a), settings) for a in self._texts(stores, "read")),
                *self._export(stores),
            ),
            ingest=None if ingest is None else open_store(self._address(str(ingest)), settings),
            casas=self._casas(self._part(facts, "casa", None)),
            procedures={name: self._file(procedures, name) for name in procedures},
            retention=self._file(files, "retention") if "retention" in files else None,
            kinds=self._file(files, "kinds") if "kinds" in files else None,
            versions=self._file(files, "versions") if "versions" in files else None,
            obscore=self._place(self._text(files, "obscore")) if "obscore" in files else None,
            metadata=None if metadata is None else str(metadata),
            mail=self._server(mail) if "host" in mail else None,
            analysts=self._texts(mail, "analysts"),
            manager=mail.get("manager"),
            slurm=self._batches(slurm) if "slurm" in facts else None,
        )

    def _export(self, stores: dict[str, Any]) -> tuple[Store, ...]:
        """The command that brings what no other store has."""
        argv = self._texts(stores, "export")
        try:
            return (ExportStore(argv),) if argv else ()
        except InputError as error:
            raise self._error(f"stores.export: {error}") from None

    def _batches(self, slurm: dict[str, Any]) -> Slurm:
        poll_s = slurm.get("poll_s", 5.0)
        if isinstance(poll_s, bool) or not isinstance(poll_s, int | float) or not 0 < poll_s <= 600:
            raise self._error(f"slurm.poll_s is {poll_s!r}; expected seconds up to 600")
        options = self._texts(slurm, "options")
        odd = [option for option in options if not option.startswith("-") or option != option.strip()]
        if odd:
            raise self._error(
                f"slurm.options has {odd[0]!r}; expected options of sbatch, as --partition=work"
            )
        return Slurm(poll_s=float(poll_s), options=options)

    def _server(self, mail: dict[str, Any]) -> MailServer:
        words = ", ".join(security.value for security in Security)
        try:
            security = Security(mail.get("security", Security.STARTTLS.value))
        except ValueError:
            raise self._error(f"mail.security is {mail['security']!r}; expected one of {words}") from None
        port = mail.get("port", security.port)
        if not isinstance(port, int) or not 0 < port < 65536:
            raise self._error(f"mail.port is {port!r}; expected a number up to 65535")
        return MailServer(
            host=self._text(mail, "host"),
            port=port,
            security=security,
            sender=self._text(mail, "sender"),
            ca=self._file(mail, "ca") if "ca" in mail else None,
            user=mail.get("user"),
            password_file=self._file(mail, "password_file") if "password_file" in mail else None,
        )

    def _casas(self, part: dict[str, Any]) -> dict[CasaVersion, Path]:
        found = {}
        for name in part:
            path = self._place(self._text(part, name))
            if not path.exists():
                raise self._error(f"casa.{name}: {path} is not there")
            found[CasaVersion.parse(name)] = path
        return found

    def _part(self, facts: dict[str, Any], name: str, known: set[str] | None) -> dict[str, Any]:
        part = facts.get(name, {})
        if not isinstance(part, dict):
            raise self._error(f"{name} must be a table, [{name}]")
        if known is not None:
            self._known(part, known, f"{name}.")
        return part

    def _known(self, facts: dict[str, Any], known: set[str], where: str) -> None:
        unknown = sorted(set(facts) - known)
        if unknown:
            raise self._error(f"{where}{unknown[0]} is not a setting; expected {', '.join(sorted(known))}")

    def _text(self, facts: dict[str, Any], name: str, usual: str | None = None) -> str:
        value = facts.get(name, usual)
        if not isinstance(value, str) or not value:
            raise self._error(f"{name} is {'missing' if value is None else repr(value)}; expected a text")
        return value

    def _texts(self, facts: dict[str, Any], name: str) -> tuple[str, ...]:
        values = facts.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._error(f"{name} is {values!r}; expected a list of texts")
        return tuple(values)

    def _place(self, text: str) -> Path:
        return self._base / Path(text).expanduser()

    def _file(self, facts: dict[str, Any], name: str) -> Path:
        path = self._place(self._text(facts, name))
        if not path.is_file():
            raise self._error(f"{name}: there is no file {path}")
        return path

    def _address(self, text: str) -> str:
        return text if "://" in text else str(self._place(text))

    def _error(self, words: str) -> InputError:
        return InputError(f"{self._path}: {words}")
