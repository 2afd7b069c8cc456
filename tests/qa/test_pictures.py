"""The picture: its sums are those of the blocks, in bounded memory, and it draws whatever it is given."""

import base64
import dataclasses
import re
import struct
import zlib

import numpy as np
import pytest
from matplotlib.figure import Figure

import mwaconvert
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.qa import collector
from mwaconvert.qa.collector import QaCollector
from mwaconvert.qa.drawing import FrequencyAxis, edges_between, limits, time_edges
from mwaconvert.qa.figure import draw_occupancy
from mwaconvert.qa.page import write_picture
from mwaconvert.visibilities.model import Block, SpectralWindow, VisHeader


@pytest.fixture(scope="module")
def passed(small, tmp_path_factory):
    """Header, report and copies of the blocks of one run."""
    plan = mwaconvert.open(small).plan()
    blocks = [
        Block(b.time_index, b.rows, b.vis.copy(), b.weight.copy(), b.uvw_m.copy()) for b in plan.blocks()
    ]
    return plan.header, plan.run(tmp_path_factory.mktemp("qa") / "a.uvfits"), blocks


def gather(header: VisHeader, blocks: list[Block], path) -> QaCollector:
    data = QaCollector(header, path)
    for block in blocks:
        data.add(block)
    return data


def split(blocks: list[Block], n: int) -> list[Block]:
    """The same data in blocks of n rows."""
    parts = []
    for b in blocks:
        for k in range(0, len(b.vis), n):
            rows = slice(b.rows.start + k, min(b.rows.start + k + n, b.rows.stop))
            part = slice(k, k + n)
            parts.append(Block(b.time_index, rows, b.vis[part], b.weight[part], b.uvw_m[part]))
    return parts


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG that is whole."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 4 : at + 8 + length]
        assert zlib.crc32(body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        at += 12 + length
    assert kind == b"IEND"
    return struct.unpack(">II", data[16:24])


def test_sums_are_those_of_the_blocks(passed, tmp_path):
    header, _, blocks = passed
    n_times, n_rows, n_channels = 4, 36, 64
    amplitude = np.full((n_times, n_rows, n_channels, 2), np.nan)
    autos = amplitude.copy()
    flags = np.zeros((n_times, n_rows, n_channels), bool)
    for b in blocks:
        parallel = b.vis[..., [0, 3]].astype(np.complex128)
        good = ~b.flags[..., [0, 3]]
        amplitude[b.time_index, b.rows] = np.where(good, np.abs(parallel), np.nan)
        autos[b.time_index, b.rows] = np.where(good, parallel.real, np.nan)
        flags[b.time_index, b.rows] = b.flags[..., 0]
    cross = header.antenna1 != header.antenna2
    whole = (header.antenna1 != 5) & (header.antenna2 != 5) & cross

    data = gather(header, blocks, tmp_path / "a.png")
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="empty slice"):
        expected = np.nanmean(amplitude[:, cross], axis=(1, 3))
    np.testing.assert_allclose(data.amplitude, expected, rtol=1e-5)
    np.testing.assert_allclose(data.occupancy, flags[:, whole].mean(axis=1), atol=1e-6)
    for pol in range(2):
        with pytest.warns(RuntimeWarning, match="empty slice"):
            expected = np.nanmean(autos[:, ~cross][..., pol], axis=0)
        np.testing.assert_allclose(data.autos[pol], expected, rtol=1e-5)
    assert np.isnan(data.autos[:, 5]).all()


@pytest.mark.parametrize("n", [1, 5, 36])
def test_any_block_size_gives_the_same(passed, tmp_path, n):
    header, _, blocks = passed
    one = gather(header, blocks, tmp_path / "a.png")
    other = gather(header, split(blocks, n), tmp_path / "b.png")
    np.testing.assert_allclose(other.amplitude, one.amplitude, rtol=1e-5)
    np.testing.assert_array_equal(other.occupancy, one.occupancy)
    np.testing.assert_allclose(other.autos, one.autos)


def test_flagged_values_do_not_matter(passed, tmp_path):
    header, _, blocks = passed
    worst = np.array([np.nan, np.inf, -1e38, 1e38j], np.complex64)
    spoilt = [dataclasses.replace(b, vis=np.where(b.flags, worst, b.vis)) for b in blocks]
    one = gather(header, blocks, tmp_path / "a.png")
    other = gather(header, spoilt, tmp_path / "b.png")
    np.testing.assert_array_equal(other.amplitude, one.amplitude)
    np.testing.assert_array_equal(other.autos, one.autos)


