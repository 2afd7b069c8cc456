"""A command of the observatory that exports files, as a store; by programs that stand for asdmExportLight."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import request_samples as samples
from archive_samples import restorable

from mwaconvert.errors import Error, InputError, ResourceError
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.restore import restore_request, submit_or_resume
from mwaconvert.jobs.workflows.archives.running import carry_on
from mwaconvert.jobs.workflows.archives.site import read_site
from mwaconvert.jobs.workflows.archives.staging import fetch_raw, find_raw
from mwaconvert.jobs.workflows.archives.stores.exporting import ExportStore
from mwaconvert.jobs.workflows.archives.stores.store import fetch, keep

BLOCK = "uid___A002_Xc7111c_X3979"
RAW = f"{BLOCK}.asdm.sdm.tar"
Command = Callable[..., ExportStore]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    def made(body: str, *words: str) -> ExportStore:
        program = tmp_path / "export.py"
        program.write_text(f"import os, pathlib, sys\nHERE = pathlib.Path(__file__).parent\n{body}")
        return ExportStore([sys.executable, str(program), *(words or ("{uid}", "{name}"))])

    return made


def test_raw_data_come_as_a_folder_and_are_packed(command: Command, tmp_path: Path) -> None:
    store = command(
        "block = pathlib.Path(sys.argv[1].replace(':', '_').replace('/', '_'))\n"
        "block.mkdir()\n(block / 'Main.xml').write_text(' '.join(sys.argv[1:]))\n"
    )
    name, kept = find_raw([store], BLOCK)
    assert (name, kept.n_bytes) == (RAW, None)
    (tmp_path / "scratch").mkdir()
    fetch_raw([store], name, tmp_path / BLOCK, tmp_path / "scratch")
    assert (tmp_path / BLOCK / "Main.xml").read_text() == f"uid://A002/Xc7111c/X3979 {RAW}"
    assert not list((tmp_path / "scratch").iterdir())
    with pytest.raises(InputError, match="no store of the archive has its raw data"):
        find_raw([store], "13A-537.sb1.eb2.56514.06")  # of the VLA, without a uid


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("print('no such block'); sys.exit(3)", "exit code 3; its log ends with: no such block"),
        ("pathlib.Path('other.tar').touch()", f"left no {RAW}; it left other.tar"),
        ("", f"left no {RAW}; it left nothing"),
        (f"pathlib.Path('{RAW}').symlink_to('/etc/passwd')", f"left no {RAW}"),
        (f"pathlib.Path('{BLOCK}').symlink_to('/etc')", f"left no {RAW}"),
    ],
)
def test_a_command_that_does_not_give_it(command: Command, tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(ResourceError, match=words):
        fetch([command(body)], RAW, tmp_path / "raw.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["export.py"]


def test_it_gives_and_does_not_take(command: Command, tmp_path: Path) -> None:
    store = command("")
    (tmp_path / "x").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(InputError, match="takes no files"):
        keep(store, tmp_path / "x", RAW, empty)
    assert store.check(store.find(RAW)[0], empty)


def test_no_shell_sees_a_name(command: Command, tmp_path: Path) -> None:
    name = f"{BLOCK}$(touch hit)`touch hit`;touch hit.tgz"
    with pytest.raises(Error):
        fetch([command("pathlib.Path('x').write_text(sys.argv[2])")], name, tmp_path / "back")
    assert not list(tmp_path.rglob("hit*"))


def test_a_site_names_it(tmp_path: Path) -> None:
    config = tmp_path / "archive.toml"
    config.write_text('[stores]\nread = ["store"]\nexport = ["export", "{uid}"]\n')
    assert [repr(store) for store in read_site(config).stores][1] == "ExportStore('export')"
    config.write_text('[stores]\nexport = ["export"]\n')
    with pytest.raises(InputError, match=r"stores\.export: .* give it \{uid\} or \{name\}"):
        read_site(config)


def test_a_restore_takes_calibration_tables_from_it(command: Command, tmp_path: Path) -> None:
    site = restorable(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for path in (tmp_path / "store").iterdir():
        if not path.name.endswith(".ms.tar"):
            path.rename(tmp_path / "elsewhere" / path.name)
    export = command(
        "pathlib.Path(sys.argv[1]).write_bytes((HERE / 'elsewhere' / sys.argv[1]).read_bytes())", "{name}"
    )
    store = Store(site.database)
    request = restore_request(samples.MOUS.file_form, "ann")
    job = submit_or_resume(store, request)
    carry_on(site, store)
    assert "no store of the archive has it" in (store.job(job.id).error_text or "")
    site = replace(site, stores=(*site.stores, export))
    job = submit_or_resume(store, request)
    carry_on(site, store)
    assert (store.job(job.id).state, store.job(job.id).error_text) == (State.COMPLETED, None)
    store.close()
