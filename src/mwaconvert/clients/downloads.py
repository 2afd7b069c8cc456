"""Fetching files over HTTP: resumed where they ended, checked, and given their name when they are whole."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.extras import need
from mwaconvert.unpacking import safe_name

if TYPE_CHECKING:
    import requests

#: what is lost of a connection that breaks
_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = (10.0, 60.0)
#: answers that another try does not change, and what they mean
_LASTING = {
    400: "the request is refused",
    401: "not allowed",
    403: "not allowed; links expire, list your jobs again",
    404: "no such file; the product has expired or was removed",
    410: "the product has expired",
}


class _TryAgain(Exception):
    """A fault that may pass."""


def file_name(url: str) -> str:
    """Name under which a file of a URL is kept: the last part of its path.

    Raises
    ------
    InputError : a URL that is not HTTP, or without such a name

    Examples
    --------
    >>> file_name("https://host/mwa-asvo/1110103576_77_ms.tar?Signature=x")
    '1110103576_77_ms.tar'
    """
    parts = urlsplit(url)
    name = parts.path.rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not parts.netloc or not name or name in (".", ".."):
        raise InputError(f"{parts.scheme}://{parts.netloc}{parts.path}: not the address of a file")
    return str(safe_name(name))


def fetch(
    url: str,
    target: Path,
    n_bytes: int | None = None,
    sha1: str | None = None,
    *,
    verify: bool | str = True,
    tries: int = 6,
    first_wait_s: float = 1.0,
    what: str = "",
    progress: Callable[[int], object] = lambda _: None,
) -> Path:
    """Fetch a file. A file that is there already with the right checksum is not fetched again.

    Parameters
    ----------
    target : the file; until it is whole it is called `<name>.part`, from which a later call goes on
    n_bytes, sha1 : of the whole file, if known
    verify : of certificates: True, a file of authorities, or False
    tries : how often in all; waits double from first_wait_s on
    what : the beginning of messages
    progress : told how many bytes are there

    Raises
    ------
    InputError : the server has no such file any more, or refuses
    FormatError : what came is not what was promised
    ResourceError : the server does not answer, or the disk is full
    """
    need("requests", "client", "downloading")
    if _is_whole(target, n_bytes, sha1):
        return target
    part = target.with_name(f"{target.name}.part")
    label = f"{what}: {target.name}" if what else target.name
    wait_s = first_wait_s
    for left in range(tries - 1, -1, -1):
        try:
            _go_on(url, part, n_bytes, verify, label, progress)
            _check(part, n_bytes, sha1)
            break
        except (_TryAgain, FormatError) as error:
            if isinstance(error, FormatError):
                part.unlink(missing_ok=True)  # bytes that are wrong are no beginning
            if not left:
                kind = FormatError if isinstance(error, FormatError) else ResourceError
                raise kind(f"{label}: {error}; given up after {tries} tries") from None
        except InputError:
            if part.stat().st_size == 0:
                part.unlink()
            raise
        except OSError as error:
            raise ResourceError(f"{part}: cannot be written: {error.strerror or error}") from error
        time.sleep(wait_s)
        wait_s *= 2
    part.replace(target)
    return target


def _is_whole(target: Path, n_bytes: int | None, sha1: str | None) -> bool:
    """Whether the file is there and is known to be right; its size alone proves nothing."""
    return (
        sha1 is not None
        and target.is_file()
        and (n_bytes is None or target.stat().st_size == n_bytes)
        and _sha1(target) == sha1.lower()
    )


def _sha1(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()


def _check(part: Path, n_bytes: int | None, sha1: str | None) -> None:
    found = part.stat().st_size
    if n_bytes is not None and found != n_bytes:
        raise _TryAgain(f"{found} bytes of {n_bytes} came")
    if sha1 is not None and (digest := _sha1(part)) != sha1.lower():
        raise FormatError(f"its SHA-1 is {digest} and not {sha1}, as the job says")


def _go_on(
    url: str,
    part: Path,
    n_bytes: int | None,
    verify: bool | str,
    label: str,
    progress: Callable[[int], object],
) -> None:
    """Fetch what is missing of a file."""
    import requests

    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(fd, "r+b", buffering=0) as file:
        have = file.seek(0, os.SEEK_END)
        if n_bytes is not None and have >= n_bytes:
            file.truncate(n_bytes)
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": "mwaconvert"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            # no session: cookies and keys are for the API alone
            with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S, verify=verify) as reply:
                have = file.seek(_begin(reply, have, label))
                file.truncate(have)
                for chunk in reply.iter_content(_CHUNK_BYTES):
                    have += len(chunk)
                    if n_bytes is not None and have > n_bytes:
                        raise FormatError(f"more than the {n_bytes} bytes came that the job says")
                    _write_all(file, chunk)
                    progress(have)
        except requests.exceptions.SSLError as error:
            raise ResourceError(f"{label}: its server's certificate is not trusted ({error})") from None
        except requests.RequestException as error:
            raise _TryAgain(f"the connection failed ({type(error).__name__})") from None
        os.fsync(file.fileno())


def _begin(reply: requests.Response, have: int, label: str) -> int:
    """Where in the file the bytes of an answer belong.

    Raises
    ------
    InputError : an answer that will not change
    _TryAgain : one that may
    """
    if reply.status_code in _LASTING:
        raise InputError(f"{label}: {_LASTING[reply.status_code]} (HTTP {reply.status_code})")
    if reply.status_code == 206:
        found = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range", ""))
        if found and int(found[1]) == have:
            return have
        raise FormatError(f"bytes from {have} on were asked for and others came")
    if reply.status_code == 416:
        raise FormatError(f"the file has no more than the {have} bytes that are here")
    if reply.status_code != 200:
        raise _TryAgain(f"the server answered with HTTP {reply.status_code}")
    return 0  # the whole file again


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
