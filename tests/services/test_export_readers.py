"""Exports of an event as released programs read them: `your` 0.6.7, and fitburst as its repository has it.

FRB_READERS_PYTHON names a Python in which they are installed: what they require and what we require are apart.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chime_files import DT_S, noisy_event, write_event

from mwaconvert.formats.spectra.chime_msgpack import ChunkStream, chunk_files
from mwaconvert.frb.export import Format, write_spectra
from mwaconvert.spectra.spectra import Spectra

pytestmark = pytest.mark.services
DRIVER = Path(__file__).parents[1] / "support" / "released_readers.py"
DM, T0_S, WIDTH = 5.0, 0.4, 4


@functools.cache
def readers_python(package: str) -> str:
    """A Python with the package."""
    python = os.environ.get("FRB_READERS_PYTHON", sys.executable)
    if subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{package} is not installed; name a Python that has it by FRB_READERS_PYTHON")
    return python


def read_by(package: str, path: Path, n_times: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    target = path.with_suffix(".read.npz")
    done = subprocess.run(
        [readers_python(package), DRIVER, package, path, target],
        input=str(n_times), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(target) as arrays:
        return json.loads(done.stdout), dict(arrays)


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> ChunkStream:
    data = noisy_event(3, DM, nt=256, t0_s=T0_S, snr=6, width=WIDTH)
    return ChunkStream(chunk_files(write_event(tmp_path_factory.mktemp("event"), data, nt=256)))


def exported(stream: ChunkStream, folder: Path, name: str, chosen: Format, dm: float) -> tuple[Path, Spectra]:
    spectra = stream.waterfall(dm, 128)
    write_spectra(folder / name, spectra, chosen, origin="event 9386707")
    return folder / name, spectra


@pytest.mark.parametrize(
    ("name", "chosen", "dm"),
    [("a.fil", Format.SIGPROC, 0.0), ("a.sf", Format.PSRFITS, 0.0), ("a.sf", Format.PSRFITS, DM)],
)
def test_your_reads_filterbanks_and_search_mode(stream, tmp_path, name, chosen, dm):
    path, spectra = exported(stream, tmp_path, name, chosen, dm)
    head, arrays = read_by("your", path, spectra.n_times)
    assert (head["nchans"], head["nbits"], head["foff"]) == (128, 32, -3.125)
    assert head["fch1"] == pytest.approx(spectra.freq_mhz[-1], abs=1e-9)
    assert head["tsamp"] == pytest.approx(DT_S, rel=1e-12)
    assert head["tstart"] == pytest.approx(spectra.start_mjd, abs=1e-9)
    whole = (spectra.weights == 1).all(1)  # of others PSRFITS keeps a weight for many samples
    assert whole.sum() > (0 if dm else 127)
    np.testing.assert_array_equal(arrays["data"].T[::-1][whole], spectra.data[whole])


def test_fitburst_fits_the_burst(stream, tmp_path):
    path, spectra = exported(stream, tmp_path, "a.npz", Format.FITBURST, DM)
    facts, arrays = read_by("fitburst", path, spectra.n_times)
    np.testing.assert_array_equal(arrays["data"], spectra.data)
    np.testing.assert_allclose(arrays["freq_mhz"], spectra.freq_mhz, rtol=0, atol=1e-9)
    assert (facts["dedispersed"], facts["dm"], facts["start_mjd"]) == (True, DM, spectra.start_mjd)
    assert arrays["good"].all()
    # its window is around the first guess, which is at the burst
    profile = arrays["window"].sum(0)
    assert abs(int(profile.argmax()) - profile.size // 2) <= WIDTH
    middle_s = T0_S + (WIDTH - 1) / 2 * DT_S
    assert facts["fitted"]["arrival_time"][0] == pytest.approx(middle_s, abs=0.5 * DT_S)
    assert 0.5 < facts["fitted"]["burst_width"][0] / (WIDTH * DT_S) < 1.5
