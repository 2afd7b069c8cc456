"""Measurement sets simulated, flagged and calibrated by CASA itself, packed as a pipeline does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from package_samples import MOUS, ONE, TWO

from mwaconvert.archive.casa.tasks import pack_folders, write_calapply
from mwaconvert.archive.layouts import Layout

OBSERVE = """\
import os, numpy, casatools, casatasks
name = {name!r}
sm, me, tb = casatools.simulator(), casatools.measures(), casatools.table()
sm.open(name + ".ms")
where = numpy.array([0.0, 100, 200, 300, 50, 400, 120])
sm.setconfig("VLA", x=list(where), y=list(where[::-1]), z=[0.0] * 7, dishdiameter=[25.0] * 7, mount=["alt-az"],
             antname=["ea0%d" % i for i in range(1, 8)], coordsystem="local", referencelocation=me.observatory("VLA"))
for window, channels in (("L", 16), ("S", 32)):
    sm.setspwindow(spwname=window, freq="1.4GHz" if window == "L" else "2.4GHz", deltafreq="1MHz",
                   freqresolution="1MHz", nchannels=channels, stokes="RR LL")
sm.setfeed("perfect R L", pol=[""])
sm.setfield("source", me.direction("J2000", "12h30m00", "12d00m00"))
sm.setlimits(shadowlimit=0.01, elevationlimit="1deg")
sm.setauto(0.0)
sm.settimes(integrationtime="10s", usehourangle=True, referencetime=me.epoch("UTC", "2018/06/01"))
for scan in range(3):
    for window in ("L", "S"):
        sm.observe("source", window, starttime="%ds" % (scan * 120 - 60), stoptime="%ds" % (scan * 120))
sm.close()
random = numpy.random.default_rng(len(name))
tb.open(name + ".ms", nomodify=False)
for row in range(tb.nrows()):
    shape = tb.getcell("DATA", row).shape
    tb.putcell("DATA", row, 1 + 0.1 * (random.normal(size=shape) + 1j * random.normal(size=shape)))
tb.close()
os.system("cp -r " + name + ".ms raw")
casatasks.clearcal(name + ".ms", addmodel=True)
casatasks.flagdata(name + ".ms", mode="list", inpfile=["mode='manual' antenna='ea03' spw='0'"], flagbackup=False)
casatasks.gaincal(name + ".ms", caltable=name + ".gcal", solint="inf", refant="ea01", minsnr=0)
casatasks.applycal(name + ".ms", gaintable=[name + ".gcal"], calwt=False, flagbackup=False)
casatasks.flagmanager(name + ".ms", mode="save", versionname="Pipeline_Final")
"""

OFFLINE = """\
import casadata
measurespath = casadata.datapath
datapath = [casadata.datapath]
measures_auto_update = data_auto_update = False
nologger = True
"""


def real_casa() -> str:
    """A Python that has casatasks; the test is skipped where none is named."""
    python = os.environ.get("MWACONVERT_CASA_PYTHON")
    if python is None:
        pytest.skip("MWACONVERT_CASA_PYTHON names no Python with casatasks")
    return python


def observe(python: str, home: Path, work: Path, layout: Layout) -> None:
    """Fill a package with raw sets and the calibration of two that stay in `work`."""
    (home / ".casa").mkdir(parents=True)
    (home / ".casa" / "config.py").write_text(OFFLINE)
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    for session, name in (("session_1", ONE), ("session_2", TWO)):
        folder = work / name
        folder.mkdir(parents=True)
        (folder / "observe.py").write_text(OBSERVE.format(name=name))
        subprocess.run([python, "observe.py"], cwd=folder, env=environment, check=True, timeout=300)
        shutil.rmtree(layout.raw / f"{name}.asdm.sdm")
        (folder / "raw").rename(layout.raw / f"{name}.ms")
        pack_folders([folder / f"{name}.gcal"], layout.calibration / f"{MOUS}.{session}.caltables.tgz")
        pack_folders([folder / f"{name}.ms.flagversions"], layout.calibration / f"{name}.ms.flagversions.tgz")
        write_calapply(
            layout.calibration / f"{name}.ms.calapply.txt",
            [{"vis": f"{name}.ms", "gaintable": [f"{name}.gcal"], "calwt": False, "flagbackup": False}],
        )
