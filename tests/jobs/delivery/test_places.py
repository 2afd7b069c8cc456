"""Places: whole or not at all, once and not twice, never outside, and again when they come back."""

import functools
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_s3 import FakeS3, fake_s3

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.delivery.places import (
    Bucket,
    Entry,
    Folder,
    Place,
    UnreachableError,
    Web,
    file_sha256,
    patiently,
    place,
    scratch,
)

SETTINGS = {"region": "us-east-1", "access_key_id": "id", "secret_access_key": "key"}


@pytest.fixture
def product(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "product.tar"
    path.parent.mkdir()
    path.write_bytes(os.urandom(100_000))
    return path


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3() as server:
        yield server


def bucket_of(server: FakeS3, patience_s: float = 5.0) -> Bucket:
    return Bucket("s3://bucket", {**SETTINGS, "endpoint": server.endpoint}, patience_s)


@pytest.fixture(params=["folder", "memory", "s3"])
def any_place(request, tmp_path) -> Iterator[Place]:
    if request.param == "folder":
        yield Folder(tmp_path / "products")
    elif request.param == "memory":
        yield Bucket("memory:///")
    else:
        with fake_s3() as server:
            yield bucket_of(server)


def test_every_place_keeps_the_protocol(any_place, product, tmp_path):
    digest = file_sha256(product)
    assert digest == hashlib.sha256(product.read_bytes()).hexdigest()
    assert any_place.files("1110103576") == []
    assert any_place.stat("1110103576/a.tar") is None
    sent = any_place.deliver(product, "1110103576/a.tar", digest)
    assert sent == Entry("1110103576/a.tar", 100_000, digest)
    assert any_place.deliver(product, "1110103576/a.tar", digest) == sent
    assert any_place.files("1110103576") == [Entry("1110103576/a.tar", 100_000)]
    found = any_place.stat("1110103576/a.tar")
    assert found is not None
    assert found.n_bytes == 100_000
    any_place.fetch("1110103576/a.tar", tmp_path / "back")
    assert file_sha256(tmp_path / "back") == digest
    assert any_place.remove("1110103576/a.tar")
    assert not any_place.remove("1110103576/a.tar")
    assert any_place.files("") == []
    with pytest.raises((InputError, ResourceError), match=r"1110103576/a\.tar"):
        any_place.fetch("1110103576/a.tar", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "", "a\0", "a\\b"])
def test_hostile_names(any_place, product, name, tmp_path):
    for action in (
        lambda: any_place.deliver(product, name),
        lambda: any_place.fetch(name, tmp_path / "x"),
        lambda: any_place.remove(name),
        lambda: any_place.stat(name),
        lambda: any_place.location(name),
    ):
        with pytest.raises(InputError, match="name"):
            action()


def test_a_large_object_goes_in_parts(s3, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(20 << 20))
    bucket = bucket_of(s3)
    bucket.deliver(path, "large", file_sha256(path))
    assert s3.objects["large"][0] == path.read_bytes()
    assert s3.uploads == {}
    before = len(s3.requests)
    bucket.deliver(path, "large", file_sha256(path))
    assert s3.requests[before:] == ["HEAD large"]  # not sent again


