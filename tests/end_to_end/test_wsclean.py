"""WSClean images what the converter wrote, and finds the source where it was put."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from sky import CENTRE, FLUX_JY

import mwaconvert

pytestmark = pytest.mark.external

SOURCE = (0.35, -26.75)
PIXELS = 768
PIXEL_ARCSEC = 6.0


def brightest(image):
    """x, y of the peak: of a parabola through the largest pixel and its neighbours."""
    y, x = np.unravel_index(np.argmax(image), image.shape)

    def vertex(before, peak, after):
        return 0.5 * (before - after) / (before - 2 * peak + after)

    return x + vertex(*image[y, x - 1 : x + 2]), y + vertex(*image[y - 1 : y + 2, x])


@pytest.mark.parametrize(
    ("kind", "average"),
    [
        ({"like": "legacy-128", "coarse_channels": 1}, {}),
        ({"like": "mwax-128", "coarse_channels": 2}, {"time_factor": 2, "freq_res_khz": 160}),
        ({"like": "mwax-256", "coarse_channels": (131, 132, 134), "fine_khz": 160.0}, {}),
    ],
    ids=["legacy", "averaged", "picket fence"],
)
def test_position(simulated, tmp_path, kind, average):
    if shutil.which("wsclean") is None:
        pytest.skip("wsclean is not installed (Debian package wsclean)")
    sim = simulated(
        **{"fine_khz": 40.0, "duration_s": 4.0, **kind}, sources=((*SOURCE, FLUX_JY),), noise_jy=5.0
    )
    plan = mwaconvert.open(sim.metafits).plan(geometry="exact", **average)
    plan.run(tmp_path / "a.ms")
    options = f"-j 2 -name image -size {PIXELS} {PIXELS} -scale {PIXEL_ARCSEC}asec -weight uniform -niter 50"
    command = ["wsclean", *options.split(), "-no-update-model-required"]
    if len(plan.header.spectral_windows) > 1:
        command += ["-reorder"]  # which WSClean demands for several windows in one set
    done = subprocess.run(
        [*command, "a.ms"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    with fits.open(tmp_path / "image-image.fits") as hdus:
        header, image = hdus[0].header, hdus[0].data[0, 0]
        assert header["TELESCOP"] == "MWA"
        assert (header["CRVAL1"], header["CRVAL2"]) == pytest.approx(CENTRE)
        beam_deg = header["BMIN"]
        wcs = WCS(header, naxis=2)
    assert image.max() == pytest.approx(FLUX_JY, rel=0.02)
    found = wcs.pixel_to_world(*brightest(image))
    truth = SkyCoord(*SOURCE, unit="deg", frame="fk5")
    assert found.separation(truth).deg < 0.1 * beam_deg
    # and the source could not be taken for its mirror image
    assert truth.separation(SkyCoord(*CENTRE, unit="deg", frame="fk5")).deg > 5 * beam_deg
