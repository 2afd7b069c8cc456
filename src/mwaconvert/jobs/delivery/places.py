"""Places: where raw data come from and products go. Folders, buckets and web servers behind one protocol.

A file is delivered whole or not at all, and the same product delivered twice is one product. Names are
relative and checked before they are used; in a folder, what they lead to stays under its root.
"""

from __future__ import annotations

import errno
import fcntl
import filecmp
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args
from urllib.parse import quote, unquote, urljoin, urlsplit

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.extras import need
from mwaconvert.unpacking import safe_name

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Value = TypeVar("Value")

#: what a file that is being written is called, beside the one it will be
PART = ".part-"
#: errors of a file system that may be gone at the next try
TRANSIENT_ERRNO = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EHOSTDOWN, errno.ENOTCONN}
)
#: ioctl of Linux: share the blocks of another file (btrfs, xfs)
_FICLONE = 0x40049409
_COPY_BYTES = 8 << 20
#: an index page is never so large
_LARGEST_PAGE = 64 << 20


class UnreachableError(ResourceError):
    """A place that does not answer now; another try may help."""


@dataclass(frozen=True)
class Entry:
    """A file at a place.

    Attributes
    ----------
    name : relative to the root of the place, with / between parts
    n_bytes : None where a listing does not say
    sha256 : if the place keeps it
    """

    name: str
    n_bytes: int | None
    sha256: str | None = None


class Source(Protocol):
    """Where raw data come from."""

    def files(self, folder: str) -> list[Entry]:
        """Files in a folder and below, sorted by name; none if there is no such folder."""

    def stat(self, name: str) -> Entry | None:
        """A file, None if it is not there."""

    def fetch(self, name: str, target: Path) -> None:
        """Bring a file to a new local path: link it where that is possible, else copy it."""

    def location(self, name: str) -> str:
        """A path or address to show to a person."""


class Place(Source, Protocol):
    """Where products go."""

    def deliver(self, source: Path, name: str, sha256: str | None = None) -> Entry:
        """Put a file there, whole or not at all; one that is there already is replaced.

        Parameters
        ----------
        source : a local file; from now on it may share its bytes with the delivered one, so replace it rather
            than write into it
        name : its name at the place
        sha256 : of the file; with it, a file that was delivered before is not sent again
        """

    def remove(self, name: str) -> bool:
        """Remove a file; False if it was not there."""


def patiently(action: Callable[[], Value], patience_s: float, first_wait_s: float = 0.5) -> Value:
    """Repeat an action while its place does not answer, waiting longer each time.

    Raises
    ------
    UnreachableError : of the last try, when patience_s have passed
    """
    until, wait = time.monotonic() + patience_s, first_wait_s
    while True:
        try:
            return action()
        except UnreachableError:
            if time.monotonic() + wait > until:
                raise
        time.sleep(wait)
        wait = min(2 * wait, 30.0)


# ---------------------------------------------------------------------------------------------- folders


