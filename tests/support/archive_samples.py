"""An archive in a folder: a catalogue, a store, a recorded stand-in for CASA, and a site that has them."""

from __future__ import annotations

import shutil
import sys
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import request_samples as samples
from package_samples import MOUS, ONE, TWO, package, status

from mwaconvert.archive.casa import CasaVersion
from mwaconvert.archive.casa.tasks import write_calapply
from mwaconvert.archive.catalog import Catalog
from mwaconvert.archive.layouts import Layout
from mwaconvert.archive.products import read_product_table, sha256_of
from mwaconvert.archive.sources.snapshot import MemberSnapshot
from mwaconvert.archive.units import ExecBlock, Level, ProductFile, Qa0, Session, UnitSet
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, local_site, open_store

PROJECT = "2017.1.00886.L"
LONG_AGO = datetime(2018, 1, 1, tzinfo=UTC)
CASA = CasaVersion.parse("6.5.4-9")
CALL = {"spw": "0", "gaintable": ["x.gcal"], "calwt": False, "interp": ["linear"]}

#: casatasks that writes down what it is asked for; a file `break-casa` beside it makes it fail
STAND_IN = """\
import json, pathlib, time
HERE = pathlib.Path(__file__).parent
def _log(name, words):
    with (HERE / "calls.txt").open("a") as file:
        file.write(json.dumps([name, words]) + "\\n")
def flagmanager(**words):
    _log("flagmanager", words)
def applycal(**words):
    if (HERE / "slow-casa").exists():
        time.sleep(1)
    if (HERE / "break-casa").exists():
        raise KeyError("session_2")
    (pathlib.Path(words["vis"]) / "calibrated").write_text(json.dumps(words["gaintable"][0].split("/")[-1]))
    _log("applycal", words)
"""


def casa_python(folder: Path) -> Path:
    """A program that stands for a Python with casatasks."""
    folder.mkdir()
    (folder / "casatasks.py").write_text(STAND_IN)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


def with_sets(layout: Layout) -> Layout:
    """Raw data as measurement sets, and instructions for them."""
    for name in (ONE, TWO):
        shutil.rmtree(layout.raw / f"{name}.asdm.sdm")
        (layout.raw / f"{name}.ms").mkdir()
        (layout.raw / f"{name}.ms" / "table.dat").write_text(name)
        calls = [{**CALL, "vis": f"{name}_targets.ms"}]
        write_calapply(layout.calibration / f"{name}.ms.calapply.txt", calls)
    return layout


def file_class(name: str) -> str:
    """The class that the archive gives a file."""
    if "scriptFor" in name or name.endswith(("script.py", ".xml")):
        return "script"
    return "auxiliary" if "weblog" in name else "calibration"


def put_into_store(layout: Layout, store: Path) -> list[ProductFile]:
    """Files of a package and its raw data, as the archive has them."""
    store.mkdir(exist_ok=True)
    table, files = read_product_table(), []
    for path in sorted(p for p in layout.root.rglob("*") if p.is_file()):
        if layout.raw in path.parents:
            continue
        shutil.copy(path, store / path.name)
        role = table.of(path.name)[1]
        files.append(
            ProductFile(path.name, file_class(path.name), role, path.stat().st_size, sha256_of(path))
        )
    for raw in layout.raw.iterdir():
        with tarfile.open(store / f"{raw.name}.tar", "w") as tar:
            tar.add(raw, raw.name)
    return files


def member(files: list[ProductFile], release: datetime | None = LONG_AGO) -> MemberSnapshot:
    """The member set of the package, with an image, and a session without execution blocks."""
    sessions = (
        Session(1, samples.EBS[:1], part_id="X00000000", start=LONG_AGO),
        Session(2, samples.EBS[1:2], part_id="X00000001", start=LONG_AGO),
        Session(3, (), part_id="X00000002", end_raw="not closed"),
    )
    request = samples.alma(samples.EBS[:1])
    assert request.structure is not None
    unit = UnitSet(
        samples.MOUS,
        "Delivered",
        parent=status("a2"),
        project_status=status("251"),
        unit=samples_unit(),
        block_statuses=(samples.BLOCK.status_uid,),
        sessions=sessions,
    )
    return MemberSnapshot(
        unit,
        (status("a2"), status("a1")),
        (samples.BLOCK,),
        tuple(ExecBlock(uid, samples.BLOCK.uid, LONG_AGO, None, Qa0.PASS) for uid in samples.EBS[:2]),
        (*files, ProductFile(f"{MOUS}.target.mfs.fits", "science")),
        release,
        "Pass",
    )


def samples_unit():  # type: ignore[no-untyped-def]
    from mwaconvert.archive.identifiers import EntityUid, Uid, UnitRef

    return UnitRef(EntityUid(Uid.parse("uid://A001/X1284/X250")), "X23868574")


def fill(catalog: Catalog, look: MemberSnapshot) -> None:
    """Put a set and what contains it into a catalogue."""
    above = [
        (UnitSet(status("a1"), "Processing"), Level.SCIENCE_GOAL),
        (UnitSet(status("a2"), "Processing", parent=status("a1")), Level.GROUP),
    ]
    catalog.put_units(PROJECT, above, LONG_AGO)
    catalog.put_member(PROJECT, look, LONG_AGO + timedelta(days=1))


def restorable(folder: Path, release: datetime | None = LONG_AGO) -> ArchiveSite:
    """A site with one set that can be restored by tasks."""
    files = put_into_store(with_sets(package(folder / "made")), folder / "store")
    home = folder / "site"
    home.mkdir()
    site = local_site(home, [str(folder / "store")], {CASA: casa_python(folder / "casa")})
    site = replace(site, database=str(folder / "archive.db"))
    Store(site.database).close()
    with site.catalog() as catalog:
        fill(catalog, member(files, release))
    return site


