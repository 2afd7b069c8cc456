"""Figures: what the axes show, and what the tutorial's scripts got wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mwaconvert.errors import InputError
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.recording import Frame, Recording
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra
from mwaconvert.transients.figures import (
    Look,
    Panel,
    candidate_figure,
    find_peak,
    limits,
    pulse_of,
    waterfall_figure,
)

DT = 0.00098304
FREQS = 400.1953125 + 3.125 * (np.arange(128) + 0.5)


def chime(peak: int, n: int = 400, height: float = 3.0) -> Spectra:
    """A burst at a sample, as get_wfall.py saves it; channels 30 to 39 are masked."""
    data = np.random.default_rng(1).normal(0, 0.1, (128, n)).astype(np.float32)
    data[:, max(0, peak - 1) : peak + 2] += height * 0.1
    data[:, peak] += height * 0.1
    return Spectra(data, FREQS, DT, dm=87.8).masked(slice(30, 40))


def axes(*panels: Panel, look: Look | None = None):
    figure = waterfall_figure(panels, look)
    found = figure.get_axes()
    return figure, found[0::2], found[1::2]


def test_single_panel():
    figure, (top,), (main,) = axes(Panel(chime(200)))
    assert figure.get_size_inches().tolist() == [4.26, 3.0]
    image = main.images[0]
    left, right, bottom, high = image.get_extent()
    assert image.get_array().shape == (128, 51)  # 25 ms on either side
    assert (left, right) == pytest.approx((-25.5 * DT * 1e3, 25.5 * DT * 1e3))  # not 2 % short on the right
    assert (bottom, high) == pytest.approx((400.1953125, 800.1953125))
    assert main.get_xlim() == top.get_xlim() == pytest.approx((left, right))
    assert [t.get_text() for t in main.get_xticklabels()] == ["\u221220", "0", "20"]
    assert [t.get_text() for t in main.get_yticklabels()] == ["400", "500", "600", "700", "800"]
    assert np.ma.masked_invalid(image.get_array()).mask[30:40].all()
    profile = top.patches[0].get_data()
    assert profile.values.argmax() == 25
    assert (profile.edges[25] + profile.edges[26]) / 2 == pytest.approx(0)
    low, height = top.get_position().get_points()[0][1], main.get_position().get_points()[1][1]
    assert low == pytest.approx(height)  # no gap between profile and waterfall


def test_colours_saturate_at_the_pulse():
    spectra = chime(200)
    shown = np.where(spectra.weights[:, None] > 0, spectra.data, np.nan)
    low, high = limits(shown, 175, 226, (2.5, 97.5))
    assert low == pytest.approx(np.nanpercentile(shown[:, 175:226], 2.5))
    assert high == pytest.approx(np.nanpercentile(shown[:, 134:175], 97.5))
    assert high < shown[0, 200]


@pytest.mark.parametrize("peak", [0, 3, 20, 60, 398])
def test_pulses_near_the_ends(peak):
    _, _, (main,) = axes(Panel(chime(peak)))
    image = main.images[0]
    assert np.isfinite(image.get_clim()).all()
    assert main.get_xlim() == pytest.approx((-25.5 * DT * 1e3, 25.5 * DT * 1e3))
    left, right = image.get_extent()[:2]
    assert left == pytest.approx((max(0, peak - 25) - peak - 0.5) * DT * 1e3)
    assert right == pytest.approx((min(400, peak + 26) - peak - 0.5) * DT * 1e3)


def test_all_masked():
    with pytest.raises(InputError, match="a title: all samples are masked"):
        waterfall_figure([Panel(chime(100).masked(slice(None)), "a title")])
    with pytest.raises(InputError, match="no waterfall"):
        waterfall_figure([])


def test_panels():
    panels = [Panel(chime(100 + 50 * k), name) for k, name in enumerate("ABC")]
    figure, tops, mains = axes(*panels, look=Look(label="(a)"))
    assert [top.get_title() for top in tops] == ["A", "B", "C"]
    assert [main.get_ylabel() for main in mains] == ["Frequency [MHz]", "", ""]
    assert figure.get_suptitle() == "(a)"
    assert figure.get_size_inches().tolist() == [4.26, 3.0]
    assert np.ptp([main.get_position().width for main in mains]) < 1e-9
    figure, _, mains = axes(*panels, *panels, look=Look(columns=2))
    assert figure.get_size_inches().tolist() == [4.26, 9.0]
    other = Panel(Spectra(chime(200).data, FREQS + 1000, DT))
    _, _, mains = axes(panels[0], other)
    assert [
        len(main.get_yticklabels()) > 1 and main.yaxis.get_tick_params()["labelleft"] for main in mains
    ] == [True, True]


def test_labels_are_within_the_figure():
    for spectra in (chime(200), Spectra(chime(200).data, FREQS + 1000, DT)):
        figure, _, (main,) = axes(Panel(spectra, "title"))
        figure.draw_without_rendering()
        box = main.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_a_wide_pulse_wins_over_a_spike():
    profile = np.random.default_rng(2).normal(0, 1, 500)
    profile[300:316] += 4
    profile[50] = 8
    assert 300 <= find_peak(profile) < 316


@pytest.mark.parametrize("when", [0.0, 0.2, 0.39])
def test_candidate_at_the_ends_of_a_file(when):
    """The window is full: it is moved, not cut."""
    stream = ArrayStream(chime(200), Path("a.npz"), "test")
    row = Candidate(time_s=when, time_err_s=1e-3, dm=87.8, dm_err=0.1, snr=9.0, width_s=3 * DT)
    _, main, side, _ = candidate_figure(stream, row).get_axes()
    left, right = main.get_xlim()
    assert right - left == pytest.approx(96 * DT * 1e3)
    assert left <= 0 <= right
    image = np.ma.masked_invalid(main.images[0].get_array())
    assert image.shape[1] == 96
    assert not image.mask[50].any()
    assert side.get_xlim() == pytest.approx((left, right))


def test_what_a_candidate_says_of_itself():
    spectra = replace(
        chime(200), source="FRB", start_mjd=59000.0, recording=Recording(beam=7, frame=Frame.BARYCENTRIC)
    )
    row = Candidate(time_s=200.5 * DT, dm=87.8, dm_err=0.1, snr=9.0, width_s=3 * DT, mjd=59000.0000022)
    figure = candidate_figure(ArrayStream(spectra, Path("a.npz"), "test"), row)
    first, second = figure.get_suptitle().splitlines()
    assert first == "a.npz, FRB, MJD 59000.00000220 (barycentric, not UTC), beam 7"
    assert "S/N = 9.0" in second
    _, _, _, below = figure.get_axes()
    (line, _) = below.lines
    widths, snrs = line.get_data()
    assert widths[np.argmax(snrs)] == pytest.approx(3 * DT * 1e3)
    # 118 channels: two of three samples are 3 sigma high, one is 6; a channel's deviation has the pulse in it
    assert 0.8 < snrs.max() / (12 / np.sqrt(3) * np.sqrt(118)) < 1
    assert (
        "beam 3"
        in candidate_figure(ArrayStream(spectra, Path("a.npz"), "test"), replace(row, beam=3)).get_suptitle()
    )


def test_width_of_a_pulse():
    spectra = chime(200, n=2000)
    assert pulse_of(spectra)[0] == pulse_of(spectra, 200 * DT)[0] in (2, 4)
    assert pulse_of(spectra)[1] > 50
    assert pulse_of(spectra, 0.9)[1] < 7  # another time
    assert pulse_of(chime(3, n=9)) == (1, 0.0)
