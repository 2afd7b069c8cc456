"""A metadata database of ALMA with one member set, for the tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import request_samples as samples

from mwaconvert.archive.identifiers import EntityUid, StatusUid, Uid, UnitRef
from mwaconvert.archive.status import StatusDocument, write_status
from mwaconvert.archive.units import ProductFile, Session, UnitSet

PROJECT, MOUS = "2017.1.00886.L", samples.MOUS
NOW = datetime(2018, 6, 1, tzinfo=UTC)


def status(part: str) -> StatusUid:
    return StatusUid(Uid("A001", "X1284", f"X{part}"))


MEMBER = UnitSet(
    MOUS,
    "Delivered",
    parent=status("2"),
    unit=UnitRef(EntityUid(Uid.parse("uid://A001/X1284/X250")), "X23868574"),
    block_statuses=(status("267"),),
    sessions=(Session(1), Session(2, samples.EBS[:2])),
)

SCHEMA = """
CREATE TABLE obs_unit_set_status (STATUS_ENTITY_ID, DOMAIN_ENTITY_ID, DOMAIN_ENTITY_STATE,
  PARENT_OBS_UNIT_SET_STATUS_ID, OBS_PROJECT_ID, OBS_PROJECT_STATUS_ID, FLAGS, XML);
CREATE TABLE sched_block_status (DOMAIN_ENTITY_ID, STATUS_ENTITY_ID, PARENT_OBS_UNIT_SET_STATUS_ID, FLAGS);
CREATE TABLE asa_product_files (NGAS_FILE_ID, FILE_CLASS, ASA_OUS_ID);
CREATE TABLE asa_delivery_status (DELIVERY_NAME, RELEASE_DATE);
CREATE TABLE aqua_v_execblock (EXECBLOCKUID, SCHEDBLOCKUID, STARTTIME, ENDTIME, QA0STATUS);
CREATE TABLE aqua_ous (OUS_STATUS_ENTITY_ID, OBSUNITSETUID, OBSUNITSETPARTID, QA2STATUS);
"""


def fill(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(SCHEMA)
        project = "uid://A001/X1284/X250"
        xml = write_status(StatusDocument(MEMBER)).decode()
        rows = [
            (str(MOUS), "X1", "Delivered", str(status("2")), project, str(status("251")), "", xml),
            (str(status("2")), "X2", "Delivered", str(status("1")), project, str(status("251")), "", None),
            (str(status("1")), "X3", "Processing", None, project, str(status("251")), "", None),
        ]
        db.executemany("INSERT INTO obs_unit_set_status VALUES (?,?,?,?,?,?,?,?)", rows)
        block = str(samples.BLOCK.uid)
        db.execute("INSERT INTO sched_block_status VALUES (?,?,?,'')", (block, str(status("267")), str(MOUS)))
        one, two, three = (str(uid) for uid in samples.EBS)
        db.executemany(
            "INSERT INTO aqua_v_execblock VALUES (?,?,?,?,?)",
            [
                (one, block, None, None, "PASS"),
                (two, block, "2018-01-02T00:00:00", None, "SemiPass"),
                (three, block, "2018-01-01T00:00:00", "2018-01-01T01:00:00", None),
            ],
        )
        db.executemany(
            "INSERT INTO asa_product_files VALUES (?,?,?)",
            [("a.pbcor.fits", "science", str(MOUS)), ("a.caltables.tgz", "calibration", str(MOUS))],
        )
        db.execute(
            "INSERT INTO asa_delivery_status VALUES (?,?)",
            (f"{PROJECT}_{MOUS.file_form}", "2018-05-01T00:00:00"),
        )
        db.execute("INSERT INTO aqua_ous VALUES (?,?,?,?)", (str(MOUS), project, "X1", "Pass"))


def change(path: Path, statement: str, *values: object) -> None:
    """The archive tells something else from now on."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def list_files(path: Path, files: Sequence[ProductFile]) -> None:
    """The files of the set are these and an image."""
    change(path, "DELETE FROM asa_product_files")
    for name, kind in (*((f.name, f.file_class) for f in files), ("target.fits", "science")):
        change(path, "INSERT INTO asa_product_files VALUES (?,?,?)", name, kind, str(MOUS))
