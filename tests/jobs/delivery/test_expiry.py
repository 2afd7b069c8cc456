"""The end of products: theirs and nobody else's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.delivery.expiry import Delivered, Fate, expired, remove_product
from mwaconvert.jobs.delivery.places import Bucket, Entry, Folder

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def product(tmp_path: Path) -> Path:
    path = tmp_path / "product"
    path.write_bytes(b"product")
    return path


def test_what_has_expired():
    old = Delivered(1, "p", (), NOW - timedelta(days=8))
    older = Delivered(2, "p", (), NOW - timedelta(days=9))
    on_time = Delivered(3, "p", (), NOW - timedelta(days=7))
    young = Delivered(4, "p", (), NOW - timedelta(days=7) + timedelta(seconds=1))
    long = Delivered(5, "p", (), NOW - timedelta(days=8), life_days=30)
    kept = Delivered(6, "p", (), NOW - timedelta(days=999), life_days=None)
    from_the_future = Delivered(7, "p", (), NOW + timedelta(days=1))  # a clock that jumped
    assert expired([old, young, kept, older, long, on_time, from_the_future], NOW) == (older, old, on_time)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_removal(tmp_path, product, kind):
    place = Folder(tmp_path / "products") if kind == "folder" else Bucket("memory:///")
    entry = place.deliver(product, "77/a.tar", "a" * 64)
    place.deliver(product, "77/users-own.txt")
    delivered = Delivered(77, "p", (entry,), NOW)
    assert [r.fate for r in remove_product(delivered, {"p": place})] == [Fate.REMOVED]
    assert [e.name for e in place.files("")] == ["77/users-own.txt"]
    assert [r.fate for r in remove_product(delivered, {"p": place})] == [Fate.GONE]


def test_what_is_not_ours_any_more_stays(tmp_path, product):
    place = Folder(tmp_path / "products")
    entry = place.deliver(product, "a.tar")
    (tmp_path / "products" / "a.tar").write_bytes(b"somebody's own work")
    removals = remove_product(Delivered(77, "p", (entry,), NOW), {"p": place})
    assert [(r.fate, r.is_done) for r in removals] == [(Fate.CHANGED, True)]
    assert (tmp_path / "products" / "a.tar").exists()


def test_names_that_lead_outside_are_not_followed(tmp_path, product):
    place = Folder(tmp_path / "products")
    files = (Entry("../product", 7), Entry("/etc/hostname", 5))
    removals = remove_product(Delivered(77, "p", files, NOW), {"p": place})
    assert [r.fate for r in removals] == [Fate.FAILED] * 2
    assert product.exists()


def test_a_link_in_the_place_of_a_product(tmp_path, product):
    place = Folder(tmp_path / "products")
    entry = place.deliver(product, "a.tar")
    (tmp_path / "products" / "a.tar").unlink()
    (tmp_path / "products" / "a.tar").symlink_to(product)
    removals = remove_product(Delivered(77, "p", (entry,), NOW), {"p": place})
    assert [r.fate for r in removals] == [Fate.FAILED]
    assert product.exists()


def test_a_place_that_does_not_answer_is_tried_again_later(tmp_path, product, monkeypatch):
    place = Folder(tmp_path / "products")
    entry = place.deliver(product, "a.tar")

    def refuse(name: str) -> bool:
        raise ResourceError("no permission")

    monkeypatch.setattr(place, "remove", refuse)
    removal = remove_product(Delivered(77, "p", (entry,), NOW), {"p": place})[0]
    assert (removal.fate, removal.is_done, removal.reason) == (Fate.FAILED, False, "no permission")
    assert remove_product(Delivered(77, "gone", (entry,), NOW), {"p": place})[0].fate is Fate.FAILED
