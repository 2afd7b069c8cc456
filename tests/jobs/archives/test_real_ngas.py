"""A real NGAS server as a store, with every trap that the stand-in has; see `real_ngas` for what it needs."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from real_ngas import DISKS, RealNgas, real_ngas

from mwaconvert.errors import FormatError, ResourceError
from mwaconvert.jobs.workflows.archives.stores.ngas import Ngas
from mwaconvert.jobs.workflows.archives.stores.store import Kept, fetch, keep

pytestmark = pytest.mark.services

NAME = "member.uid___A001_X1284_X266.session_1.caltables.tgz"
DATA = b"calibration " * 1000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealNgas]:
    with real_ngas(tmp_path / "ngas") as started:
        yield started


@pytest.fixture
def store(server: RealNgas) -> Ngas:
    return Ngas(server.address, patience_s=5)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(DATA)
    return path


def test_what_is_put_comes_back(server: RealNgas, store: Ngas, source: Path, tmp_path: Path) -> None:
    assert store.find(NAME) == ()
    kept = keep(store, source, NAME, SHA)
    assert kept == Kept(NAME, 1, len(DATA))
    assert keep(store, source, NAME, SHA) == kept
    assert [copy.disk for copy in store.find(NAME)] == list(DISKS)
    assert list(server.copies(NAME)) == [(disk, 1) for disk in DISKS]
    assert store.find(NAME.replace("_", "-")) == ()
    other = b"other " * 2000
    source.write_bytes(other)
    digest = hashlib.sha256(other).hexdigest()
    second = keep(store, source, NAME, digest)
    assert second.version == 2
    assert store.check(kept, SHA) == store.check(second, digest) == ()
    for wanted, data in ((SHA, DATA), (digest, other)):
        assert fetch([store], NAME, tmp_path / wanted, wanted) == wanted
        assert (tmp_path / wanted).read_bytes() == data


def test_a_damaged_copy_is_served_with_status_200_and_told_by_its_message(
    server: RealNgas, store: Ngas, source: Path, tmp_path: Path
) -> None:
    kept = keep(store, source, NAME, SHA)
    server.corrupt(NAME, DISKS[0])
    store.read(Kept(NAME, 1, disk=DISKS[0]), tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes().startswith(b"rotten")
    wanted = {"file_id": NAME, "file_version": 1, "disk_id": DISKS[0]}
    reply = httpx.get(f"{server.http}/CHECKFILE", params=wanted, trust_env=False)
    assert reply.status_code == 200
    assert 'Status="SUCCESS"' in reply.text
    (problem,) = store.check(kept, SHA)
    assert f"on disk {DISKS[0]}: NGAMS_ER_FILE_NOK" in problem
    assert "secret" not in problem
    assert fetch([store], NAME, tmp_path / "back", SHA) == SHA
    server.corrupt(NAME, DISKS[1])
    assert len(store.check(kept, SHA)) == 2
    with pytest.raises(FormatError, match="its bytes are not those that the archive was given"):
        fetch([store], NAME, tmp_path / "again", SHA)
    assert keep(store, source, NAME, SHA).version == 2


def test_damage_that_its_own_checksum_does_not_tell(server: RealNgas, store: Ngas, source: Path) -> None:
    kept = keep(store, source, NAME, SHA)
    server.corrupt(NAME, DISKS[1])
    damaged = server.copies(NAME)[DISKS[1], 1].read_bytes()
    server.change("checksum", str(zlib.crc32(damaged)), NAME, DISKS[1])
    (problem,) = store.check(kept, SHA)
    assert f"on disk {DISKS[1]}: its bytes are not those that were put in" in problem
    # a copy that the server itself takes no more is none
    server.change("file_ignore", 1, NAME, DISKS[1])
    assert [copy.disk for copy in store.find(NAME)] == [DISKS[0]]
    assert store.check(kept, SHA) == ()


def test_a_file_that_is_gone_from_a_disk(server: RealNgas, store: Ngas, source: Path, tmp_path: Path) -> None:
    kept = keep(store, source, NAME, SHA)
    server.copies(NAME)[DISKS[0], 1].unlink()
    (problem,) = store.check(kept, SHA)
    assert f"on disk {DISKS[0]}: NGAMS_ER_" in problem
    assert fetch([store], NAME, tmp_path / "back", SHA) == SHA
    server.copies(NAME)[DISKS[1], 1].unlink()
    with pytest.raises(ResourceError, match="the connection broke off"):
        fetch([store], NAME, tmp_path / "again", SHA)
    assert keep(store, source, NAME, SHA).version == 2


def test_who_may_not_ask(server: RealNgas) -> None:
    stranger = server.address.replace("secret", "other")
    with pytest.raises(ResourceError, match="QUERY was refused: wrong password") as refused:
        Ngas(stranger, patience_s=0).find(NAME)
    assert "ann:" not in str(refused.value)