class Folder:
    """A folder, on a disk that every machine sees which works on the jobs.

    Parameters
    ----------
    root : made at the first delivery
    patience_s : how long to try again when a network disk stumbles

    Examples
    --------
    >>> Folder(Path("/data/products")).location("1110103576_77_ms.tar")
    '/data/products/1110103576_77_ms.tar'
    """

    def __init__(self, root: Path, patience_s: float = 30.0) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  (links in it are for its owner to place)
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return f"Folder({str(self.root)!r})"

    def location(self, name: str) -> str:
        return str(self.root / safe_name(name))

    def path(self, name: str) -> Path:
        """Local path of a name.

        Raises
        ------
        InputError : a link on the way leads out of the root
        """
        path = self.root / safe_name(name)
        resolved = path.resolve()
        if not resolved.is_relative_to(self.root.resolve()):
            raise InputError(
                f"{path}: a link leads to {resolved}, outside {self.root}; give that folder as a root of its own"
            )
        return path

    def files(self, folder: str) -> list[Entry]:
        top = self.path(folder) if folder else self.root
        return patiently(lambda: sorted(self._walk(top), key=lambda entry: entry.name), self._patience_s)

    def _walk(self, top: Path) -> Iterator[Entry]:
        with self._errors(top):
            if not top.is_dir():
                return
            for path in top.rglob("*"):
                name = path.relative_to(self.root).as_posix()
                if PART not in name and path.is_file():
                    yield Entry(name, path.stat().st_size)

    def stat(self, name: str) -> Entry | None:
        path = self.path(name)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(name, found.st_size) if stat.S_ISREG(found.st_mode) else None

    def fetch(self, name: str, target: Path) -> None:
        source = self.path(name)

        def bring() -> None:
            with self._errors(source):
                link_or_copy(source, target)

        patiently(bring, self._patience_s)

    def deliver(self, source: Path, name: str, sha256: str | None = None) -> Entry:
        target = self.path(name)
        n_bytes = source.stat().st_size
        wanted = Entry(name, n_bytes, sha256)
        if sha256 is not None and self.stat(name) == Entry(name, n_bytes) and file_sha256(target) == sha256:
            return wanted

        def put(part: Path) -> None:
            # a file with other names, such as raw data, could be written by them
            (link_or_copy if source.stat().st_nlink == 1 else copy_file)(source, part)
            sync(part)
            part.replace(target)

        patiently(lambda: self._put(target, put), self._patience_s)
        return wanted

    def deliver_tree(self, source: Path, name: str) -> tuple[Entry, ...]:
        """Put a folder there with all that is in it, whole or not at all; one there already is replaced.

        Parameters
        ----------
        source : a local folder of files and folders, no links
        name : of the folder at the place

        Returns
        -------
        its files
        """
        target = self.path(name)
        files = [path for path in sorted(source.rglob("*")) if not path.is_dir() or path.is_symlink()]
        for path in files:
            if path.is_symlink() or not path.is_file():
                raise InputError(f"{path}: is a link or no file; only files are delivered")
        names = [path.relative_to(source).as_posix() for path in files]
        if not (target.is_dir() and _same_files(source, target, names)):

            def put(part: Path) -> None:
                for inner in names:
                    (part / inner).parent.mkdir(parents=True, exist_ok=True)
                    copy_file(source / inner, part / inner)  # no link: who gets it may write into it
                    sync(part / inner)
                sync(part)
                if target.exists():
                    target.replace(part.with_name(f"{part.name}-replaced"))
                part.replace(target)
                shutil.rmtree(part.with_name(f"{part.name}-replaced"), ignore_errors=True)

            patiently(lambda: self._put(target, put), self._patience_s)
        return tuple(
            Entry(f"{name}/{inner}", path.stat().st_size) for inner, path in zip(names, files, strict=True)
        )

    def _put(self, target: Path, put: Callable[[Path], None]) -> None:
        """Let something be made under a name of its own beside the target, which it must rename."""
        part = part_beside(target)
        with self._errors(target):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                put(part)
                sync(target.parent)
            finally:
                remove(part)

    def remove(self, name: str) -> bool:
        path = self.path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        for above in path.parents:  # folders that the delivery made
            if above == self.root or not _removed_if_empty(above):
                break
        return True

    def sweep(self, older_than_s: float = 86400.0) -> int:
        """Remove what killed deliveries left behind.

        Parameters
        ----------
        older_than_s : younger ones may still be written

        Returns
        -------
        how many files and folders were removed
        """
        before, swept = time.time() - older_than_s, 0
        for path in list(self.root.rglob(f".*{PART}*")):
            if not path.is_symlink() and path.exists() and path.stat().st_mtime < before:
                remove(path)
                swept += 1
        return swept

    @contextmanager
    def _errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = UnreachableError if error.errno in TRANSIENT_ERRNO else ResourceError
            raise kind(f"{path}: {error.strerror or error}") from error


def scratch(root: Path, group: str) -> Folder:
    """The folder on a shared disk where the jobs of a group have theirs: <root>/<group>/asvo/<job_id>.

    Parameters
    ----------
    group : of users, from the configuration

    Raises
    ------
    InputError : the name of the group cannot be the name of a folder
    """
    if len(safe_name(group).parts) != 1:
        raise InputError(f"the group {group!r} is not the name of one folder")
    return Folder(root / group / "asvo")


def _same_files(left: Path, right: Path, names: Sequence[str]) -> bool:
    """Whether a folder holds these files of another, and nothing else."""
    there = sorted(path.relative_to(right).as_posix() for path in right.rglob("*") if not path.is_dir())
    return there == sorted(names) and all(
        filecmp.cmp(left / name, right / name, shallow=False) for name in names
    )


