"""A delivered package of two execution blocks in two sessions, for the tests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import request_samples as samples

from mwaconvert.archive.identifiers import StatusUid, Uid
from mwaconvert.archive.layouts import Layout, delivery_layout
from mwaconvert.archive.requests import write_request

ONE, TWO = (uid.file_form for uid in samples.EBS[:2])
MOUS = samples.MOUS.file_form


def status(part: str) -> StatusUid:
    return StatusUid(Uid("A001", "X1284", f"X{part}"))


def manifest(
    sessions: dict[str, list[str]], recipe: str = "hifa_cal", servers: tuple[int, ...] = (4, 4)
) -> str:
    """The manifest of a calibration, with attributes newer than this program."""
    body = ""
    for session, executions in sessions.items():
        asdms = "".join(
            f'<asdm name="{e}.ms" datatype="asdm" new="1"><finalflags name="{e}.ms.flagversions.tgz"/>'
            f'<applycmds name="{e}.ms.calapply.txt"/></asdm>'
            for e in executions
        )
        body += (
            f'<session name="{session}"><caltables name="{MOUS}.{session}.caltables.tgz" level="member"/>{asdms}'
            "</session>"
        )
    nodes = "".join(f'<node num_mpi_servers="{n}"/>' for n in servers)
    return (
        f'<?xml version="1.0" ?><piperesults name="{MOUS}"><ous name="{MOUS}"><casaversion name="6.5.4.9"/>'
        f'<pipeline_version name="2023.1.0.124"/><procedure_name name="{recipe}"/>'
        f"<execution_environment>{nodes}</execution_environment>{body}"
        f'<weblog name="{MOUS}.{recipe}.weblog.tgz"/></ous></piperesults>'
    )


def tgz(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def package(base: Path, sessions: dict[str, list[str]] | None = None) -> Layout:
    """A sound package below `base`."""
    sessions = {"session_1": [ONE], "session_2": [TWO]} if sessions is None else sessions
    layout = delivery_layout(base, "2017.1.00886.L", status("a1"), status("a2"), samples.MOUS)
    layout.make()
    for session, executions in sessions.items():
        tgz(layout.calibration / f"{MOUS}.{session}.caltables.tgz", {"bandpass.tbl/table.dat": b"x" * 5000})
        for execution in executions:
            (layout.raw / f"{execution}.asdm.sdm").mkdir()
            tgz(layout.calibration / f"{execution}.ms.flagversions.tgz", {"flags.Final": b"f" * 5000})
            (layout.calibration / f"{execution}.ms.calapply.txt").write_text("applycal()\n")
    (layout.script / f"member.{MOUS}.scriptForPI.py").write_text("# runs\n")
    name = f"member.{MOUS}.hifa_cal"
    (layout.script / f"{name}.casa_piperestorescript.py").write_text("hifa_restoredata()\n")
    (layout.script / f"{name}.pprequest.xml").write_bytes(
        write_request(samples.alma(*((uid,) for uid in samples.EBS[:2])))
    )
    (layout.root / "qa" / f"{name}.pipeline_manifest.xml").write_text(manifest(sessions))
    tgz(layout.root / "qa" / f"{MOUS}.hifa_cal.weblog.tgz", {"html/index.html": b"<html/>"})
    return layout
