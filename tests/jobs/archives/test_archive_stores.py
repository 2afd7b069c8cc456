"""Stores of an archive: what is put is what comes back, or it is told."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_ngas import FakeNgas, fake_ngas
from fake_s3 import FakeS3, fake_s3

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.jobs.delivery.places import Bucket, Folder
from mwaconvert.jobs.workflows.archives.site import open_store
from mwaconvert.jobs.workflows.archives.stores.ngas import Ngas
from mwaconvert.jobs.workflows.archives.stores.store import Kept, PlaceStore, Store, fetch, keep

NAME = "member.uid___A001_X1284_X266.session_1.caltables.tgz"
DATA = b"calibration " * 1000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def ngas() -> Iterator[FakeNgas]:
    with fake_ngas() as server:
        yield server


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3() as server:
        yield server


@pytest.fixture(params=["folder", "bucket", "ngas"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "archive"))
    if request.param == "ngas":
        return Ngas(request.getfixturevalue("ngas").address, patience_s=0.2)
    keys = {"access_key_id": "a", "secret_access_key": "b", "region": "x"}
    endpoint = request.getfixturevalue("s3").endpoint
    return PlaceStore(Bucket("s3://bucket", {"endpoint": endpoint, **keys}, patience_s=0.2))


def written(folder: Path, data: bytes = DATA, name: str = NAME) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_what_is_put_comes_back(store: Store, tmp_path: Path) -> None:
    source = written(tmp_path)
    assert store.find(NAME) == ()
    kept = keep(store, source, NAME, SHA)
    assert keep(store, source, NAME, SHA) == kept
    assert store.find(NAME, SHA)[0].file_id == kept.file_id
    assert store.check(kept, SHA) == ()
    source.write_bytes(b"an analyst goes on to write")
    assert fetch([store], NAME, tmp_path / "back", SHA) == SHA
    assert (tmp_path / "back").read_bytes() == DATA


def test_other_bytes_of_the_same_name_replace_nothing(store: Store, tmp_path: Path) -> None:
    first = keep(store, written(tmp_path), NAME, SHA)
    other = b"other " * 2000
    digest = hashlib.sha256(other).hexdigest()
    second = keep(store, written(tmp_path, other), NAME, digest)
    assert first != second
    assert store.check(first, SHA) == store.check(second, digest) == ()
    assert fetch([store], NAME, tmp_path / "one", SHA) == SHA
    assert fetch([store], NAME, tmp_path / "two", digest) == digest
    assert len(store.check(first, digest)) >= 1


def test_a_source_that_changed_is_not_put(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was changed since it was described"):
        keep(store, written(tmp_path, b"x"), NAME, SHA)
    assert store.find(NAME) == ()


def test_ngas_gets_no_second_version_of_the_same_bytes(ngas: FakeNgas, tmp_path: Path) -> None:
    store = Ngas(ngas.address)
    for _ in range(3):
        keep(store, written(tmp_path), NAME, SHA)
    assert ngas.puts == 1


def test_ngas_each_copy_is_looked_at(ngas: FakeNgas, tmp_path: Path) -> None:
    store = Ngas(ngas.address, patience_s=0.2)
    kept = keep(store, written(tmp_path), NAME, SHA)
    ngas.corrupt(NAME, "disk2")
    (problem,) = store.check(kept, SHA)
    assert "disk disk2: NGAMS_ER_FILE_NOK" in problem
    # a checksum of its own that the damage does not break is not believed
    for copy in ngas.files[NAME]:
        copy.crc = zlib.crc32(copy.data)
    (problem,) = store.check(kept, SHA)
    assert "disk disk2: its bytes are not those that were put in" in problem
    ngas.files[NAME][1].data = None
    (problem,) = store.check(kept, SHA)
    assert "disk disk2: NGAMS_ER_UNAVAIL_FILE" in problem
    assert keep(store, written(tmp_path), NAME, SHA).version == 2


def test_ngas_serves_a_damaged_copy_and_the_good_one_is_fetched(ngas: FakeNgas, tmp_path: Path) -> None:
    store = Ngas(ngas.address, patience_s=0.2)
    keep(store, written(tmp_path), NAME, SHA)
    ngas.corrupt(NAME, "disk1")
    store.read(Kept(NAME, 1), tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() != DATA  # with status 200
    assert fetch([store], NAME, tmp_path / "back", SHA) == SHA
    ngas.corrupt(NAME, "disk2")
    with pytest.raises(FormatError, match="its bytes are not those that the archive was given"):
        fetch([store], NAME, tmp_path / "again", SHA)
    assert not (tmp_path / "again").exists()


def test_ngas_a_copy_that_is_gone_and_the_other_is_fetched(ngas: FakeNgas, tmp_path: Path) -> None:
    store = Ngas(ngas.address, patience_s=0.2)
    keep(store, written(tmp_path), NAME, SHA)
    ngas.keep(NAME, b"older and other")  # version 2
    ngas.files[NAME][0].data = None
    assert fetch([store], NAME, tmp_path / "back", SHA) == SHA
    ngas.files[NAME][1].data = None
    with pytest.raises(ResourceError, match="the connection broke off"):
        fetch([store], NAME, tmp_path / "again", SHA)
    # what version is meant is not known without a hash: the newest, and no other
    for copy in ngas.files[NAME][2:]:
        copy.data = None
    ngas.files[NAME][0].data = DATA
    with pytest.raises(ResourceError, match="the connection broke off"):
        fetch([store, PlaceStore(Folder(tmp_path))], NAME, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_a_store_that_is_away_keeps_no_other_from_giving(ngas: FakeNgas, tmp_path: Path) -> None:
    stores = [Ngas(ngas.address, patience_s=0.1), PlaceStore(Folder(tmp_path))]
    written(tmp_path)
    ngas.down = True
    assert fetch(stores, NAME, tmp_path / "back", SHA) == SHA
    with pytest.raises(ResourceError, match="does not answer"):
        fetch(stores, NAME, tmp_path / "again")
    with pytest.raises(ResourceError, match="does not answer"):
        fetch(stores, "other.tgz", tmp_path / "other", SHA)


def test_ngas_asks_who_it_is_and_nobody_else_hears(ngas: FakeNgas, tmp_path: Path) -> None:
    ngas.asks_who = True
    with pytest.raises(ResourceError, match="QUERY was refused: Unauthorized request received"):
        Ngas(ngas.address).find(NAME)
    address = ngas.address.replace("//", "//ann:s%2Fcret@")
    store = Ngas(address, patience_s=0.1)
    assert repr(store) == repr(Ngas(ngas.address))
    assert store.find(NAME) == ()
    ngas.down = True
    with pytest.raises(ResourceError) as refused:
        store.find(NAME)
    with pytest.raises(InputError) as misspelt:
        open_store(f"{address}/path")
    assert "cret" not in f"{refused.value} {misspelt.value}"


def test_ngas_a_server_that_names_another_for_a_file(ngas: FakeNgas, tmp_path: Path) -> None:
    with fake_ngas() as other:
        kept = keep(Ngas(other.address), written(tmp_path), NAME, SHA)
        ngas.files, ngas.elsewhere = other.files, other
        store = Ngas(ngas.address)
        assert store.check(kept, SHA) == ()
        assert fetch([store], NAME, tmp_path / "back", SHA) == SHA


def test_ngas_names(ngas: FakeNgas, tmp_path: Path) -> None:
    store = Ngas(ngas.address)
    near = NAME.replace("_", "-")
    keep(store, written(tmp_path, name=near), near, SHA)
    assert store.find(NAME) == ()
    with pytest.raises(InputError, match="at most 64 characters"):
        store.put(written(tmp_path), "x" * 65, SHA)
    with pytest.raises(InputError, match="expected ngas://host:port"):
        open_store("ngas://host/path")


def test_ngas_away(ngas: FakeNgas, tmp_path: Path) -> None:
    store = Ngas(ngas.address, patience_s=0.1)
    keep(store, written(tmp_path), NAME, SHA)
    ngas.down = True
    with pytest.raises(ResourceError, match="does not answer"):
        fetch([store], NAME, tmp_path / "back", SHA)
    assert not (tmp_path / "back").exists()


def test_a_damaged_file_of_a_folder_is_told_and_put_again(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "archive"))
    kept = keep(store, written(tmp_path), NAME, SHA)
    (tmp_path / "archive" / kept.file_id).write_bytes(b"rotten")
    with pytest.raises(FormatError, match=r"its bytes are not|bytes came of"):
        fetch([store], NAME, tmp_path / "back", SHA)
    assert store.check(kept, SHA)
    assert keep(store, written(tmp_path), NAME, SHA) == kept
    assert fetch([store], NAME, tmp_path / "back", SHA) == SHA


def test_the_first_store_that_has_good_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    written(tmp_path / "a", b"rotten")
    written(tmp_path / "b")
    stores = [open_store(str(tmp_path / name)) for name in ("none", "a", "b")]
    assert fetch(stores, NAME, tmp_path / "back", SHA) == SHA
    with pytest.raises(InputError, match="no store of the archive has it"):
        fetch(stores, "other.tgz", tmp_path / "other")
    with pytest.raises(FormatError, match="its bytes are not those that the archive was given"):
        fetch(stores[:2], NAME, tmp_path / "third", SHA)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "back"]


def test_a_web_server_gives_and_does_not_take(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    written(tmp_path)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.func.log_message = lambda *_: None  # type: ignore[method-assign]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        store = open_store(f"http://127.0.0.1:{server.server_port}")
        assert fetch([store], NAME, tmp_path / "back", SHA) == SHA
        with pytest.raises(InputError, match="take no files"):
            keep(store, tmp_path / NAME, NAME, SHA)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_files_that_were_there_before_are_found_by_name(tmp_path: Path) -> None:
    written(tmp_path)
    (found,) = PlaceStore(Folder(tmp_path)).find(NAME, SHA)
    assert (found.file_id, found.n_bytes) == (NAME, len(DATA))