def windows(*ranges: tuple[float, int]) -> tuple[SpectralWindow, ...]:
    """Spectral windows of 10 kHz channels from (MHz of the first, number)."""
    found, at = [], 0
    for first_mhz, n in ranges:
        freq, width = first_mhz * 1e6 + 1e4 * np.arange(n), np.full(n, 1e4)
        found.append(SpectralWindow(slice(at, at + n), freq, width, width, (0,)))
        at += n
    return tuple(found)


def longer(header: VisHeader, n_times: int, spectral_windows: tuple[SpectralWindow, ...]) -> VisHeader:
    """The header of a longer observation with other channels."""
    mjd = header.time_mjd[0] + np.arange(n_times) * 2 / 86400
    seconds = np.full(n_times, 2.0)
    return dataclasses.replace(
        header,
        spectral_windows=spectral_windows,
        time_mjd=mjd,
        centroid_mjd=mjd,
        interval_s=seconds,
        exposure_s=seconds,
    )


def random_block(header: VisHeader, time_index: int, rng: np.random.Generator) -> Block:
    n_rows = len(header.antenna1)
    shape = (n_rows, sum(w.n_chan for w in header.spectral_windows), 4)
    vis = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    weight = np.where(rng.random(shape[:2]) < 0.2, -1, 1)[..., None] * np.ones(4, np.float32)
    return Block(time_index, slice(0, n_rows), vis, weight.astype(np.float32), rng.normal(size=(n_rows, 3)))


def test_memory_does_not_grow_with_the_data(passed, tmp_path, rng):
    """Pixels are binned, and do not reach across spectral windows."""
    header = longer(passed[0], 2500, windows((100, 3001), (200, 10), (220, 1)))
    data = QaCollector(header, tmp_path / "a.png")
    assert (data.time_bin, data.channel_bin) == (3, 4)
    assert data.amplitude.shape == (834, 751 + 3 + 1)
    assert data.autos.shape == (2, 8, 755)
    block = random_block(header, 7, rng)
    data.add(block)
    cross = header.antenna1 != header.antenna2
    good = ~block.flags[..., [0, 3]]
    values = np.where(good, np.abs(block.vis[..., [0, 3]]), 0)[cross]
    for pixel, channels in (
        (0, slice(0, 4)),
        (750, slice(3000, 3001)),
        (753, slice(3009, 3011)),
        (754, slice(3011, 3012)),
    ):
        expected = values[:, channels].sum() / good[cross][:, channels].sum()
        assert data.amplitude[2, pixel] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(data.amplitude[[1, 3]]).all()


