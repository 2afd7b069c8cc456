"""A delivered package or run directory, checked before CASA starts: it loses days otherwise.

The usual losses: a session whose name differs between request, manifest and table archive (a KeyError late in the
restore), a corrupt archive longer than the good one beside it, a script that finds two requests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from mwaconvert.archive.identifiers import execution_name
from mwaconvert.archive.layouts import Layout, LayoutKind, recognise
from mwaconvert.archive.manifests import Manifest, choose_manifest, read_manifest
from mwaconvert.archive.products import (
    SUMS,
    Kind,
    ProductTable,
    by_kind,
    find,
    plain,
    problem_of_archive,
    problem_of_file,
    read_product_table,
    read_sums,
)
from mwaconvert.archive.requests import Request, problems, read_request, sessions_as_read
from mwaconvert.archive.units import Calibrated, ProductFile
from mwaconvert.errors import FormatError, InputError

#: a restore with the original script may need that many times the volume of the raw data
VOLUME_FACTOR = 14


class PackageFault(Enum):
    """Kinds of faults of a package."""

    NO_EXECUTIONS = "no execution blocks"
    NO_CALIBRATION = "no calibration"
    MISSING = "missing file"
    AMBIGUOUS = "several files for one purpose"
    SESSION = "session names differ"
    CHECKSUM = "size or checksum"
    ARCHIVE = "archive cannot be unpacked"
    LINK = "link that leaves the package"
    REQUEST = "unsound request"
    MANIFEST = "unsound manifest"
    SUMS = "unsound list of checksums"
    RAW = "raw data missing"
    RESTORED = "restored already"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and where it is, in words."""

    kind: PackageFault
    words: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.words}"


@dataclass(frozen=True)
class PackageReport:
    """What a package holds and what keeps it from being restored.

    `sessions` gives the session of each execution block by its name on disk; `notes` are worth knowing and no fault,
    as raw data without calibration, which were observed and not used.
    """

    layout: Layout
    calibrated: Calibrated
    sessions: dict[str, str]
    manifest: Manifest | None
    request: Request | None
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()

    @property
    def restorable(self) -> bool:
        """Whether nothing keeps it from being restored."""
        return not self.faults

    def check(self) -> None:
        """Refuse a faulty package (`FormatError`), naming every fault."""
        if self.faults:
            raise FormatError(f"{self.layout.root}: " + "; ".join(str(fault) for fault in self.faults))


@dataclass
class _Contents:
    """A package on its way through the checks."""

    layout: Layout
    files: list[Path]
    kinds: dict[Kind, list[Path]]
    manifest: Manifest | None = None
    request: Request | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, kind: PackageFault, words: str) -> None:
        self.faults.append(Fault(kind, words))


def check_package(
    root: Path, expected: Sequence[ProductFile] = (), table: ProductTable | None = None
) -> PackageReport:
    """Check a delivered package or a run directory before it is restored.

    Parameters
    ----------
    root : the member set or run
    expected : what the archive says of its files; a list ``SHA256SUMS`` in `root` is used as well
    table : kinds of files; the packaged one by default

    Raises
    ------
    InputError
        `root` does not have a known layout. All else is in the report.
    """
    table = table or read_product_table()
    layout = recognise(root)
    files = sorted(_files(layout))
    contents = _Contents(layout, files, dict(by_kind(files, table)))
    by_hand = Kind.CALIBRATION_SCRIPT in contents.kinds
    _check_links(contents)
    if layout.kind is LayoutKind.DELIVERY and layout.measurement_sets.exists():
        contents.fault(
            PackageFault.RESTORED, f"{layout.measurement_sets.name} exists; scriptForPI refuses to start"
        )
    _check_unique(contents)
    _read_documents(contents)
    sessions = _sessions(contents)
    if not by_hand:
        _check_calibration(contents, sessions)
    _check_raw(contents, sessions)
    _check_bytes(contents, expected)
    calibrated = Calibrated.HAND if by_hand else Calibrated.PIPELINE
    if not by_hand and any(f.kind is PackageFault.NO_CALIBRATION for f in contents.faults):
        calibrated = Calibrated.NOT_YET
    return PackageReport(
        layout,
        calibrated,
        sessions,
        contents.manifest,
        contents.request,
        tuple(contents.faults),
        tuple(contents.notes),
    )


