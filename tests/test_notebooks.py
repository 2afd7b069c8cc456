"""What a notebook shows, and tables and datasets of other packages."""

import subprocess
import sys

import numpy as np
import pytest

import mwaconvert
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.spectra.spectra import Spectra


@pytest.mark.parametrize("ending", [".png", ".html"])
def test_a_report_shows_its_picture(small, tmp_path, ending):
    qa = tmp_path / f"look{ending}"
    report = mwaconvert.convert(small, tmp_path / "a.uvfits", rfi="none", qa=qa)
    shown = report._repr_html_()
    assert shown.startswith("<pre>observation")
    assert 'src="data:image/png;base64,' in shown
    assert report.picture == qa
    qa.unlink()
    assert "<img" not in report._repr_html_()


def found() -> Spectra:
    noise = np.random.default_rng(1).normal(0, 1, (16, 3000))
    noise[:, 1000:1004] += 3
    return Spectra(noise, 1200.0 + 10 * np.arange(16), 1e-3)


def test_candidates_are_tables():
    search = found().search(0, 100)
    table, frame = search.to_table(), search.to_pandas()
    assert str(table["dm"].unit) == "pc / cm3"
    assert list(frame.columns) == table.colnames
    np.testing.assert_array_equal(frame["snr"], table["snr"])
    assert frame["time_s"][0] == pytest.approx(1.002, abs=1e-3)


def test_a_plan_as_a_dataset(small):
    plan = mwaconvert.open(small).plan(freq_res_khz=80, time_res_s=4, rfi="none")
    data = plan.to_xarray()
    assert dict(data.sizes) == {
        "time": 2,
        "baseline_id": 36,
        "frequency": 32,
        "polarization": 4,
        "uvw_label": 3,
    }
    for block in plan.blocks():
        held = data.isel(time=block.time_index, baseline_id=block.rows)
        np.testing.assert_array_equal(held.VISIBILITY, block.vis)
        np.testing.assert_array_equal(held.FLAG, np.signbit(block.weight))
        np.testing.assert_array_equal(held.WEIGHT, np.abs(block.weight))
        np.testing.assert_array_equal(held.UVW, block.uvw_m)
    header = plan.header
    assert data.baseline_antenna2_name[-1] == header.metadata.antennas[header.antenna2[-1]].name
    np.testing.assert_allclose(data.time / 86400 + 40587, header.time_mjd, rtol=0, atol=1e-9)
    assert float(data.frequency[0]) == header.spectral_windows[0].freq_hz[0]


def test_more_than_the_memory_is_refused(small, monkeypatch):
    monkeypatch.setattr("mwaconvert.conversion.to_xarray.free_bytes", lambda: 1000)
    with pytest.raises(ResourceError, match=r"to_xarray needs .* 1 kB are free; average more"):
        mwaconvert.open(small).plan(rfi="none").to_xarray()


@pytest.mark.parametrize("package", ["pandas", "xarray"])
def test_what_to_install_is_said(small, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"mwaconvert\[{package}\]"):
        found().search(0, 100).to_pandas() if package == "pandas" else mwaconvert.open(
            small
        ).plan().to_xarray()


def test_the_library_loads_none_of_them(small):
    code = (
        "import sys, mwaconvert, mwaconvert.transients.products as products, mwaconvert.conversion.planner\n"
        f"repr(mwaconvert.open({str(small)!r}).plan(rfi='none')), products.run\n"
        "print(sorted({'pandas', 'xarray', 'IPython', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