def test_a_product_that_changed_is_sent_again(any_place, product, tmp_path):
    any_place.deliver(product, "a", file_sha256(product))
    product.unlink()
    product.write_bytes(bytes(100_000))
    any_place.deliver(product, "a", file_sha256(product))
    any_place.fetch("a", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == bytes(100_000)


def test_a_bucket_that_comes_back(s3, product):
    s3.down = True
    threading.Timer(1.0, lambda: setattr(s3, "down", False)).start()
    started = time.monotonic()
    bucket_of(s3, patience_s=30).deliver(product, "a", file_sha256(product))
    assert time.monotonic() - started > 0.9
    assert s3.objects["a"][0] == product.read_bytes()


def test_a_bucket_that_stays_away(s3, product):
    s3.down = True
    with pytest.raises(UnreachableError, match="does not answer"):
        bucket_of(s3, patience_s=0.1).deliver(product, "a")


def test_only_passing_faults_are_tried_again():
    tries = []

    def refuse() -> None:
        tries.append(1)
        raise ResourceError("no permission")

    with pytest.raises(ResourceError, match="no permission"):
        patiently(refuse, 10)
    assert len(tries) == 1


def test_a_bucket_with_a_prefix(s3, product):
    settings = {**SETTINGS, "endpoint": s3.endpoint}
    bucket = Bucket("s3://bucket/some/where", settings, 5)
    bucket.deliver(product, "a/b.tar")
    assert list(s3.objects) == ["some/where/a/b.tar"]
    assert bucket.files("a") == bucket.files("") == [Entry("a/b.tar", 100_000)]
    assert bucket.location("a/b.tar") == "s3://bucket/some/where/a/b.tar"
    assert bucket.link("a/b.tar", 60).startswith(f"{s3.endpoint}/bucket/some/where/a/b.tar?")
    assert bucket.remove("a/b.tar")
    assert s3.objects == {}


def test_links_of_a_bucket_end(s3):
    link = bucket_of(s3).link("a/b.tar", 3600)
    assert link.startswith(f"{s3.endpoint}/bucket/a/b.tar?")
    assert "X-Amz-Expires=3600" in link
    assert "secret" not in link


# ---------------------------------------------------------------------------------------------- folders


def test_links_do_not_lead_out_of_a_folder(tmp_path, product):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    folder = Folder(tmp_path / "root")
    for action in (lambda: folder.deliver(product, "link/a"), lambda: folder.files("link")):
        with pytest.raises(InputError, match="outside"):
            action()
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_package_is_linked_into_its_place_and_raw_data_are_copied(tmp_path, product):
    folder = Folder(tmp_path / "products")
    folder.deliver(product, "package")
    assert (tmp_path / "products" / "package").stat().st_ino == product.stat().st_ino
    folder.deliver(product, "again")  # it has another name by now
    assert (tmp_path / "products" / "again").stat().st_nlink == 1
    assert file_sha256(tmp_path / "products" / "again") == file_sha256(product)


def test_raw_data_are_linked_not_copied(tmp_path, product):
    Folder(product.parent).fetch(product.name, tmp_path / "linked")
    assert (tmp_path / "linked").stat().st_ino == product.stat().st_ino


def test_raw_data_of_another_disk_are_copied(small_disk, product):
    Folder(product.parent).fetch(product.name, small_disk / "copy")
    assert (small_disk / "copy").read_bytes() == product.read_bytes()


def test_a_full_disk_leaves_nothing(small_disk, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(30 << 20))
    with pytest.raises(ResourceError, match="No space left"):
        Folder(small_disk / "products").deliver(path, "large")
    assert list((small_disk / "products").iterdir()) == []


@pytest.mark.parametrize("where", ["link_or_copy", "sync", "sync again"])
def test_a_killed_delivery_is_done_again(tmp_path, product, where):
    """Killed before anything is written, before the rename, and after it."""
    script = (
        "import os, signal, sys; from pathlib import Path; from mwaconvert.jobs.delivery import places\n"
        "name, _, again = sys.argv[3].partition(' ')\n"
        "real, calls = getattr(places, name), []\n"
        "def kill(*a):\n"
        "    calls.append(a)\n"
        "    real(*a) if again and len(calls) == 1 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(places, name, kill)\n"
        "places.Folder(Path(sys.argv[1])).deliver(Path(sys.argv[2]), 'a.tar')"
    )
    root = tmp_path / "products"
    done = subprocess.run([sys.executable, "-c", script, root, product, where], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    folder, digest = Folder(root), file_sha256(product)
    for entry in folder.files(""):  # whole, if it has its name
        assert (entry.name, file_sha256(root / entry.name)) == ("a.tar", digest)
    folder.deliver(product, "a.tar", digest)
    assert folder.files("") == [Entry("a.tar", 100_000)]
    left = [path for path in root.iterdir() if path.name != "a.tar"]
    assert len(left) == (where == "sync")
    assert folder.sweep() == 0  # may still be written
    for path in left:
        os.utime(path, (0, 0))
    assert folder.sweep() == len(left)
    assert [path.name for path in root.iterdir()] == ["a.tar"]


def test_two_deliveries_at_once_make_one_product(tmp_path, product):
    folder, digest = Folder(tmp_path / "products"), file_sha256(product)
    threads = [threading.Thread(target=folder.deliver, args=(product, "a", digest)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in (tmp_path / "products").iterdir()] == ["a"]
    assert file_sha256(tmp_path / "products" / "a") == digest


def test_a_folder_is_delivered_as_one(tmp_path):
    work = tmp_path / "work"
    (work / "a.ms").mkdir(parents=True)
    (work / "a.ms" / "table.dat").write_bytes(b"data")
    (work / "a.metafits").write_bytes(b"meta")
    place = scratch(tmp_path, "mwasci")
    files = place.deliver_tree(work, "77")
    assert files == (Entry("77/a.metafits", 4), Entry("77/a.ms/table.dat", 4))
    top = tmp_path / "mwasci" / "asvo" / "77"
    inode = top.stat().st_ino
    assert place.deliver_tree(work, "77") == files
    assert top.stat().st_ino == inode  # the same product: not touched
    (top / "a.ms" / "table.dat").write_bytes(b"lost")  # into the same file
    assert (work / "a.ms" / "table.dat").read_bytes() == b"data"
    place.deliver_tree(work, "77")
    assert (top / "a.ms" / "table.dat").read_bytes() == b"data"
    assert [path.name for path in top.parent.iterdir()] == ["77"]
    (work / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="link"):
        place.deliver_tree(work, "77")


def test_groups_are_names(tmp_path):
    for group in ["..", "a/b", "/etc"]:
        with pytest.raises(InputError):
            scratch(tmp_path, group)


# ---------------------------------------------------------------------------------------------- the web


@pytest.fixture
def web(tmp_path) -> Iterator[tuple[str, Path]]:
    root = tmp_path / "web" / "raw data"
    root.mkdir(parents=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root.parent)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/raw%20data", root
    server.shutdown()
    server.server_close()


def test_a_web_server_with_listings(web, tmp_path):
    url, root = web
    (root / "1110103576" / "below").mkdir(parents=True)
    (root / "1110103576" / "a.fits").write_bytes(b"raw")
    (root / "1110103576" / "below" / "b #1.fits").write_bytes(b"more")
    source = Web(url, patience_s=1)
    names = ["1110103576/a.fits", "1110103576/below/b #1.fits"]
    assert [entry.name for entry in source.files("1110103576")] == names
    source.fetch(names[1], tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"more"
    assert source.stat(names[0]) == Entry(names[0], 3)
    assert source.files("1110103577") == []
    with pytest.raises(InputError, match="no such file"):
        source.fetch("1110103576/c.fits", tmp_path / "c")


def test_an_index_in_place_of_listings_and_links_that_lead_elsewhere(web):
    url, root = web
    (root / "1110103576").mkdir()
    (root / "1110103576" / "index.txt").write_text(
        "a.fits\nb.fits\n../../secret\nhttp://elsewhere/x\n/etc/passwd\n"
    )
    assert [e.name for e in Web(url, 1).files("1110103576")] == ["1110103576/a.fits", "1110103576/b.fits"]


def test_addresses(tmp_path):
    assert repr(place(str(tmp_path))) == f"Folder('{tmp_path}')"
    assert isinstance(place("https://127.0.0.1:1/x"), Web)
    assert isinstance(place("s3://bucket/prefix", SETTINGS), Bucket)
    with pytest.raises(InputError, match="expected a path"):
        place("ftp://host/x")


def test_a_setting_that_no_bucket_has():
    with pytest.raises(
        InputError, match="s3://b: a bucket has no setting 'acess_key_id', but access_key_id, "
    ):
        Bucket("s3://b", {"acess_key_id": "x"})
