"""Van Vleck correction of whole conversions of legacy data."""

import logging
import shutil

import numpy as np
import pytest
import reference
from astropy.io import fits
from click.testing import CliRunner
from conversions import NOTHING, UNFLAGGED, collect, read_with_mwalib

import mwaconvert
from mwaconvert import _core
from mwaconvert.cli.main import main
from mwaconvert.conversion.pipeline import find_flags
from mwaconvert.conversion.rfi.images import KeptImages
from mwaconvert.conversion.rfi.strategy import RfiStrategy, flag_baselines
from mwaconvert.errors import InputError
from mwaconvert.observation.legacy import product_table

SAMPLES = 2 * 40e3 * 2.0


@pytest.fixture(scope="module")
def quantised(legacy, tmp_path_factory):
    """The legacy observation with autocorrelations of inputs of 1 to 3 levels, as float32; and its products."""
    folder = tmp_path_factory.mktemp("quantised")
    shutil.copy(legacy.metafits, folder)
    rng = np.random.default_rng(1)
    images = []
    for path in legacy.raw:
        with fits.open(path) as hdus:
            for hdu in hdus[1:]:
                products = rng.normal(0, 0.02 * SAMPLES, (*hdu.data.shape[:1], 33024, 2)).astype(np.float32)
                for slot in range(256):
                    at = 2 * (slot // 2) * (slot // 2 + 1) + 4 * (slot // 2) + 3 * (slot % 2)
                    products[:, at] = rng.uniform(1, 9, (len(products), 1)) * SAMPLES * np.array([1, 0])
                hdu.data = products.reshape(len(products), -1)
                images.append(products[..., 0] + 1j * products[..., 1])
            hdus.writeto(folder / path.name)
    return folder / legacy.metafits.name, np.array(images, np.complex64)


def with_scale(quantised, folder, key, value):
    metafits, _ = quantised
    for path in metafits.parent.iterdir():
        shutil.copy(path, folder)
    for path in folder.glob("*_gpubox*.fits"):
        with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
            hdus[1].header[key] = value
    return folder / metafits.name


@pytest.mark.parametrize("autos", [True, False])
def test_before_everything(quantised, autos):
    """Also where autocorrelations are not written: they are read all the same."""
    metafits, products = quantised
    plan = mwaconvert.open(metafits).plan(**NOTHING, **UNFLAGGED, van_vleck=True, sel_autos=autos)
    found = collect(plan)
    index, conjugated = product_table(plan.metadata)
    corrected = products.copy()
    for image in corrected:
        _core.van_vleck(image, 256, SAMPLES)
    rows = plan.rows.in_file
    expected = corrected[:, :, index[rows]]
    expected = np.where(conjugated[rows], expected.conj(), expected).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(found.vis, expected)
    assert np.abs(corrected / products - 1).max() > 0.01
    (step,) = (step for step in plan.steps if step.name == "Van Vleck correction")
    assert step.applied
    assert "160000 samples a visibility, scale 1 (assumed: the files do not say it)" in step.reason


@pytest.mark.parametrize(("key", "value"), [("SCALEFAC", 0.5), ("BSCALE", 2.0)])
def test_scale_of_the_files(quantised, tmp_path, key, value):
    plan = mwaconvert.open(with_scale(quantised, tmp_path, key, value)).plan(van_vleck=True)
    assert plan.corrections.van_vleck_samples == SAMPLES * value
    assert any(f"scale {value:g} ({key} of the files)" in step.reason for step in plan.steps)


def test_off_by_default(quantised, mwax):
    plan = mwaconvert.open(quantised[0]).plan()
    assert plan.corrections.van_vleck_samples == 0
    assert any(s.name == "Van Vleck correction" and s.reason == "not asked for" for s in plan.steps)
    with pytest.raises(InputError, match="these are MWAX data"):
        mwaconvert.open(mwax.metafits).plan(van_vleck=True)
    result = CliRunner().invoke(main, [str(mwax.metafits), "--van-vleck", "--dry-run"])
    logging.captureWarnings(False)
    assert result.exit_code == 2
    assert "leave the option out" in result.stderr


def slowly_corrected(raw: np.ndarray, antennas: list[int], pairs: list[tuple[int, int]]) -> np.ndarray:
    """(n_times, n_pairs, n_chan, 4) crosses corrected from what mwalib reads, (n_times, n_bl, n_chan, 4).

    sigma by bisection of the levels, rho by a fixed point of four terms of the series.
    """
    n = 128
    row = {(i, j): i * n - i * (i - 1) // 2 + j - i for i in antennas for j in antennas if i <= j}
    c = {}
    for a in antennas:
        variance = raw[:, row[a, a]][..., [0, 3]].real / SAMPLES
        low, high = np.full(variance.shape, 0.3), np.full(variance.shape, 100.0)
        for _ in range(60):
            middle = (low + high) / 2
            above = np.vectorize(reference.quantised_variance)(middle) > variance
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        terms = [
            np.vectorize(lambda s, m=m: reference.van_vleck_coefficient(m, s))(low) for m in (1, 3, 5, 7)
        ]
        c[a] = low, terms
    out = np.empty((len(raw), len(pairs), raw.shape[2], 4), np.complex128)
    for at, (i, j) in enumerate(pairs):
        for p, q in np.ndindex(2, 2):
            b = [c[i][1][k][..., p] * c[j][1][k][..., q] for k in range(4)]
            v = raw[:, row[i, j], :, 2 * p + q] / SAMPLES
            parts = []
            for k in (v.real, v.imag):
                rho = k / b[0]
                for _ in range(30):
                    rho = (k - b[1] * rho**3 / 6 - b[2] * rho**5 / 120 - b[3] * rho**7 / 5040) / b[0]
                parts.append(rho)
            size = SAMPLES * c[i][0][..., p] * c[j][0][..., q]
            out[:, at, :, 2 * p + q] = size * (parts[0] + 1j * parts[1])
    return out


def test_detection_sees_corrected_amplitudes(simulated, tmp_path):
    """Interference that fills the quantiser: the correlator shows less of it than there was."""
    sim = simulated(like="legacy-128", fine_khz=40.0, duration_s=24.0)
    shutil.copy(sim.metafits, tmp_path)
    rng = np.random.default_rng(3)
    strong = rng.random((12, 32)) < 0.03
    for path in sim.raw:
        with fits.open(path) as hdus:
            for hdu, loud in zip(hdus[1:], strong, strict=True):
                products = rng.normal(0, 0.03 * SAMPLES, (32, 33024, 2)).astype(np.float32)
                for slot in range(256):
                    at = 2 * (slot // 2) * (slot // 2 + 1) + 4 * (slot // 2) + 3 * (slot % 2)
                    products[:, at, 0] = np.where(loud, rng.uniform(38, 44), rng.uniform(2, 4)) * SAMPLES
                hdu.data = products.reshape(32, -1)
            hdus.writeto(tmp_path / path.name)
    metafits = tmp_path / sim.metafits.name
    antennas = [0, 3, 40, 77, 127]
    found = {}
    for wanted in (True, False):
        plan = mwaconvert.open(metafits).plan(
            **NOTHING, **UNFLAGGED, van_vleck=wanted, sel_ants=tuple(antennas), max_memory_gib=4
        )
        found[wanted] = find_flags(plan, lambda _: None).mask.unpacked(slice(None), 0)
        if wanted:
            corrected = plan
    detection = corrected.detection
    pairs = [(int(corrected.header.antenna1[r]), int(corrected.header.antenna2[r])) for r in detection.rows]
    assert len(pairs) == 10
    expected = slowly_corrected(read_with_mwalib(metafits).vis[:, 0], antennas, pairs)
    with KeptImages(corrected, detection) as images:
        images.prepare(lambda _: None)
        seen = images.read(slice(0, 10), slice(0, 1))
    np.testing.assert_allclose(seen, np.abs(expected).transpose(1, 3, 0, 2), rtol=3e-6)
    vis = np.ascontiguousarray(expected.transpose(1, 0, 2, 3)).astype(np.complex64)
    cells = flag_baselines(vis, np.zeros((12, 32), bool), RfiStrategy()).transpose(1, 0, 2)
    np.testing.assert_array_equal(found[True][:, detection.rows], cells)
    assert found[True][:, detection.rows][strong.nonzero()[0], :, strong.nonzero()[1]].mean() > 0.95
    assert found[False][:, detection.rows][strong.nonzero()[0], :, strong.nonzero()[1]].mean() < 0.2