def _removed_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Bring a file to a new path: a hard link on the same disk, else shared blocks (reflink), else a copy.

    Whoever gets it must not write into it.
    """
    try:
        os.link(source.resolve(), target)
    except FileExistsError:
        raise
    except OSError:  # another disk, or one without links
        part = part_beside(target)
        copy_file(source, part)
        part.rename(target)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def part_beside(target: Path) -> Path:
    """A name of its own for what will be a file or folder when it is whole."""
    return target.with_name(f".{target.name[:180]}{PART}{uuid.uuid4().hex}")


def copy_file(source: Path, target: Path) -> None:
    """Copy to a new file, sharing blocks where the disk can; a copy that fails leaves nothing."""
    with source.open("rb", buffering=0) as reader:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        try:
            with os.fdopen(fd, "wb", buffering=0) as writer:
                if not _shares_blocks(reader.fileno(), writer.fileno()):
                    shutil.copyfileobj(reader, writer, _COPY_BYTES)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _shares_blocks(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    import hashlib

    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make what was written, or renamed in a folder, survive a loss of power."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ---------------------------------------------------------------------------------- buckets and the web


class _Stored:
    """What buckets and web servers share: names under a store of the library."""

    _store: ObjectStore

    def __init__(self, url: str, store: ObjectStore, patience_s: float) -> None:
        self.url = url.rstrip("/")
        self._store = store
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def location(self, name: str) -> str:
        return f"{self.url}/{quote(str(safe_name(name)))}"

    def _try(self, action: Callable[[Any], Value], name: str) -> Value:
        """Do something with the store, again while it does not answer; `FileNotFoundError` passes."""
        import obstore

        def once() -> Value:
            try:
                return action(obstore)
            except FileNotFoundError:
                raise
            except obstore.exceptions.BaseError as error:
                raise _translated(error, self.location(name)) from error

        return patiently(once, self._patience_s)

    def fetch(self, name: str, target: Path) -> None:
        part = part_beside(target)

        def copy(obstore: Any) -> None:
            result = obstore.get(self._store, str(safe_name(name)))
            expected = result.meta["size"]
            with part.open("wb", buffering=0) as file:
                for chunk in result.stream(min_chunk_size=_COPY_BYTES):
                    file.write(chunk)
                found = file.tell()
            if found != expected:
                raise UnreachableError(f"{self.location(name)}: {found} bytes of {expected} came; try again")

        try:
            self._try(copy, name)
            part.rename(target)
        except FileNotFoundError:
            raise InputError(f"{self.location(name)}: no such file") from None
        except OSError as error:
            raise ResourceError(f"{target}: cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    def stat(self, name: str) -> Entry | None:
        try:
            result = self._try(
                lambda o: o.get(self._store, str(safe_name(name)), options={"head": True}), name
            )
        except FileNotFoundError:
            return None
        return Entry(name, result.meta["size"], result.attributes.get("sha256"))


class Bucket(_Stored):
    """A bucket of an S3-compatible store.

    Parameters
    ----------
    url : s3://bucket/prefix; also file:/// and memory:/// for trials
    settings : of the store: endpoint, region, access_key_id, secret_access_key ...; what is absent comes
        from the environment (AWS_ACCESS_KEY_ID ...)
    patience_s : how long to try again while it does not answer
    store : an open store in place of the two above

    Notes
    -----
    An object is seen when all of it has come, so no temporary name is needed. A delivery that was killed
    leaves hidden parts of an upload: let a lifecycle rule of the bucket end them.
    """

    def __init__(
        self,
        url: str,
        settings: Mapping[str, Any] | None = None,
        patience_s: float = 300.0,
        store: ObjectStore | None = None,
    ) -> None:
        need("obstore", "s3", f"the bucket {url}")
        if store is None:
            from obstore.store import from_url

            given = dict(settings or {})
            _refuse_unknown(url, given)
            options: dict[str, Any] = {} if url.startswith(("memory:", "file:")) else _network(url, given)
            store = from_url(url, **given, **options)
        super().__init__(url, store, patience_s)

    def files(self, folder: str) -> list[Entry]:
        prefix = str(safe_name(folder)) if folder else None

        def collect(obstore: Any) -> list[Entry]:
            batches = obstore.list(self._store, prefix)
            return [Entry(found["path"], found["size"]) for batch in batches for found in batch]

        return sorted(self._try(collect, folder or "listing"), key=lambda entry: entry.name)

    def deliver(self, source: Path, name: str, sha256: str | None = None) -> Entry:
        key, n_bytes = str(safe_name(name)), source.stat().st_size
        wanted = Entry(name, n_bytes, sha256)
        if sha256 is not None and self.stat(name) == wanted:
            return wanted
        attributes = {"sha256": sha256} if sha256 is not None else None

        def put(obstore: Any) -> None:
            try:
                obstore.put(self._store, key, source, attributes=attributes, chunk_size=_COPY_BYTES)
            except NotImplementedError:  # a folder as a bucket keeps no attributes
                obstore.put(self._store, key, source, chunk_size=_COPY_BYTES)

        self._try(put, name)
        return wanted

    def remove(self, name: str) -> bool:
        if self.stat(name) is None:
            return False
        self._try(lambda obstore: obstore.delete(self._store, str(safe_name(name))), name)
        return True

    def link(self, name: str, life_s: float) -> str:
        """A signed address by which anybody may fetch a file until life_s have passed."""
        from typing import cast

        import obstore

        store = cast("obstore.store.S3Store", self._store)
        return obstore.sign(store, "GET", str(safe_name(name)), timedelta(seconds=life_s))


class Web(_Stored):
    """A web server whose folders are listed by index pages, or by a file index.txt in each.

    Parameters
    ----------
    url : of the folder that holds the folders of the observations
    patience_s : how long to try again while it does not answer
    """

    def __init__(self, url: str, patience_s: float = 300.0) -> None:
        need("obstore", "s3", f"raw data from {url}")
        from obstore.store import HTTPStore

        store = HTTPStore.from_url(url, **_network(url, {}))
        super().__init__(url, store, patience_s)

    def files(self, folder: str) -> list[Entry]:
        found: list[Entry] = []
        waiting = [str(safe_name(folder)) if folder else ""]
        seen = set(waiting)
        while waiting:
            here = waiting.pop()
            for name in self._names(here):
                if name.endswith("/") and name not in seen:
                    seen.add(name)
                    waiting.append(name.rstrip("/"))
                elif not name.endswith("/") and not name.endswith("index.txt"):
                    found.append(Entry(name, None))
        return sorted(set(found), key=lambda entry: entry.name)

    def _names(self, folder: str) -> list[str]:
        """Names in one folder, relative to the root; folders end in /."""
        for page in (f"{folder}/index.txt", f"{folder}/"):
            try:
                text = self._text(page)
            except FileNotFoundError:
                continue
            links = text.split() if page.endswith(".txt") else _links(text)
            return [name for link in links if (name := self._inside(folder, link)) is not None]
        return []

    def _text(self, page: str) -> str:
        """Text of an index; the store drops the / at the end, to which servers lead by themselves."""

        def read(obstore: Any) -> str:
            result = obstore.get(self._store, page.strip("/"))
            if result.meta["size"] > _LARGEST_PAGE:
                raise InputError(
                    f"{self.url}/{page}: an index of {result.meta['size']} bytes is not an index"
                )
            return bytes(result.bytes()).decode("utf-8", "replace")

        return self._try(read, page.strip("/") or "index")

    def _inside(self, folder: str, link: str) -> str | None:
        """Name of what a link of a folder's page leads to, None if it leads elsewhere."""
        base = f"{self.url}/{quote(folder)}/" if folder else f"{self.url}/"
        target, top = urlsplit(urljoin(base, link)), urlsplit(base)
        if (target.scheme, target.netloc) != (top.scheme, top.netloc) or target.query:
            return None
        path = unquote(target.path)
        if not path.startswith(unquote(top.path)) or path == unquote(top.path):
            return None
        try:
            name = str(safe_name(path[len(unquote(urlsplit(self.url).path)) :].lstrip("/")))
        except InputError:
            return None
        return f"{name}/" if path.endswith("/") else name


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _links(page: str) -> list[str]:
    parser = _LinkParser()
    parser.feed(page)
    return parser.links


