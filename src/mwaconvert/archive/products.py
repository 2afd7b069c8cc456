"""What product files are: kind and role by a table of names, checksums, archives that can be unpacked safely."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from mwaconvert.archive.identifiers import safe_name
from mwaconvert.archive.texts import read_text
from mwaconvert.archive.units import ProductFile, Role
from mwaconvert.errors import FormatError, InputError

#: name of the list of checksums beside files, in the form of sha256sum
SUMS = "SHA256SUMS"
_PIECE = 1 << 20


class Kind(Enum):
    """Kinds of files; the values are the words of the table."""

    CALTABLES = "caltables"
    AUXCALTABLES = "auxcaltables"
    FLAGVERSIONS = "flagversions"
    CALAPPLY = "calapply"
    WEBLOG = "weblog"
    AUXPRODUCTS = "auxproducts"
    MANIFEST = "manifest"
    AQUA_REPORT = "aquareport"
    RESTORE_SCRIPT = "restorescript"
    PIPELINE_SCRIPT = "pipescript"
    COMMANDS = "commands"
    REQUEST = "request"
    SCRIPT_FOR_PI = "scriptforpi"
    CALIBRATION_SCRIPT = "calscript"
    IMAGING_SCRIPT = "imagescript"
    FLAG_TEMPLATE = "flagtemplate"
    FLUXES = "fluxes"
    CONTINUUM = "continuum"
    POSITIONS = "positions"
    QA_NOTES = "qanotes"
    IMAGE = "image"
    OTHER = "other"


def plain(name: str) -> str:
    """A name with points for underscores, for comparisons: archives exchange the two."""
    return name.replace("_", ".")


@dataclass(frozen=True)
class ProductTable:
    """Kind and role of files by patterns; the first that fits decides."""

    rules: tuple[tuple[str, Kind, Role], ...]

    def of(self, name: str) -> tuple[Kind, Role]:
        """Kind and role of a file; what no pattern fits is another ancillary file."""
        for pattern, kind, role in self.rules:
            if fnmatch.fnmatchcase(plain(name), plain(pattern)):
                return kind, role
        return Kind.OTHER, Role.ANCILLARY

    def kind(self, name: str) -> Kind:
        """Kind of a file."""
        return self.of(name)[0]


def read_product_table(path: Path | None = None) -> ProductTable:
    """Read a table of kinds and roles; the packaged one by default.

    Raises
    ------
    FormatError
        An unknown kind or role, a line without patterns.
    """
    name = str(path or "product_kinds.txt")
    text = (
        (resources.files("mwaconvert.archive") / "product_kinds.txt").read_text()
        if path is None
        else read_text(path)
    )
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            kind, role = Kind(words[0]), Role(words[1])
        except (ValueError, IndexError):
            kinds = ", ".join(k.value for k in Kind)
            raise FormatError(
                f"{name}: line {number}: '{line.strip()}'; expected one of {kinds}, then primary or ancillary, patterns"
            ) from None
        if not words[2:]:
            raise FormatError(f"{name}: line {number}: {words[0]} has no patterns")
        rules += [(pattern, kind, role) for pattern in words[2:]]
    return ProductTable(tuple(rules))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: Path, table: ProductTable) -> ProductFile:
    """Name, role, size and SHA-256 of a file on disk."""
    _, role = table.of(path.name)
    return ProductFile(path.name, role=role, size=path.stat().st_size, sha256=sha256_of(path))


def write_sums(folder: Path) -> Path:
    """Write the checksums of all files of a folder, in the form of sha256sum, and give its path.

    The list is replaced in one step: a reader sees the old one or the new one.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.name != SUMS)
    text = "".join(f"{sha256_of(p)}  {p.relative_to(folder)}\n" for p in files)
    target = folder / SUMS
    part = folder / f".{SUMS}.part"
    part.write_text(text)
    return part.replace(target)


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 of each file of a list in the form of sha256sum, by relative path.

    Raises
    ------
    FormatError
        A malformed line, or a path that leaves the folder of the list.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        digest, blank, name = line.partition(" ")
        name = name.removeprefix(" ").removeprefix("*")
        try:
            parts = [safe_name(part) for part in name.split("/")]
            file = ProductFile(parts[-1], sha256=digest)
        except InputError as error:
            raise FormatError(f"{path}: line {number}: {error}") from None
        if not blank or file.sha256 is None:
            raise FormatError(f"{path}: line {number}: '{line}'; expected a SHA-256, two blanks and a name")
        sums[name] = file.sha256
    return sums


