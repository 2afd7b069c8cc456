"""`mwaconvert qa`: existing files of this and other programs give the picture of the run that wrote them."""

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import mwaconvert
from mwaconvert.cli.main import main
from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.visibilities.reader import open_visibilities
from mwaconvert.qa.collector import QaCollector
from mwaconvert.qa.files import draw_file
from mwaconvert.simulate import simulate


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Plan, its report, and the folder of a.uvfits, a.ms: 10 tiles, one flagged; one integration lost."""
    folder = tmp_path_factory.mktemp("files")
    metafits = simulate(
        folder / "raw",
        "mwax-128",
        n_tiles=10,
        duration_s=8,
        coarse_channels=2,
        noise_jy=5,
        missing=["ch=1,t=2"],
        flagged_tiles=[5],
    ).metafits
    plan = mwaconvert.open(metafits).plan()
    return plan, plan.run([folder / "a.uvfits", folder / "a.ms"]), folder


def gather(file, path):
    data = QaCollector(file.header, path)
    for block in file.blocks():
        data.add(block)
    return data


@pytest.mark.parametrize("name", ["a.uvfits", "a.ms"])
def test_a_file_looks_like_its_run(written, tmp_path, name):
    plan, report, folder = written
    run = QaCollector(plan.header, tmp_path / "run.png")
    for block in plan.blocks():
        run.add(block)
    file = open_visibilities(folder / name)
    data = gather(file, tmp_path / "file.png")
    np.testing.assert_allclose(data.amplitude, run.amplitude, rtol=1e-6)
    np.testing.assert_array_equal(data.occupancy, run.occupancy)
    np.testing.assert_allclose(data.autos, run.autos, rtol=1e-6)
    np.testing.assert_allclose(data.uv_m, run.uv_m, rtol=1e-5, atol=1e-3)
    header = file.header
    assert [a.name for a in header.metadata.antennas] == [a.name for a in plan.metadata.antennas]
    np.testing.assert_array_equal(header.antenna_flagged, plan.header.antenna_flagged)
    np.testing.assert_allclose(header.time_mjd, plan.header.time_mjd, atol=0.01 / 86400)
    np.testing.assert_allclose(header.interval_s, plan.header.interval_s)
    found = draw_file(folder / name, tmp_path / "a.html")
    np.testing.assert_allclose(found.occupancy.antenna, report.occupancy.antenna)
    np.testing.assert_allclose(found.occupancy.timestep, report.occupancy.timestep)
    np.testing.assert_allclose(found.quality.noise, report.quality.noise, rtol=1e-6)
    np.testing.assert_allclose(found.quality.channel_noise, report.quality.channel_noise, rtol=1e-6)
    page = (tmp_path / "a.html").read_text()
    assert "Noisiest tiles" in page
    assert page.count("data:image/png;base64") == 10


def test_bands_stand_in_ascending_frequency(tmp_path):
    metafits = simulate(
        tmp_path, "mwax-128", n_tiles=4, duration_s=4, coarse_channels=[100, 101, 120]
    ).metafits
    plan = mwaconvert.open(metafits).plan()
    plan.run(tmp_path / "a.ms")
    file = open_visibilities(tmp_path / "a.ms")
    assert [w.n_chan for w in file.header.spectral_windows] == [64, 32]
    blocks = [(b.vis.copy(), b.flags) for b in file.blocks()]
    for (vis, flags), expected in zip(blocks, plan.blocks(), strict=True):
        np.testing.assert_array_equal(vis, expected.vis)
        np.testing.assert_array_equal(flags, expected.flags)


def test_rows_in_any_order(written, tmp_path):
    _, _, folder = written
    with fits.open(folder / "a.uvfits") as hdus:
        header, start = hdus[0].header, hdus[0].fileinfo()["datLoc"]
    content = np.fromfile(folder / "a.uvfits", np.uint8)
    n_groups = header["GCOUNT"]
    size = 4 * (header["PCOUNT"] + 12 * header["NAXIS4"])
    groups = content[start : start + n_groups * size].reshape(n_groups, size)
    groups[:] = np.random.default_rng(1).permutation(groups)
    content.tofile(tmp_path / "b.uvfits")
    first, second = (open_visibilities(p) for p in (folder / "a.uvfits", tmp_path / "b.uvfits"))
    for a, b in zip(first.blocks(), second.blocks(), strict=True):
        assert a.vis.tobytes() == b.vis.tobytes()
        assert a.weight.tobytes() == b.weight.tobytes()
        np.testing.assert_array_equal(a.uvw_m, b.uvw_m)


def test_missing_rows_are_flagged(written, tmp_path):
    from casacore.tables import table

    _, _, folder = written
    with table(str(folder / "a.ms"), ack=False) as main, main.selectrows(range(12, main.nrows())) as some:
        some.copy(str(tmp_path / "b.ms"), deep=True).close()
    file = open_visibilities(tmp_path / "b.ms")
    block = next(file.blocks())
    assert block.flags[:12].all()
    assert not block.flags[12:].all()


def test_file_of_pyuvdata(written, tmp_path):
    from pyuvdata import UVData

    _, _, folder = written
    uv = UVData()
    uv.read(folder / "a.uvfits")
    uv.write_uvfits(str(tmp_path / "b.uvfits"))
    first, second = (open_visibilities(p) for p in (folder / "a.uvfits", tmp_path / "b.uvfits"))
    one, other = (gather(f, tmp_path / f"{k}.png") for k, f in enumerate((first, second)))
    np.testing.assert_allclose(other.amplitude, one.amplitude, rtol=1e-5)
    np.testing.assert_array_equal(other.occupancy, one.occupancy)


def run(*words):
    return CliRunner().invoke(main, ["qa", *map(str, words)])


def test_verb(written, tmp_path):
    _, _, folder = written
    done = run(folder / "a.uvfits", folder / "a.ms", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ms.png", "a.uvfits.png"]
    assert "noise 5" in done.output
    assert "% flagged besides whole tiles and channels" in " ".join(done.output.split())
    assert "1 tile throughout: Tile016" in done.output
    again = run(folder / "a.ms", "-o", tmp_path)
    assert again.exit_code == 2
    assert "exists already" in again.output
    assert run(folder / "a.ms", "-o", tmp_path, "--overwrite", "-q").output == ""


def test_refusals(written, tmp_path):
    _, _, folder = written
    whole = (folder / "a.uvfits").read_bytes()
    (tmp_path / "short.uvfits").write_bytes(whole[:200_000])
    (tmp_path / "text.uvfits").write_text("no FITS file at all")
    (tmp_path / "folder.ms").mkdir()
    (tmp_path / "empty.ms").mkdir()
    (tmp_path / "empty.ms" / "table.dat").write_bytes(b"nothing")
    fits.PrimaryHDU(np.zeros((3, 3), np.float32)).writeto(tmp_path / "image.fits")
    for name, message in (
        ("none.uvfits", "there is no such file"),
        ("short.uvfits", "short.uvfits: "),
        ("text.uvfits", "expected a uvfits file or a measurement set, this is neither"),
        ("folder.ms", "is a directory, but no measurement set"),
        ("empty.ms", "is not a measurement set that casacore can read"),
        ("image.fits", "expected a uvfits file, but it has no table AIPS AN"),
    ):
        done = run(tmp_path / name, "-o", tmp_path / "a.png")
        assert done.exit_code == 2, (name, done.output)
        assert message in done.output, (name, done.output)
        assert not (tmp_path / "a.png").exists()
    done = run(folder / "a.uvfits", folder / "a.ms", "-o", tmp_path / "a.png")
    assert done.exit_code == 2
    assert "give -o a folder that exists" in done.output
    done = run(folder / "a.ms", "-o", tmp_path / "a.pdf")
    assert done.exit_code == 2
    assert "unknown kind of picture" in done.output


def test_other_polarisations_are_refused(written, tmp_path):
    _, _, folder = written
    with fits.open(folder / "a.uvfits", memmap=False) as hdus:
        hdus[0].header["CRVAL3"] = -1.0
        hdus.writeto(tmp_path / "rr.uvfits")
    with pytest.raises(FormatError, match="expected linear polarisations with XX and YY, found the codes -1"):
        open_visibilities(tmp_path / "rr.uvfits")
    with pytest.raises(InputError, match="no such file"):
        open_visibilities(tmp_path / "none")