#: what a bucket may need; what is left out comes from the environment (AWS_REGION ...)
BucketSetting = Literal[
    "access_key_id",
    "endpoint",
    "region",
    "secret_access_key",
    "session_token",
    "skip_signature",
    "virtual_hosted_style_request",
]
SETTINGS: tuple[str, ...] = get_args(BucketSetting)


def _refuse_unknown(url: str, settings: Mapping[str, Any]) -> None:
    """The library panics at a setting that it does not know, which no program catches."""
    unknown = [name for name in settings if name not in SETTINGS]
    if unknown:
        raise InputError(f"{url}: a bucket has no setting {unknown[0]!r}, but {', '.join(SETTINGS)}")


def _network(url: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a store behind a network: short tries, for `patiently` makes the long ones."""
    plain = url.startswith("http://") or str(settings.get("endpoint", "")).startswith("http://")
    return {
        "client_options": {"timeout": timedelta(hours=12), "connect_timeout": "10s", "allow_http": plain},
        "retry_config": {"max_retries": 2, "retry_timeout": timedelta(minutes=1)},
    }


#: the one kind of answer that another try does not change, where the library has no class for it
_LASTING = re.compile(r"status code: 4(?!08|29)\d\d")


def _translated(error: Exception, where: str) -> ResourceError:
    import obstore

    first = str(error).strip().splitlines()[0]
    if type(error) is obstore.exceptions.GenericError and not _LASTING.search(first):
        return UnreachableError(f"{where}: does not answer: {first}")
    return ResourceError(f"{where}: refused: {first}")


def place(address: str, settings: Mapping[str, Any] | None = None) -> Folder | Bucket | Web:
    """The place of an address: a path, s3://bucket/prefix, or https://host/folder.

    Raises
    ------
    InputError : an address of another kind

    Examples
    --------
    >>> place("/data/products")
    Folder('/data/products')
    """
    scheme, separator, _ = address.partition("://")
    if not separator:
        return Folder(Path(address))
    if scheme in ("http", "https"):
        return Web(address)
    if scheme in ("s3", "memory"):
        return Bucket(address, settings)
    raise InputError(f"{address}: expected a path, s3://bucket/prefix or https://host/folder")
