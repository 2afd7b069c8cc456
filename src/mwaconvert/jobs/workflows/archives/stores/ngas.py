"""NGAS over HTTP, and its traps.

The same name again is a new version; any copy may be served, and none is verified first; the overall status of a check
says SUCCESS of a damaged file; its checksums are not cryptographic hashes; a file that is gone from a disk drops the
connection, and its check is refused; ``_`` in a query stands for any character, and uids are full of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mwaconvert.archive.identifiers import safe_name
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.extras import need
from mwaconvert.jobs.delivery.places import UnreachableError, patiently
from mwaconvert.jobs.workflows.archives.stores.store import Kept

#: identifiers that every database of NGAS keeps whole
_LONGEST_ID = 64
_PIECE = 8 << 20
_NOT_OK = "NGAMS_ER_FILE_NOK"
#: between two pieces of an answer
_TIMEOUT_S = 600.0


def _parameters(copy: Kept) -> dict[str, Any]:
    facts = {"file_id": copy.file_id, "file_version": copy.version or 1, "disk_id": copy.disk}
    return {key: value for key, value in facts.items() if value is not None}


class Ngas:
    """An NGAS server.

    Parameters
    ----------
    address : ngas://host:port, or ngas+https://host:port; with a user and password as ngas://user:password@host:port,
        which are never shown
    patience_s : how long to try again while it does not answer

    Examples
    --------
    >>> Ngas("ngas://archive.example.org:7777")
    Ngas('http://archive.example.org:7777')
    """

    def __init__(self, address: str, patience_s: float = 60.0) -> None:
        parts = urlsplit(address)
        if not parts.hostname or parts.path not in ("", "/"):
            raise InputError(
                f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}: expected ngas://host:port"
            )
        secure = parts.scheme == "ngas+https"
        user, _, host = parts.netloc.rpartition("@")
        self._url = f"{'https' if secure else 'http'}://{host}"
        self._patience_s = patience_s
        self._http: Any = need("httpx", "archive", f"the archive {self._url}")
        # a server that does not have a file itself names the one that does
        self._client = self._http.Client(
            timeout=_TIMEOUT_S,
            trust_env=False,
            follow_redirects=True,
            auth=(unquote(parts.username or ""), unquote(parts.password or "")) if user else None,
        )

    def __repr__(self) -> str:
        return f"Ngas({self._url!r})"

    # -- Store

    def find(self, name: str, sha256: str | None = None) -> tuple[Kept, ...]:  # noqa: ARG002  (all are hashed alike)
        reply = self._get("QUERY", {"query": "files_like", "like": name, "format": "json"})
        try:
            copies = [
                Kept(name, int(row["file_version"]), int(row["file_size"]), str(row["disk_id"]))
                for row in reply.json()
                if row["file_id"] == name and 1 not in (row.get("file_ignore"), row.get("ignore"))
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{self._url}: QUERY answered what cannot be read: {error}") from None
        return tuple(sorted(copies, key=lambda copy: (-(copy.version or 0), copy.disk or "")))

    def read(self, kept: Kept, target: Path) -> None:
        with target.open("wb", buffering=0) as file:
            for piece in self._pieces(kept):
                file.write(piece)

    def put(self, source: Path, name: str, sha256: str) -> Kept:
        if len(safe_name(name)) > _LONGEST_ID:
            raise InputError(f"{name}: NGAS keeps names of at most {_LONGEST_ID} characters")
        size = source.stat().st_size
        for copy in self.find(name):
            # a version with a damaged copy is put once more: NGAS repairs nothing by itself
            kept = replace(copy, disk=None)
            if copy.n_bytes == size and self._sha256(copy) == sha256 and not self.check(kept, sha256):
                return kept
        return self._archive(source, name)

    def check(self, kept: Kept, sha256: str) -> tuple[str, ...]:
        copies = [copy for copy in self.find(kept.file_id) if copy.version == kept.version]
        if not copies:
            return (f"{self._url}: version {kept.version} of {kept.file_id} is not there",)
        problems = []
        for copy in copies:
            where = f"{self._url}: version {copy.version} of {kept.file_id} on disk {copy.disk}"
            # the overall status of the answer does not tell; of a file that is gone the request is refused
            reply = self._ask("CHECKFILE", _parameters(copy))
            message = self._status(reply.content).get("Message", str(reply.status_code))
            if reply.status_code != 200 or _NOT_OK in message:
                problems.append(f"{where}: {message.strip()}")
            elif self._sha256(copy) != sha256:
                problems.append(f"{where}: its bytes are not those that were put in")
        return tuple(problems)

    # -- commands of the server

    def _sha256(self, copy: Kept) -> str:
        """The SHA-256 of a copy as it is served; empty if it is not."""
        digest = hashlib.sha256()
        try:
            for piece in self._pieces(copy):
                digest.update(piece)
        except ResourceError:
            return ""
        return digest.hexdigest()

    def _pieces(self, copy: Kept) -> Iterator[bytes]:
        where = f"{self._url}: {copy.file_id}"
        wanted = _parameters(copy)
        try:
            with self._client.stream("GET", f"{self._url}/RETRIEVE", params=wanted) as reply:
                if reply.status_code != 200:
                    raise ResourceError(f"{where}: {self._status(reply.read()).get('Message', 'refused')}")
                yield from reply.iter_raw(_PIECE)
        except self._http.TransportError as error:
            raise UnreachableError(
                f"{where}: the connection broke off: {error or type(error).__name__}"
            ) from error

    def _archive(self, source: Path, name: str) -> Kept:
        parameters = {"filename": name, "file_id": name, "mime_type": "application/octet-stream"}
        size = source.stat().st_size

        def send() -> Any:
            with source.open("rb") as file:
                return self._client.post(
                    f"{self._url}/ARCHIVE",
                    params=parameters,
                    content=iter(lambda: file.read(_PIECE), b""),
                    headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
                )

        reply = self._reached(send)
        facts = self._status(reply.content)
        if reply.status_code != 200 or facts.get("Status") != "SUCCESS":
            raise ResourceError(
                f"{self._url}: {name} was not taken: {facts.get('Message', reply.status_code)}"
            )
        if facts.get("FileId") != name or not facts.get("FileVersion", "").isdigit():
            raise FormatError(f"{self._url}: ARCHIVE of {name} does not tell its version")
        return Kept(name, int(facts["FileVersion"]), size)

    def _ask(self, command: str, parameters: dict[str, Any]) -> Any:
        def ask() -> Any:
            return self._client.get(f"{self._url}/{command}", params=parameters)

        return patiently(lambda: self._reached(ask), self._patience_s)

    def _get(self, command: str, parameters: dict[str, Any]) -> Any:
        reply = self._ask(command, parameters)
        if reply.status_code != 200:
            words = self._status(reply.content).get("Message", reply.status_code)
            raise ResourceError(f"{self._url}: {command} was refused: {words}")
        return reply

    def _reached(self, ask: Any) -> Any:
        try:
            return ask()
        except self._http.TransportError as error:
            raise UnreachableError(
                f"{self._url}: does not answer: {error or type(error).__name__}"
            ) from error

    def _status(self, data: bytes) -> dict[str, str]:
        """Attributes of a status document, those of the file among them; its DOCTYPE is not followed."""
        etree: Any = need("lxml.etree", "archive", f"the archive {self._url}")
        parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
        try:
            top = etree.fromstring(data, parser)
        except etree.XMLSyntaxError:
            return {}
        found: dict[str, str] = {}
        for element in top.iter("Status", "FileStatus"):
            for key in ("Status", "Message", "FileId", "FileVersion"):
                if element.get(key):
                    found.setdefault(key, element.get(key))
        return found