def room_needed(raw_bytes: int, calibrated: Calibrated) -> int:
    """Bytes of disk a restore may need: a hand calibration is done again as a whole, as scriptForPI would."""
    return raw_bytes * (VOLUME_FACTOR if calibrated is Calibrated.HAND else VOLUME_FACTOR // 2)


def _files(layout: Layout) -> Iterator[Path]:
    """Files of a package; not inside raw execution blocks, measurement sets and earlier results."""
    for folder, names, files in os.walk(layout.root):
        here = Path(folder)
        names[:] = [
            n
            for n in names
            if not n.endswith((".ms", ".sdm", ".asdm.sdm"))
            and n not in ("calibrated", "calibrated_final")
            and here != layout.raw
        ]
        yield from (here / name for name in files)


def _check_links(contents: _Contents) -> None:
    root = contents.layout.root.resolve()
    for path in contents.files:
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            relative = path.relative_to(contents.layout.root)
            contents.fault(
                PackageFault.LINK, f"{relative} leads to {path.resolve()}; put the file itself there"
            )


def _check_unique(contents: _Contents) -> None:
    for kind in (Kind.SCRIPT_FOR_PI, Kind.REQUEST, Kind.RESTORE_SCRIPT, Kind.PIPELINE_SCRIPT):
        found = contents.kinds.get(kind, [])
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            contents.fault(PackageFault.AMBIGUOUS, f"{kind.value}: {names}; keep one")
    seen: dict[str, Path] = {}
    for path in contents.files:
        if path.suffix in (".tgz", ".gz", ".tar"):
            first = seen.setdefault(path.name, path)
            if first is not path and first.stat().st_size != path.stat().st_size:
                sizes = f"{first.stat().st_size} and {path.stat().st_size} bytes"
                contents.fault(
                    PackageFault.AMBIGUOUS, f"{path.name} is there twice, with {sizes}; remove the bad one"
                )


def _read_documents(contents: _Contents) -> None:
    manifests = contents.kinds.get(Kind.MANIFEST, [])
    requests = contents.kinds.get(Kind.REQUEST, [])
    if manifests:
        try:
            contents.manifest = read_manifest(choose_manifest(manifests))
        except FormatError as error:
            contents.fault(PackageFault.MANIFEST, str(error))
        except InputError as error:
            contents.fault(PackageFault.AMBIGUOUS, str(error))
    if requests:
        try:
            contents.request = read_request(requests[0]).request
        except FormatError as error:
            contents.fault(PackageFault.REQUEST, str(error))
            return
        for problem in problems(contents.request):
            contents.fault(PackageFault.REQUEST, f"{requests[0].name}: {problem}")


def _sessions(contents: _Contents) -> dict[str, str]:
    """Session of each execution block, from the manifest, else from the request; differences are faults."""
    of_manifest = contents.manifest.executions if contents.manifest else {}
    of_request: dict[str, str] = {}
    if contents.request is not None:
        try:
            read = sessions_as_read(contents.request)
        except FormatError:
            read = {}  # an unsound request is told already
        of_request = {execution_name(name): session for name, session in read.items()}
    for name, session in of_manifest.items():
        other = of_request.get(name, session)
        if other != session:
            contents.fault(
                PackageFault.SESSION,
                f"{name} is in {session} of the manifest and {other} of the request; the restore ends in a KeyError",
            )
    sessions = of_manifest or of_request
    if not sessions:
        contents.fault(
            PackageFault.NO_EXECUTIONS, "neither manifest nor request names one; a QA package has none"
        )
    return sessions


def _check_calibration(contents: _Contents, sessions: dict[str, str]) -> None:
    """What a pipeline restore needs: tables for each session, flags and instructions for each execution block."""
    if Kind.CALTABLES not in contents.kinds:
        contents.fault(PackageFault.NO_CALIBRATION, "no archive of calibration tables (*.caltables.tgz)")
        return
    if contents.manifest is not None:
        named = [
            name
            for session in contents.manifest.sessions
            if session.executions
            for name in (
                session.caltables,
                *(n for e in session.executions for n in (e.flagversions, e.calapply)),
            )
            if name
        ]
        for name in named:
            if not find(contents.files, name):
                contents.fault(PackageFault.MISSING, f"{name}, which the manifest names")
        _check_table_names(contents)
        return
    for execution, session in sessions.items():
        if not any(f".{plain(session)}." in plain(p.name) for p in contents.kinds[Kind.CALTABLES]):
            contents.fault(
                PackageFault.SESSION, f"no calibration tables of {session}, in which {execution} is"
            )
        for kind in (Kind.FLAGVERSIONS, Kind.CALAPPLY):
            if not any(execution in path.name for path in contents.kinds.get(kind, [])):
                contents.fault(PackageFault.MISSING, f"{kind.value} of {execution}")


def _check_table_names(contents: _Contents) -> None:
    """The pipeline looks tables up by the session in their name."""
    for session in contents.manifest.sessions if contents.manifest else ():
        if session.caltables and f".{plain(session.name)}." not in plain(session.caltables):
            contents.fault(
                PackageFault.SESSION,
                f"the manifest gives {session.caltables} for {session.name}; the session must be in its name",
            )


def _check_raw(contents: _Contents, sessions: dict[str, str]) -> None:
    raw = contents.layout.raw
    names = {execution_name(path.name) for path in raw.iterdir()} if raw.is_dir() else set()
    for execution in sessions:
        if execution not in names:
            contents.fault(PackageFault.RAW, f"{execution} is not in {raw.name}")
    if contents.layout.kind is LayoutKind.DELIVERY:
        contents.notes += [
            f"{name} has raw data and no calibration; it was observed and not used"
            for name in sorted(names - sessions.keys())
        ]


def _sums(contents: _Contents, path: Path) -> dict[str, str]:
    try:
        return read_sums(path)
    except FormatError as error:
        contents.fault(PackageFault.SUMS, str(error))
        return {}


def _check_bytes(contents: _Contents, expected: Sequence[ProductFile]) -> None:
    known = {file.name: file for file in expected}
    root = contents.layout.root
    sums_file = root / SUMS
    if sums_file.is_file():
        for name, digest in _sums(contents, sums_file).items():
            if (root / name).is_file():
                known.setdefault(Path(name).name, ProductFile(Path(name).name, sha256=digest))
            else:
                contents.fault(PackageFault.MISSING, f"{name}, which {SUMS} names")
    for path in contents.files:
        if not path.is_file():
            continue
        problem = problem_of_file(path, known[path.name]) if path.name in known else None
        if problem is not None:
            contents.fault(PackageFault.CHECKSUM, problem)
        elif path.name.endswith((".tgz", ".tar.gz", ".tar")) and path.parent != contents.layout.raw:
            problem = problem_of_archive(path)
            if problem is not None:
                contents.fault(PackageFault.ARCHIVE, problem)
