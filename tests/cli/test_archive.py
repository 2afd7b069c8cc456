"""The verb archive as a user types it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import package_samples
import pytest
import request_samples as samples

from mwaconvert.archive.requests import write_request
from mwaconvert.cli.main import main


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str | Path) -> Done:
        with pytest.raises(SystemExit) as left:
            main.main(["archive", *map(str, words)])
        return Done(int(left.value.code or 0), *capsys.readouterr())

    return run


def request(path: Path, name: str = "", **changes: object) -> Path:
    made = samples.unsound()[name][0] if name else samples.alma(*changes.get("sessions", (samples.EBS,)))
    path.write_bytes(write_request(made))
    return path


def test_show(run: Run, tmp_path: Path) -> None:
    done = run("ppr", "show", request(tmp_path / "PPR.xml", sessions=((), samples.EBS[:1])))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [
        "project     2017.1.00886.L, ALMA",
        "member set  uid://A001/X1284/X266",
    ]
    assert "session_1   empty" in done.stdout
    assert "commands    hifa_importdata(dbservice=True)" in done.stdout


def test_show_tells_what_a_pipeline_would_make_of_it(run: Run, tmp_path: Path) -> None:
    done = run("ppr", "show", request(tmp_path / "PPR.xml", "trailing"))
    assert done.returncode == 0
    assert "a pipeline puts uid://A002/Xc7111c/X86a7 into session_1" in done.stdout
    assert "problem     SESSION_2: execution blocks of a session must be joined" in done.stdout


def test_check(run: Run, tmp_path: Path) -> None:
    done = run("ppr", "check", request(tmp_path / "PPR.xml"))
    assert done.stdout == f"{tmp_path}/PPR.xml: a sound request for calibration, 3 execution blocks\n"
    done = run("ppr", "check", request(tmp_path / "PPR.xml", "gap"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "SESSION_3: session numbers have a gap" in done.stderr
    assert "Traceback" not in done.stderr


def test_diff(run: Run, tmp_path: Path) -> None:
    one = request(tmp_path / "a.xml")
    two = request(tmp_path / "b.xml", sessions=(samples.EBS[:2],))
    done = run("ppr", "diff", one, two)
    assert (done.returncode, done.stdout) == (1, "execution block uid://A002/Xc7111c/X86a7 taken away\n")
    assert run("ppr", "diff", one, one).returncode == 0


def test_what_is_no_request(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    done = run("ppr", "show", tmp_path / "x.xml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "document type" in done.stderr
    done = run("ppr", "show", tmp_path / "none.xml")
    assert done.returncode == 2
    assert "does not exist" in done.stderr


def test_package_check(run: Run, tmp_path: Path) -> None:
    layout = package_samples.package(tmp_path)
    done = run("package", "check", layout.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CASA 6.5.4.9, pipeline 2023.1.0.124, 8 MPI servers" in done.stdout
    assert done.stdout.splitlines()[-1] == "verdict     can be restored"
    next(layout.calibration.glob("*calapply.txt")).unlink()
    done = run("package", "check", layout.root)
    assert done.returncode == 2
    assert "fault       missing file: " in done.stdout


def test_compare(run: Run, tmp_path: Path) -> None:
    tables = pytest.importorskip("casacore.tables")
    one, two = tmp_path / "a.ms", tmp_path / "b.ms"
    with tables.default_ms(str(one)) as ms:
        ms.addrows(4)
        ms.putcol("EXPOSURE", [1.0, 2.0, 3.0, 4.0])
    shutil.copytree(one, two)
    done = run("compare", one, two)
    assert (done.returncode, done.stdout.splitlines()[-1][:6]) == (0, "equal:")
    with tables.table(str(two), readonly=False, ack=False) as ms:
        ms.putcell("EXPOSURE", 2, 3.03)
    done = run("compare", one, two, "-q")
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        done.stdout.splitlines()[0] == "MAIN.EXPOSURE: 1 of 4 values differ, by up to 0.03 (0.0099 relative)"
    )
    assert run("compare", one, two, "--rtol", "0.02").returncode == 0
    assert run("compare", one, two, "--column", "TIME").returncode == 0
    assert run("compare", one, tmp_path).returncode == 2
    assert run("compare", one, two, "--rtol", "-1").returncode == 2


def test_documents_do_not_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    path = request(tmp_path / "PPR.xml")
    path.write_bytes(path.read_bytes().replace(b"2017.1.00886.L", "2017\x9b2J\n.L".encode()))
    done = run("ppr", "show", path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "project     2017\ufffd2J\ufffd.L, ALMA"


def test_update_tells_what_changed(run: Run, tmp_path: Path) -> None:
    import metadata_samples
    from metadata_samples import MOUS, PROJECT

    from mwaconvert.archive.catalog import Catalog
    from mwaconvert.archive.sources.metadata import MetadataDatabase
    from mwaconvert.archive.units import Level, UnitSet

    database, config = tmp_path / "alma.db", tmp_path / "archive.toml"
    metadata_samples.fill(database)
    config.write_text(f'database = "archive.db"\nmetadata = "sqlite:///{database}"\n')
    with (
        Catalog(f"sqlite:///{tmp_path}/archive.db") as catalog,
        MetadataDatabase(f"sqlite:///{database}") as alma,
    ):
        parent = UnitSet(metadata_samples.status("2"), "Delivered")
        catalog.put_units(PROJECT, [(parent, Level.GROUP)], metadata_samples.NOW)
        catalog.put_member(PROJECT, alma.member(PROJECT, MOUS), metadata_samples.NOW)
    nothing = "1 member set, 0 new or changed; left out: none\n"
    assert run("update", "--config", config).stdout == nothing
    metadata_samples.change(database, "UPDATE asa_delivery_status SET RELEASE_DATE = '2030-01-01'")
    told = run("update", "--config", config).stdout
    assert told.startswith(f"{MOUS}: release date: 2018-05-01")
    assert told.endswith("\n1 member set, 1 new or changed; left out: none\n")
    metadata_samples.change(
        database, "INSERT INTO sched_block_status VALUES ('uid://A001/X1/X1', 'uid://A001/X1/X2', ?, '')",
        str(metadata_samples.status("7")),
    )  # fmt: skip
    assert run("update", "--config", config).stdout == nothing.replace("none", "1 not delivered")


INTENTS = """<ProcessingIntents><Intents><Keyword>PROCESS</Keyword><Value>true</Value></Intents>
<Intents><Keyword>INTERFEROMETRY_POLARIZATION_OBSERVING_MODE</Keyword><Value>Undefined</Value></Intents>
</ProcessingIntents>"""


def procedure(path: Path, title: str, *commands: str) -> Path:
    body = "".join(
        f"<ProcessingCommand><Command>{c}</Command><ParameterSet/></ProcessingCommand>" for c in commands
    )
    path.write_text(
        f"<ProcessingProcedure><ProcedureTitle>{title}</ProcedureTitle>{body}</ProcessingProcedure>"
    )
    return path


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """The configuration of a site whose metadata know a set, and its catalogue not yet."""
    import metadata_samples

    metadata_samples.fill(tmp_path / "alma.db")
    config = tmp_path / "archive.toml"
    config.write_text(f'database = "archive.db"\nmetadata = "sqlite:///{tmp_path}/alma.db"\n')
    return config


def test_make_a_request_of_a_member_set(run: Run, tmp_path: Path, known: Path) -> None:
    from mwaconvert.archive.requests import changes, check, read_request, sessions_as_read

    made, cut = tmp_path / "PPR.xml", tmp_path / "cut.xml"
    steps = procedure(tmp_path / "p.xml", "hifa_cal", "hifa_importdata", "hif_makeimages")
    words = ("ppr", "make", samples.MOUS.file_form, "--procedure", steps, "--config", known)
    done = run(*words, "-o", made)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(", 2 execution blocks\n")
    request = read_request(made).request
    check(request)
    assert request.sessions == {1: (), 2: tuple(str(uid) for uid in samples.EBS[:2])}
    (tmp_path / "intents.xml").write_text(INTENTS)
    more = (
        "--restore-first",
        "--intents",
        tmp_path / "intents.xml",
        "--set",
        "hifa_restoredata.gainmap=True",
    )
    more = (*more, "--without", samples.EBS[0], "--add", f"3={samples.EBS[2]}", "--path", "P/SOUS_1")
    assert run(*words, *more, "-o", cut).returncode == 0
    request = read_request(cut).request
    assert [keyword for keyword, _ in request.intents] == [
        "PROCESS", "SESSION_1", "SESSION_2", "SESSION_3", "INTERFEROMETRY_POLARIZATION_OBSERVING_MODE"
    ]  # fmt: skip
    assert request.commands[0].name == "hifa_restoredata"
    assert ("gainmap", "True") in request.commands[0].parameters
    assert set(sessions_as_read(request).values()) == {"session_2", "session_3"}
    assert request.blocks[0].relative_path == "P/SOUS_1"
    assert changes(read_request(made).request, request)
    edited = made.read_bytes() + b"<!-- by hand -->"
    made.write_bytes(edited)
    refused = run(*words, "-o", made)
    assert (refused.returncode, made.read_bytes()) == (2, edited)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--without", "uid://A002/X1/X2"), "not in the request, so it cannot be taken away"),
        (("--add", "9=uid://A002/X1/X2"), "session 9 would leave a gap"),
        (("--add", "uid://A002/X1/X2"), "expected SESSION=EB"),
        (("--set", "gainmap=True"), "expected COMMAND.KEYWORD=VALUE"),
        (("--set", "hifv_x.gainmap=True"), "has no command hifv_x"),
    ],
)
def test_make_refuses(run: Run, tmp_path: Path, known: Path, more: tuple[str, ...], sentence: str) -> None:
    steps = procedure(tmp_path / "p.xml", "hifa_cal", "hifa_importdata")
    done = run(
        "ppr", "make", samples.MOUS, "--procedure", steps, "--config", known, "-o", tmp_path / "r", *more
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert sentence in done.stderr
    assert not (tmp_path / "r").exists()


def test_make_a_request_of_the_vla(run: Run, tmp_path: Path) -> None:
    from mwaconvert.archive.requests import read_request

    steps = procedure(tmp_path / "p.xml", "hifv", "hifv_importdata")
    words = ("ppr", "make", samples.SDM, "--procedure", steps, "-o", tmp_path / "PPR.xml")
    assert run(*words, "--restore-first").returncode == 0
    request = read_request(tmp_path / "PPR.xml").request
    assert [command.name for command in request.commands] == ["hifv_restoredata", "hifv_importdata"]
    assert [execution.uid for execution in request.executions] == [str(samples.SDM)]
    refused = run("ppr", "make", samples.MOUS, "--procedure", steps, "-o", tmp_path / "x")
    assert "with --config" in refused.stderr