#: bin/casa that does what a pipeline does, and writes down that it began; files beside it make it fail
PIPELINE = """\
import io, json, os, pathlib, re, sys, tarfile, time
HERE = pathlib.Path(__file__).resolve().parents[1]
with (HERE / "runs.txt").open("a") as file:
    file.write(os.getcwd() + "\\n")
name = re.search("executeppr[(]'([^']+)'", sys.argv[-1])[1]
working = pathlib.Path.cwd()
products, text = working.parent / "products", (working / name).read_text()
assert os.environ["SCIPIPE_ROOTDIR"] == str(working.parents[1]), os.environ
if (HERE / "slow").exists():
    time.sleep(1)
if (HERE / "break").exists():
    (working / "errorexit-20180601T000000.txt").touch()
    print("2018-06-01\\tSEVERE\\tit broke")
    sys.exit(0)
if (HERE / "overwrite").exists():
    (working / name).write_text("<overwritten/>")
for template in working.glob("*template.txt"):
    print("flagging by", template.name)
def tgz(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
images = "hif_makeimages" in text
ebs = re.findall("<(?:SdmIdentifier|AsdmDiskName)[^>]*>([^<]+)<", text)
log = products / "pipeline-20180601T120000" / "html"
log.mkdir(parents=True)
(log / "index.html").write_text("<html>weblog</html>")
for eb in ebs:
    (working / (eb + ".ms")).mkdir()
    (working / (eb + ".ms") / "table.dat").write_text("calibrated " + eb)
    if not images:
        tgz(products / (eb + ".ms.flagversions.tgz"), {"flags.Final": b"f" * 999})
        (products / (eb + ".ms.calapply.txt")).write_text("applycal(vis='%s.ms')\\n" % eb)
if images:
    (products / "target.mfs.I.fits").write_bytes(b"SIMPLE" + b"i" * 5000)
    (products / "target.mfs.I.mask.fits").write_bytes(b"SIMPLE" + b"m" * 3000)
else:
    tgz(products / "unknown.session_1.caltables.tgz", {"bandpass.tbl/table.dat": b"b" * 3000})
tgz(products / "unknown.hifv.weblog.tgz", {"html/index.html": b"<html>weblog</html>"})
for report in HERE.glob("aquareport.xml"):
    (products / "unknown.hifv.pipeline_aquareport.xml").write_bytes(report.read_bytes())
(products / "unknown.hifv.pipeline_manifest.xml").write_text(
    '<piperesults name="x"><ous name="unknown"><casaversion name="6.5.4.9"/>'
    '<pipeline_version name="2023.1.0.124"/></ous></piperesults>')
"""


def casa_with_pipeline(folder: Path) -> Path:
    """A folder that stands for a whole CASA with its pipeline."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "casa"
    program.write_text(f"#!{sys.executable}\n{PIPELINE}")
    program.chmod(0o755)
    return folder


PROCEDURES = {
    "vla-calibrate": ("hifv", ("hifv_importdata", "hifv_hanning", "hifv_exportdata")),
    "alma-calibrate": ("hifa_cal", ("hifa_importdata", "hifa_exportdata")),
    "alma-image": ("hifa_image", ("hif_makeimlist", "hif_makeimages", "hifa_exportdata")),
}


def reviewing(folder: Path, **changes: object) -> ArchiveSite:
    """A site that calibrates and images: an SDM in its store, and the set of `restorable`."""
    site = restorable(folder)
    store = folder / "store"
    raw = folder / str(samples.SDM)
    raw.mkdir()
    (raw / "Main.bin").write_bytes(b"sdm" * 100)
    with tarfile.open(store / f"{samples.SDM}.tar", "w") as tar:
        tar.add(raw, raw.name)
    procedures = {}
    for name, (title, commands) in PROCEDURES.items():
        procedures[name] = folder / f"{name}.xml"
        body = "".join(
            f"<ProcessingCommand><Command>{c}</Command><ParameterSet/></ProcessingCommand>" for c in commands
        )
        procedures[name].write_text(
            f"<ProcessingProcedure><ProcedureTitle>{title}</ProcedureTitle>{body}</ProcessingProcedure>"
        )
    (folder / "retention.txt").write_text("processing 21\ncache 21\nqa never\n")
    home = folder / "site"
    facts = {
        "casas": {CASA: casa_with_pipeline(folder / "casa-6.5.4")},
        "ingest": open_store(str(folder / "ingested")),
        "procedures": procedures,
        "retention": folder / "retention.txt",
        "analysts": ("da@example.org",),
        "manager": "manager@example.org",
        "areas": {name: home / name for name in ("processing", "qa", "cache", "delivered")},
        **changes,
    }
    return replace(site, **facts)


def site_file(folder: Path, site: ArchiveSite) -> Path:
    """The configuration of the site of `reviewing`, as a file."""
    procedures = "".join(f'{name} = "{path}"\n' for name, path in site.procedures.items())
    config = folder / "archive.toml"
    config.write_text(
        'database = "archive.db"\n[stores]\nread = ["store"]\ningest = "ingested"\n'
        f'[casa]\n"6.5.4-9" = "casa/python"\n"6.6.1-17" = "casa-6.5.4"\n[procedures]\n{procedures}'
        '[files]\nretention = "retention.txt"\n'
        '[mail]\nanalysts = ["da@example.org"]\nmanager = "manager@example.org"\n'
    )
    return config
