"""Van Vleck correction of whole conversions of legacy data."""

import logging
import shutil

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from conversions import NOTHING, UNFLAGGED, collect

import mwaconvert
from mwaconvert import _core
from mwaconvert.cli.main import main
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
    rows = plan.file_rows
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
    assert plan.van_vleck_samples == SAMPLES * value
    assert any(f"scale {value:g} ({key} of the files)" in step.reason for step in plan.steps)


def test_off_by_default(quantised, mwax):
    plan = mwaconvert.open(quantised[0]).plan()
    assert plan.van_vleck_samples == 0
    assert any(s.name == "Van Vleck correction" and s.reason == "not asked for" for s in plan.steps)
    with pytest.raises(InputError, match="these are MWAX data"):
        mwaconvert.open(mwax.metafits).plan(van_vleck=True)
    result = CliRunner().invoke(main, [str(mwax.metafits), "--van-vleck", "--dry-run"])
    logging.captureWarnings(False)
    assert result.exit_code == 2
    assert "leave the option out" in result.stderr
