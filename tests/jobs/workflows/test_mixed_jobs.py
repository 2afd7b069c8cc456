"""A job file with jobs of all types and eras, over two observations, to packages that other programs open."""

import hashlib
import json
import tarfile
from pathlib import Path

import casacore.tables
import pytest
from astropy.io import fits
from click.testing import CliRunner
from pyuvdata import UVData
from support.observations import make_observation

from mwaconvert.cli.main import main

# M is an observation of the MWAX correlator, L one of the legacy correlator; the file beside a job is what its
# package holds beside metafits, record and sums: a suffix, or None where the files of the archive are meant
FEW = [
    ("obs_id=M, job_type=c, avg_time_res=4, avg_freq_res=40, flag_edge_width=80, output=uvfits", "uvfits"),
    ("obs_id=L, job_type=c, timeres=4, freqres=40, edgewidth=80, conversion=ms, allowmissing=true", "ms"),
    ("obs_id=L, job_type=c, preprocessor=birli, conversion=uvfits, norfi=true, usepcentre=true", "uvfits"),
    ("obs_id=L, job_type=d, download_type=vis", None),
    ("obs_id=M, job_type=d, download_type=vis_meta", None),
    ("obs_id=M, job_type=v, offset=0, duration=8, from_channel=C, to_channel=C", None),
]
MORE = [
    ("obs_id=M, job_type=c, output=ms, no_rfi=true, no_cable_delay=true, no_digital_gains=true", "ms"),
    ("obs_id=M, job_type=c, output=uvfits, centre=custom, phase_centre_ra=12h30m49.4s,"
     " phase_centre_dec=+12d23m28.0s", "uvfits"),
    ("obs_id=M, job_type=c, output=ms, centre=pointing, no_flag_dc=true", "ms"),
    ("obs_id=M, job_type=c, output=uvfits, no_geometry_delay=true, no_passband_gains=true", "uvfits"),
    ("obs_id=M, job_type=c, output=uvfits, custom_centre_ra=10.5, custom_centre_dec=-27, avg_time_res=8",
     "uvfits"),
    ("obs_id=L, job_type=c, conversion=uvfits, nocablelength=true, nosbgains=true, sbpassband=true,"
     " allowmissing=true", "uvfits"),
    ("obs_id=L, job_type=c, conversion=ms, flagdcchannels=true, nostats=true, noantennapruning=true,"
     " allowmissing=true", "ms"),
    ("obs_id=L, job_type=c, conversion=ms, norfi=true, noprecomputedflags=true, noflagautos=true,"
     " allowmissing=true", "ms"),
    ("obs_id=L, job_type=c, output=ms, avg_freq_res=160, flag_edge_width=0", "ms"),
    ("obs_id=L, job_type=c, preprocessor=cotter, conversion=uvfits, nogeom=true, allowmissing=true", "uvfits"),
    ("obs_id=M, job_type=d, download_type=vis, delivery=acacia, delivery_format=tar", None),
    ("obs_id=L, job_type=d, download_type=vis_meta, expiry_days=3", None),
    ("obs_id=M, job_type=v, offset=0, duration=8", None),
    ("obs_id=L, job_type=v, offset=4, duration=2, delivery=scratch, delivery_format=files", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("raw")
    obsids = {"M": make_observation(root, "mwax-128"), "L": make_observation(root, "legacy-128")}
    assert obsids["M"] != obsids["L"]
    return root, obsids


def in_words(line: str, raw: tuple[Path, dict[str, str]]) -> str:
    root, obsids = raw
    metafits = root / obsids["M"] / f"{obsids['M']}.metafits"
    channel = str(fits.getheader(metafits)["CHANNELS"]).split(",")[1]
    for letter, obsid in obsids.items():
        line = line.replace(f"obs_id={letter},", f"obs_id={obsid},")
    return line.replace("channel=C", f"channel={channel}")


def run_all(raw: tuple[Path, dict[str, str]], folder: Path, jobs: list[tuple[str, str | None]]) -> None:
    lines = [in_words(line, raw) for line, _ in jobs]
    (folder / "jobs.csv").write_text("# all that there is\n\n" + "\n".join(lines) + "\n")
    products = folder / "products"
    products.mkdir()
    words = ["jobs", "run", str(folder / "jobs.csv"), "--root", str(raw[0]), "-d", str(products)]
    done = CliRunner().invoke(main, [*words, "-e", str(folder / "errors.json")])
    assert done.exit_code == 0, done.output
    assert (folder / "errors.json").read_text() == ""
    for job_id, (line, (_, suffix)) in enumerate(zip(lines, jobs, strict=True), start=1):
        check(job_id, dict(cell.strip().split("=", 1) for cell in line.split(",")), suffix, folder)


def check(job_id: int, given: dict[str, str], suffix: str | None, folder: Path) -> None:
    obsid = given["obs_id"]
    there = folder / "products" / str(job_id)
    if not there.is_dir():
        (package,) = (folder / "products").glob(f"{obsid}_{job_id}_*.tar")
        there = folder / "opened" / str(job_id)
        with tarfile.open(package) as tar:
            tar.extractall(there, filter="data")
        for line in (there / "SHA256SUMS").read_text().splitlines():
            digest, name = line.split(maxsplit=1)
            assert hashlib.sha256((there / name).read_bytes()).hexdigest() == digest
        facts = json.loads((there / "job.json").read_text())
        assert facts["given"] == {key: value for key, value in given.items() if key != "job_type"}
    assert fits.getheader(there / f"{obsid}.metafits")["GPSTIME"] == int(obsid)
    product = there / f"{obsid}.{suffix}"
    if suffix == "uvfits":
        data = UVData.from_file(product)
        assert data.Nblts == data.Ntimes * data.Nbls
        assert not data.flag_array.all()
    elif suffix == "ms":
        with casacore.tables.table(str(product), ack=False) as table:
            assert table.nrows() > 0
            assert not table.getcol("FLAG").all()
            assert casacore.tables.table(table.getkeyword("ANTENNA"), ack=False).nrows() >= 7
    elif given["job_type"] == "v":
        names = [path.name for path in there.glob("*.sub")]
        assert len(names) == (2 if obsid.startswith("14") and "from_channel" not in given else 1)
    else:
        is_meta = given["download_type"] == "vis_meta"
        assert bool(list(there.glob(f"{obsid}_*_*.fits"))) is not is_meta


def test_jobs_of_all_types(raw, tmp_path) -> None:
    run_all(raw, tmp_path, FEW)


@pytest.mark.services
def test_twenty_jobs_of_all_types_and_eras(raw, tmp_path) -> None:
    assert len(FEW + MORE) == 20
    run_all(raw, tmp_path, FEW + MORE)
