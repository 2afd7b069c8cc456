"""The catalogue: its files, its tables, and the words of the shell."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from services.postgres import Postgres, is_installed

from mwaconvert.cli.main import main
from mwaconvert.errors import Error, InputError
from mwaconvert.frb.catalogue import tables
from mwaconvert.frb.catalogue.catalogue import Catalogue
from mwaconvert.frb.catalogue.files import read_holdings
from mwaconvert.frb.catalogue.model import Vote, classification, standings
from mwaconvert.jobs.control.store import Store, engine_of, url_of

TABLE = """\
event_id,datetime,beams,dm,snr,source,source_type,classification,user,baseband_data
101,2020-01-02T03:04:05.5,12 1012,87.76,20.5,FRB 20200120E,frb_repeater,KNOWN CANDIDATE,ann,true
102,2020-07-18,,87.86,11,20200120E,FRB_REPEATER,known candidate,,no
103,,,10,9,B0355+54,PULSAR,,,
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def catalogue(request, tmp_path) -> Iterator[Catalogue]:
    """On a database of its own."""
    if request.param == "postgres":
        if not is_installed():
            pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
        with Postgres() as server:
            engine = engine_of(url_of(server.new_database()))
            yield Catalogue(engine)
            engine.dispose()
        return
    engine = sa.create_engine(f"sqlite:///{tmp_path}/frb.db")
    yield Catalogue(engine)
    engine.dispose()


def shell(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["frb", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def test_the_migrations_make_the_tables(catalogue):
    with catalogue._engine.connect() as connection:
        options = {"version_table": tables.VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
    Catalogue(catalogue._engine)  # again


def test_the_store_of_jobs_and_the_catalogue_share_a_database(tmp_path):
    for _ in range(2):
        store = Store(tmp_path / "jobs.db")
        Catalogue(store.engine)
        store.close()


def test_a_newer_catalogue_is_refused(catalogue):
    with catalogue._engine.begin() as c:
        c.execute(sa.text(f"UPDATE {tables.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(Error, match="written by a newer version"):
        Catalogue(catalogue._engine)


def test_a_plain_table(tmp_path, catalogue):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    catalogue.load(read_holdings(path))
    event = catalogue.event(101)
    assert event["beam_numbers"] == [12, 1012]
    assert event["measured_parameters"][0]["datetime"] == "2020-01-02 03:04:05.500000"
    assert catalogue.source("20200120e")["type"] == "FRB_REPEATER"
    assert catalogue.candidates()[1]["events"] == [101, 102]
    assert catalogue.verification(101)["data_status"] == {"baseband_data": True, "intensity_data": False}
    assert [v["event_id"] for v in catalogue.verifications(classification("KNOWN CANDIDATE"))] == [101, 102]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("event_id,nonsense\n1,2\n", "there is no column nonsense; columns are event_id, datetime"),
        ("dm,snr\n1,2\n", "there is no column event_id"),
        ("event_id\n", "there is no row in it"),
        ("event_id,dm\nx,2\n", "line 2: an event 'x'"),
        ("event_id,dm\n1,nan\n", "line 2: dm is nan"),
        ("event_id,dm\n1,2\n2,two\n", "line 3: could not convert"),
        ("event_id,classification\n1,GOOD\n", "line 2: 'GOOD' is not a classification"),
        ("[1, 2]", "a list of events is expected"),
        ("[", "is no JSON"),
        ("[" * 100000, "is no JSON"),
        ('[{"event_number": "5"}]', "burst ?"),
        ("tns_name,sub_num\nFRB20180725A,0\n", "load the JSON of the same catalogue first"),
    ],
)
def test_files_that_are_refused(tmp_path, catalogue, text, said):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(Error) as caught:
        catalogue.load(read_holdings(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert catalogue.find_events() == []


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(Error, match="neither JSON nor a table"):
        read_holdings(tmp_path / "bytes")
    with pytest.raises(InputError, match="cannot be read"):
        read_holdings(tmp_path / "nothing")


def test_votes_as_they_stand():
    """By hand: (votes) -> (last, agreed)."""
    table = [
        ([], (None, None)),
        ("A", ("A", "A")),
        ("AA", ("A", "A")),
        ("AB", ("B", None)),
        ("AAB", ("B", "A")),
        ("AABB", ("B", None)),
        ("AABBB", ("B", "B")),
        ("ABC", ("C", None)),
    ]
    for votes, expected in table:
        assert standings([(f"user {k}", vote) for k, vote in enumerate(votes)]) == expected, votes


def test_votes_of_others_survive_a_second_load(tmp_path, catalogue):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    catalogue.load(read_holdings(path))
    catalogue.vote(Vote(101, "bob", classification("RFI")))
    catalogue.load(read_holdings(path))
    assert {v["user"] for v in catalogue.verification(101)["user_verification"]} == {"ann", "bob"}


def test_the_shell(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    where = ("--database", tmp_path / "jobs.db")
    assert shell("load", path, *where) == f"{path}: 3 events, 2 sources (1 repeater), 2 classifications\n"
    rows = list(csv.DictReader(io.StringIO(shell("events", "--format", "csv", *where))))
    assert [row["id"] for row in rows] == ["103", "101", "102"]
    assert rows[1]["source"] == "FRB20200120E"
    assert json.loads(shell("events", "--dm", 80, 87.8, "--format", "json", *where))[0]["id"] == 101
    assert "102" not in shell("events", "--since", "2020-01-01", "--until", "2020-02-01", *where)
    assert shell("events", "--source", "20200120E", *where).splitlines()[0].split()[:3] == [
        "id",
        "recorded",
        "dm",
    ]
    assert "FRB20200120E" in shell("sources", "--type", "frb_repeater", *where)
    assert "101 102" in shell("candidates", *where)
    listed = shell("verifications", "known candidate", *where)
    assert listed.splitlines()[1].split() == ["101", "KNOWN", "CANDIDATE", "ann", "true", "false", "1"]
    assert "there is no source 'x'" in shell("sources", "x", *where, code=2)
    assert "--type y: choose from FRB" in shell("sources", "--type", "y", *where, code=2)
    assert "name the database" in shell("events", code=2)


def test_the_public_catalogue(catalogue, filterbanks: Path):
    found = read_holdings(filterbanks / "frb" / "CHIME_catalog-2021-1-27.json")
    for _ in range(2):
        catalogue.load(found)
    assert len(catalogue.find_events()) == 535
    assert len(catalogue.verifications(classification("KNOWN CANDIDATE"), strict=True, skip=11)) == 50
    assert len(catalogue.find_events(source="FRB20180916B")) == 19
    assert catalogue.event(9386707)["tns_name"] == "FRB20180725A"


def test_the_public_catalogue_from_the_shell(tmp_path, filterbanks: Path):
    where = ("--database", tmp_path / "jobs.db")
    files = [filterbanks / "frb" / name for name in ("CHIME_catalog-2021-1-27.json", "chimefrbcat.csv")]
    said = shell("load", *files, *where)
    assert "535 events, 492 sources (18 repeaters), 535 classifications" in said
    assert "measurements of 535 events" in said
    store = Store(tmp_path / "jobs.db")
    measured = Catalogue(store.engine).event(9386707)["measured_parameters"]
    store.close()
    assert [entry["pipeline"]["name"] for entry in measured] == ["realtime", "fitburst", "catalogue 1"]
    fitted = measured[2]
    assert fitted["mjd_400"] == [58324.7498032059]
    assert fitted["sub_burst_width"] == [0.296]
    assert len(json.loads(shell("events", "--dm", 0, 1e5, "--format", "json", *where))) == 535
