"""Sound files of observations, calibration, flags, requests and settings, and how they are read."""

from __future__ import annotations

import dataclasses
import io
import shutil
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import package_samples
import request_samples
import sound_spectra
from solution_files import write_aocal, write_hyperdrive
from sound import Sound

import mwaconvert
from mwaconvert.archive.manifests import read_manifest
from mwaconvert.archive.requests import read_request, write_request
from mwaconvert.archive.status import StatusDocument, read_status, write_status
from mwaconvert.archive.units import Session, UnitSet
from mwaconvert.conversion.rfi.strategy import RfiStrategy
from mwaconvert.formats.mwaf import read_flag_files
from mwaconvert.formats.solutions import read_solutions
from mwaconvert.formats.spectra.masks import read_mask
from mwaconvert.formats.visibilities.reader import open_visibilities
from mwaconvert.live.amber import read_whole
from mwaconvert.live.settings import read_settings
from mwaconvert.observation.metafits import read_metadata
from mwaconvert.simulate import simulate
from mwaconvert.transients import open_stream
from mwaconvert.unpacking import Limits, list_members, unpack
from mwaconvert.vocabulary.job_file import read_job_file

#: a strategy of AOFlagger of a few steps
_LUA = """
aoflagger.require_min_version("3.0")
function execute(input)
  for ipol, polarization in ipairs(input:get_polarizations()) do
    local whole = input:convert_to_polarization(polarization)
    local data = whole:convert_to_complex("amplitude")
    aoflagger.sumthreshold(data, 1.5, 1.0, true, true)
    aoflagger.scale_invariant_rank_operator(data, 0.2, 0.2)
    whole:set_mask(data)
    input:set_polarization_data(polarization, whole)
  end
end
"""
_FREQS_HZ = 167.68e6 + 40e3 * np.arange(32)


def _convert(raw: Path) -> None:
    """The whole way, so that the kernels see it, too."""
    metafits = next(raw.parent.glob("*.metafits"))
    target = raw.parent / "out.uvfits"
    mwaconvert.convert(metafits, target, files=[raw], overwrite=True)


def _draw(path: Path) -> None:
    for block in open_visibilities(path).blocks():
        del block


def _unpack(path: Path) -> None:
    limits = Limits(members=1000, total_bytes=1 << 20)
    list_members(path, limits)
    target = path.parent / "unpacked"
    target.mkdir()
    try:
        unpack(path, target, limits=limits)
    finally:
        shutil.rmtree(target)


def _mask(path: Path) -> None:
    stream = open_stream(path.parent / "a.fil")
    try:
        read_mask(path, stream)
    finally:
        stream.close()


def _aoflagger(path: Path) -> None:
    """A strategy is a program; it runs in a process of its own."""
    from mwaconvert.conversion.rfi.aoflagger import AOFlagger

    images = np.random.default_rng(1).normal(0, 1, (1, 8, 8, 32)).astype(np.float32)
    with AOFlagger(str(path), 1) as flagger:
        flagger(images, np.zeros((1, 8, 32), np.uint8))


def seeds() -> dict[str, Sound]:
    """A small file of each format."""
    with tempfile.TemporaryDirectory(prefix="fuzz-sound-") as name:
        folder = Path(name)
        return _of_observations(folder) | _of_calibration(folder) | _of_archives(folder) | _of_texts()


def _of_observations(folder: Path) -> dict[str, Sound]:
    found = {}
    makes = {
        "mwax": ("mwax-128", {"n_tiles": 3, "fine_khz": 160.0}),
        "float": ("legacy-128", {"fine_khz": 640.0}),
        "rice": ("legacy-128", {"fine_khz": 640.0, "compress": True}),
    }
    for kind, (like, more) in makes.items():
        sim = simulate(folder / kind, like, duration_s=4, coarse_channels=1, noise_jy=3, **more)
        raw = next(sim.metafits.parent.glob("*_*.fits"))
        beside = ((sim.metafits.name, sim.metafits.read_bytes()),)
        found[f"raw {kind}"] = Sound(raw.name, raw.read_bytes(), _convert, beside)
    found["metafits"] = Sound("a.metafits", sim.metafits.read_bytes(), read_metadata)
    mwax = next((folder / "mwax").glob("*.metafits"))
    for target, read in (("a.uvfits", _draw), ("a_%%%.mwaf", lambda path: read_flag_files([path]))):
        mwaconvert.convert(mwax, folder / target)
        made = next(folder.glob(target.replace("%%%", "*")))
        found[made.suffix[1:]] = Sound(f"1412607288_01{made.suffix}", made.read_bytes(), read)
    return found


