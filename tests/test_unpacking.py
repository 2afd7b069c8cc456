"""Archives written by an enemy: refused with a sentence, and nothing is left."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert.errors import Error, FormatError, InputError, ResourceError
from mwaconvert.unpacking import Limits, list_members, safe_name, unpack


def tar_of(path: Path, *members: tuple[str, bytes | None] | tarfile.TarInfo) -> Path:
    """A tar with files (None: folders) or members as they are."""
    with tarfile.open(path, "w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(bytes(member.size)))
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in" / "here"
    made.mkdir(parents=True)
    return made


def test_a_package_is_unpacked(tmp_path, folder):
    archive = tar_of(tmp_path / "a.tar", ("a.ms/", None), ("a.ms/table.dat", b"data"), ("a.metafits", b"m"))
    assert unpack(archive, folder) == (folder / "a.metafits", folder / "a.ms")
    assert (folder / "a.ms" / "table.dat").read_bytes() == b"data"
    assert sorted(p.name for p in folder.iterdir()) == ["a.metafits", "a.ms"]
    with pytest.raises(InputError, match="exists already"):
        unpack(archive, folder)
    (folder / "a.ms" / "old").touch()
    unpack(archive, folder, overwrite=True)
    assert not (folder / "a.ms" / "old").exists()


def test_a_zip_is_unpacked(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.ms/", b"")
        archive.writestr("a.ms/table.dat", b"data" * 1000, zipfile.ZIP_DEFLATED)
    unpack(tmp_path / "a.zip", folder)
    assert (folder / "a.ms" / "table.dat").read_bytes() == b"data" * 1000


@pytest.mark.parametrize(
    "member",
    [
        ("../out", b"x"),
        ("/tmp/out", b"x"),
        ("a/../../out", b"x"),
        ("a//b", b"x"),
        ("a\\..\\b", b"x"),
        ("a\nb", b"x"),
        ("./a", b"x"),
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "../out"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
        special(".", tarfile.DIRTYPE),
    ],
    ids=lambda m: repr(m[0]) if isinstance(m, tuple) else f"{m.name}{m.type!r}",
)
def test_hostile_members_of_a_tar(tmp_path, folder, member):
    archive = tar_of(tmp_path / "a.tar", ("good", b"good"), member)
    with pytest.raises(FormatError, match=r"nothing was|not unpacked"):
        unpack(archive, folder)
    assert list(folder.iterdir()) == []
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar", "here", "in"]


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../b", "a\\b"])
def test_hostile_names_in_a_zip(tmp_path, folder, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = name
        archive.writestr(info, b"x")
    with pytest.raises(FormatError, match="not unpacked"):
        unpack(tmp_path / "a.zip", folder)
    assert list(folder.iterdir()) == []


def test_a_link_in_a_zip(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(FormatError, match="never unpacked"):
        unpack(tmp_path / "a.zip", folder)


def test_bombs(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(4):
            archive.writestr(f"{k}", bytes(3_000_000))
    with pytest.raises(FormatError, match="more than 10000000 bytes"):  # over all members, not one alone
        unpack(tmp_path / "bomb.zip", folder, limits=Limits(total_bytes=10_000_000))
    with pytest.raises(FormatError, match="more than 3 members"):
        unpack(tmp_path / "bomb.zip", folder, limits=Limits(members=3))
    assert list(folder.iterdir()) == []


def test_a_zip_that_lies_about_its_size(tmp_path, folder):
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1_000_000))
    data = path.read_bytes()
    path.write_bytes(data.replace((1_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(FormatError, match="damaged"):
        unpack(path, folder, limits=Limits(total_bytes=100_000))
    assert list(folder.iterdir()) == []


def test_doubled_and_nested_members(tmp_path, folder):
    for members in [(("a", b"1"), ("a", b"2")), (("a", b"1"), ("a/b", b"2"))]:
        with pytest.raises(FormatError, match="not unpacked"):
            unpack(tar_of(tmp_path / "a.tar", *members), folder)


def test_links_that_were_there_before_are_not_followed(tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "a.ms").symlink_to(outside)
    archive = tar_of(tmp_path / "a.tar", ("a.ms/", None), ("a.ms/table.dat", b"data"))
    with pytest.raises(InputError, match="exists already"):
        unpack(archive, folder)
    unpack(archive, folder, overwrite=True)
    assert list(outside.iterdir()) == []
    assert not (folder / "a.ms").is_symlink()


def test_a_truncated_archive_leaves_nothing(tmp_path, folder):
    archive = tar_of(tmp_path / "a.tar", ("a", b"1"), ("b", bytes(100_000)))
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(FormatError, match="damaged"):
        unpack(archive, folder)
    assert list(folder.iterdir()) == []


def test_a_compressed_tar_is_refused(tmp_path, folder):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    with pytest.raises(FormatError):
        unpack(tmp_path / "a.tar.gz", folder)


def test_a_full_disk_is_noticed_before_it_is_full(tmp_path, small_disk):
    archive = tar_of(tmp_path / "a.tar", ("a", bytes(30 << 20)))
    with pytest.raises(ResourceError, match="bytes free"):
        unpack(archive, small_disk)
    assert list(small_disk.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(
    is_zip=st.booleans(), places=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12)
)
def test_damaged_archives_end_in_a_sentence(tmp_path_factory, is_zip, places):
    """Any bytes changed: unpacked or refused, nothing outside, nothing left of what was refused."""
    top = tmp_path_factory.mktemp("fuzz")
    path, folder = top / "archive", top / "folder"
    folder.mkdir()
    members = (("a/", None), ("a/b", b"data" * 300), ("c", b"more"))
    if is_zip:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data or b"")
    else:
        tar_of(path, *members)
    changed = bytearray(path.read_bytes())
    for place, byte in places:
        changed[place % len(changed)] = byte
    path.write_bytes(changed)
    try:
        unpack(path, folder, limits=Limits(total_bytes=1 << 20))
    except Error:
        assert list(folder.iterdir()) == []
    assert sorted(p.name for p in top.iterdir()) == ["archive", "folder"]


def test_members_are_listed(tmp_path):
    archive = tar_of(tmp_path / "a.tar", ("a.ms/", None), ("a.ms/table.dat", b"data"))
    assert [(str(m.path), m.n_bytes, m.is_folder) for m in list_members(archive)] == [
        ("a.ms", 0, True),
        ("a.ms/table.dat", 4, False),
    ]


def test_names():
    assert str(safe_name("a/b.fits")) == "a/b.fits"
    for name in ["", "/", "..", "a/..", "/a", "a\0b", "x" * 256]:
        with pytest.raises(InputError):
            safe_name(name)