def test_uv_points_are_sampled(passed, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(collector, "MAX_UV_POINTS", 50)
    header = longer(passed[0], 40, windows((100, 4)))
    data = QaCollector(header, tmp_path / "a.png")
    for t in range(40):
        data.add(random_block(header, t, rng))
    assert 12 <= len(data.uv_m) <= 60


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_png(passed, tmp_path):
    header, report, blocks = passed
    write_picture(gather(header, blocks, tmp_path / "a.png"), report)
    width, height = png_size((tmp_path / "a.png").read_bytes())
    assert width > 1200
    assert height > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_html_needs_nothing_else(passed, tmp_path):
    header, report, blocks = passed
    report = dataclasses.replace(report, notes=("5 < 6 & 7",))
    write_picture(gather(header, blocks, tmp_path / "a.html"), report)
    text = (tmp_path / "a.html").read_text()
    sources = re.findall(r'src="([^"]+)"', text)
    assert len(sources) == 10
    for source in sources:
        head, _, body = source.partition(",")
        assert head == "data:image/png;base64"
        png_size(base64.b64decode(body, validate=True))
    assert not re.search(r"https?://|<link|<script", text)
    for words in ("5 &lt; 6 &amp; 7", "cable delays", "a.uvfits", "numpy", "lost to time averaging"):
        assert words in text


@pytest.mark.parametrize("case", ["all flagged, picket fence", "no autos, one cell", "only autos"])
def test_draws_whatever_it_is_given(passed, tmp_path, rng, case):
    header, report, _ = passed
    report = dataclasses.replace(report, quality=None)
    header = longer(header, 3, windows((100, 8), (120, 8), (140, 8)))
    if "one cell" in case:
        header = longer(header, 1, windows((100, 1)))
    keep = np.ones(len(header.antenna1), bool)
    if "no autos" in case:
        keep = header.antenna1 != header.antenna2
    elif "only autos" in case:
        keep = header.antenna1 == header.antenna2
    header = dataclasses.replace(header, antenna1=header.antenna1[keep], antenna2=header.antenna2[keep])
    data = QaCollector(header, tmp_path / "a.png")
    for t in range(len(header.time_mjd)):
        block = random_block(header, t, rng)
        if "all flagged" in case:
            block.weight[:] = -1
        data.add(block)
    write_picture(data, report)
    png_size((tmp_path / "a.png").read_bytes())


def test_gaps_between_windows_show():
    band = FrequencyAxis.of(windows((100, 128), (101.28, 128), (103.84, 128)))
    assert band.to_scale
    np.testing.assert_allclose(band.left, [99.995, 101.275, 103.835])
    fence = FrequencyAxis.of(windows((100, 128), (150, 128), (300, 128)))
    assert not fence.to_scale
    assert (fence.left[1:] - fence.right[:-1] > 0.1).all()
    np.testing.assert_allclose(fence.right - fence.left, 1.28)


def test_shorter_timesteps_and_channels_are_drawn_so(passed, tmp_path):
    mjd, seconds = passed[0].time_mjd[0] + np.array([5, 15, 22]) / 86400, np.array([10.0, 10, 4])
    width = np.array([3e4, 3e4, 1e4])
    window = SpectralWindow(slice(0, 3), 1e8 + np.array([0, 3e4, 5e4]), width, width, (0,))
    header = dataclasses.replace(
        longer(passed[0], 3, (window,)), time_mjd=mjd, centroid_mjd=mjd, interval_s=seconds
    )
    data = QaCollector(header, tmp_path / "a.png")
    ax = Figure().add_subplot()
    np.testing.assert_allclose(time_edges(ax, data), [0, 10, 20, 24], atol=1e-4)
    axis = FrequencyAxis.of((window,))
    np.testing.assert_allclose(axis.pixel_edges(1)[0], [99.985, 100.015, 100.045, 100.055])
    np.testing.assert_allclose(axis.pixel_edges(2)[0], [99.985, 100.045, 100.055])
    draw_occupancy(ax, data)
    np.testing.assert_allclose(ax.get_ylim(), [24, 0], atol=1e-4)
    data.time_bin = 2
    np.testing.assert_allclose(time_edges(ax, data), [0, 20, 24], atol=1e-4)


def test_edges_between_what_does_not_touch():
    """Gaps are shared, and edges ascend even where neighbours overlap."""
    np.testing.assert_allclose(edges_between(np.array([0.0, 4]), np.array([2.0, 2])), [-1, 2, 5])
    found = edges_between(np.array([0.0, 1, 2]), np.array([1.0, 10, 1]))
    assert (np.diff(found) >= 0).all()


def test_limits_are_never_equal():
    assert limits(np.full(5, 3.0), 1, 99, 0.2) == pytest.approx((2.9, 3.1))
    assert limits(np.full(5, np.nan), 1, 99, 0.2) == (1, 2)


def test_refused_before_the_work(passed, tmp_path, monkeypatch):
    header = passed[0]
    with pytest.raises(InputError, match=r"end the name in \.png or \.html"):
        QaCollector(header, tmp_path / "a.pdf")
    with pytest.raises(ResourceError, match="does not exist"):
        QaCollector(header, tmp_path / "nowhere" / "a.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match="`overwrite`"):
        QaCollector(header, tmp_path / "a.png")
    QaCollector(header, tmp_path / "a.png", overwrite=True)
    monkeypatch.setattr(collector, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"matplotlib.*pip install 'mwaconvert\[plot\]'"):
        QaCollector(header, tmp_path / "b.png")


def test_nothing_is_left_of_a_picture_that_fails(passed, tmp_path, monkeypatch):
    header, report, blocks = passed
    data = gather(header, blocks, tmp_path / "a.png")

    def full(data, report, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mwaconvert.qa.page.write_png", full)
    with pytest.raises(ResourceError, match=r"a\.png: no space left on its disk"):
        write_picture(data, report)
    assert list(tmp_path.iterdir()) == []