def _of_calibration(folder: Path) -> dict[str, Sound]:
    jones = np.random.default_rng(1).normal(0, 1, (1, 8, 32, 4)) + 1j

    def read(path: Path) -> None:
        read_solutions(path, _FREQS_HZ)

    hyperdrive = write_hyperdrive(folder / "s.fits", jones, freq_hz=_FREQS_HZ)
    aocal = write_aocal(folder / "s.bin", jones)
    head = struct.pack("<6d3i", 10.0, 4.0, 58000.0, 0.01, 1400.0, 1.0, 8, 4, 10)
    # one channel, one interval; how many channels of each interval; which
    rfifind = head + struct.pack("<2i", 1, 3) + struct.pack("<2i", 1, 2) + struct.pack("<5i", 0, 1, 8, 0, 5)
    beside = (("a.fil", sound_spectra.seeds()["fil"].raw),)
    return {
        "solutions fits": Sound("s.fits", hyperdrive.read_bytes(), read),
        "solutions bin": Sound("s.bin", aocal.read_bytes(), read),
        "mask": Sound("a.mask", rfifind, _mask, beside),
        "mask txt": Sound("a.txt", b"0-2,5 # bad\n7\n", _mask, beside),
    }


def _of_archives(folder: Path) -> dict[str, Sound]:
    flags = next(folder.glob("*.mwaf")).read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in (1, 2):
            archive.writestr(f"1412607288_0{number}.mwaf", flags)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in ("a/b.txt", "c.txt"):
            info = tarfile.TarInfo(name)
            info.size = 700
            archive.addfile(info, io.BytesIO(bytes(700)))
    return {
        "flags zip": Sound("a_flags.zip", packed.getvalue(), lambda path: read_flag_files([path])),
        "zip": Sound("a.zip", packed.getvalue(), _unpack),
        "tar": Sound("a.tar", tar.getvalue(), _unpack),
    }


def _of_texts() -> dict[str, Sound]:
    jobs = (
        b"obs_id=1110103576, job_type=c, timeres=8, freqres=40, edgewidth=80, conversion=ms, calibrate=true\n"
        b"# a comment\nobs_id=1110103576, job_type=d, download_type=vis\n"
        b"obs_id=1323776840, job_type=v, offset=0, duration=1200\n"
    )
    amber = b"# beam_id batch_id sample_id integration_step compacted_integration_steps time"
    amber += b" DM_id DM compacted_DMs SNR\n"
    amber += b"0 0 299 1 2 0.0244941 283 56.6 10 18.4666\n1 0 300 2 2 0.03 283 57.6 10 8.5\n" * 4
    strategy = "\n".join(
        f"{f.name} = {getattr(RfiStrategy(), f.name)!r}"
        for f in dataclasses.fields(RfiStrategy)
        if isinstance(getattr(RfiStrategy(), f.name), int | float)
    )
    status = write_status(
        StatusDocument(
            UnitSet(request_samples.MOUS, "X", sessions=(Session(1, request_samples.EBS),)),
        )
    )
    manifest = package_samples.manifest({"session_1": [package_samples.ONE]})
    texts: dict[str, tuple[str, str | bytes, Callable[[Path], object]]] = {
        "jobs csv": ("jobs.csv", jobs, read_job_file),
        "amber lines": ("CB00_step1.trigger", amber, read_whole),
        "strategy toml": ("s.toml", strategy, RfiStrategy.from_toml),
        "strategy lua": ("s.lua", _LUA, _aoflagger),
        "settings yaml": (
            "a.yaml",
            "darc_master:\n  port: 51000\namber_listener:\n  interval: 0.2\n",
            read_settings,
        ),
        "request xml": ("ppr.xml", write_request(request_samples.alma(request_samples.EBS)), read_request),
        "request of the VLA": ("vla.xml", write_request(request_samples.vla()), read_request),
        "status xml": ("status.xml", status, read_status),
        "manifest xml": ("manifest.xml", manifest, lambda path: read_manifest(path.read_bytes())),
    }
    needs = {"strategy lua": "aoflagger", "settings yaml": "yaml"}
    return {
        name: Sound(file, held if isinstance(held, bytes) else held.encode(), read)
        for name, (file, held, read) in texts.items()
        if name not in needs or find_spec(needs[name]) is not None
    }