def problem_of_file(path: Path, expected: ProductFile) -> str | None:
    """What a file on disk differs in from what the archive says of it, in words; None if nothing."""
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        longer = "longer" if size > expected.size else "shorter"
        return f"{path.name} is {abs(size - expected.size)} bytes {longer} than the {expected.size} bytes expected"
    if expected.sha256 is not None and sha256_of(path) != expected.sha256:
        return f"{path.name} has the expected size but not the expected SHA-256; fetch it again"
    return None


def problem_of_archive(path: Path) -> str | None:
    """Why a tar file must not be unpacked, in words; None for one that is whole and stays in its folder.

    The file is read to its end, so a cut or damaged one is found; so are bytes behind the end, as of a corrupt copy
    that is longer than the good one.
    """
    try:
        with path.open("rb") as raw, _stream(raw, path) as file:
            with tarfile.open(fileobj=file, mode="r|") as tar:
                for member in tar:
                    problem = _problem_of_member(member)
                    if problem is not None:
                        return f"{path.name}: {member.name}: {problem}"
            rest = _bytes_behind(file)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        return f"{path.name} is damaged or cut short ({error}); fetch it again"
    return f"{path.name} has other bytes behind its end; fetch it again" if rest else None


def _stream(raw: BinaryIO, path: Path) -> BinaryIO:
    """The tar behind its compression; plain tar files are read as they are."""
    return cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if path.name.endswith(("gz", ".tgz")) else raw


def _bytes_behind(file: BinaryIO) -> bool:
    """Read what follows the tar; padding of zeros is usual."""
    while piece := file.read(_PIECE):
        if piece.strip(b"\0"):
            return True
    return False


def _problem_of_member(member: tarfile.TarInfo) -> str | None:
    """Why a member must not be unpacked: it leaves the folder, or is not a file, folder or link within."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "leaves the folder it is unpacked into"
    if member.issym() or member.islnk():
        target = PurePosixPath(member.linkname)
        start = path.parent if member.issym() else PurePosixPath()
        if target.is_absolute() or _leaves(start, target):
            return f"links to {member.linkname}, outside the folder it is unpacked into"
        return None
    return None if member.isfile() or member.isdir() else "is not a file, folder or link"


def _leaves(start: PurePosixPath, target: PurePosixPath) -> bool:
    depth = len(start.parts)
    for part in target.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member of a tar without times and owners, so that the same files give the same bytes."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def product_files(products: Path) -> tuple[Path, ...]:
    """Files of a products folder at any depth; not the unpacked weblog and the list of checksums.

    Raises
    ------
    InputError
        A symbolic link that leaves the folder, as of a weblog that lies elsewhere.
    """
    chosen = []
    for path in sorted(products.rglob("*")):
        relative = path.relative_to(products)
        if path.is_symlink() and not path.resolve().is_relative_to(products.resolve()):
            raise InputError(f"{path}: links out of the products folder; put the file itself there")
        unpacked = len(relative.parts) > 1 and relative.parts[0].startswith("pipeline-")
        if path.is_file() and not path.is_symlink() and not unpacked and path.name != SUMS:
            chosen.append(path)
    return tuple(chosen)


def calibration_members(products: Path, table: ProductTable) -> tuple[Path, ...]:
    """Files of a products folder that belong into the calibration tar, with what an analyst added.

    That is everything that is neither FITS nor the unpacked weblog; errors as in `product_files`.
    """
    return tuple(
        path
        for path in product_files(products)
        if not (".fits" in path.name and table.kind(path.name) is Kind.IMAGE)
    )


def hashes_within(path: Path) -> set[str]:
    """SHA-256 of each file in an uncompressed tar."""
    found = set()
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
                found.add(digest.hexdigest())
    return found


def find(files: Iterable[Path], name: str) -> list[Path]:
    """Files of that name; failing that, those that end in it with points and underscores exchanged.

    Archives put the member set before the names a manifest gives: ``member.uid___A001_X1_X2.<name>``.
    """
    exact = [path for path in files if path.name == name]
    return exact or [path for path in files if plain(path.name).endswith(plain(f".{name}"))]


def by_kind(files: Iterable[Path], table: ProductTable) -> Mapping[Kind, list[Path]]:
    """Files by kind, in the order given."""
    found: dict[Kind, list[Path]] = {}
    for path in files:
        found.setdefault(table.kind(path.name), []).append(path)
    return found
