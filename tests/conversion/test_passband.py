"""Coarse-channel response: golden numbers of the published tables, and the sum written out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cotter_csv import FOLDER
from reference import passband_mean

from mwaconvert.conversion.tables.passband import _SERIES, choose_passband, passband
from mwaconvert.observation.metafits import read_metadata

GOLDEN = {
    ("cotter", "legacy", 32): (
        ".508289 .568699 .676643 .796744 .897511 .963205 .994968 1.003952 1.002838 1.000400 1.000139 "
        "1.001658 1.003057 1.003015 1.001696 1.000351 1.000167"
    ),
    ("jake", "mwax", 32): (
        ".503146 .538848 .632758 .752547 .863388 .942913 .986436 1.002399 1.003768 1.001144 .999955 1.001001 "
        "1.002664 1.003226 1.002278 1.000772 1.000065"
    ),
    ("jake", "mwax", 16): ".512294 .636010 .859325 .982958 1.003313 1.000253 1.002515 1.002205 1.000253",
    ("jake_oversampled", "mwax", 32): (".969844 1.044934 1.049811 1.000461 .963905 .967734 .997559 1.020446"),
}


@pytest.mark.parametrize(("kind", "correlator", "n_fine"), GOLDEN)
def test_golden(kind, correlator, n_fine):
    expected = [float(v) for v in GOLDEN[kind, correlator, n_fine].split()]
    response = passband(kind, correlator, n_fine)
    assert response.shape == (n_fine,)
    np.testing.assert_allclose(response[: len(expected)], expected, rtol=0, atol=1.5e-6)


def test_legacy_is_not_symmetric_and_mwax_is():
    assert passband("cotter", "legacy", 32)[-1] == pytest.approx(0.517353, abs=1e-6)
    for n_fine in (16, 32, 128):
        response = passband("jake", "mwax", n_fine)
        np.testing.assert_allclose(response[1:], response[:0:-1], atol=1e-12)


@pytest.mark.parametrize("kind", ["jake", "jake_oversampled", "cotter"])
@pytest.mark.parametrize(
    ("correlator", "n_fine"),
    [("legacy", 128), ("legacy", 64), ("legacy", 2), ("mwax", 32), ("mwax", 25), ("mwax", 1), ("mwax", 48)],
)
def test_equals_the_sum_written_out(kind, correlator, n_fine):
    n_points = 128 if kind == "cotter" else 6400
    if n_points % n_fine:
        n_points = next(n for n in range(6400, 9999) if n % n_fine == 0)
    series = _SERIES[kind][1:]
    response = passband(kind, correlator, n_fine)
    for channel in {0, 1, n_fine // 2, n_fine - 1} & set(range(n_fine)):
        twin = passband_mean(series, n_points, correlator, n_fine, channel)
        assert response[channel] == pytest.approx(twin, abs=1e-13)


@pytest.mark.parametrize(
    "width_khz", [0.2, 0.4, 0.8, 1, 1.6, 2, 3.2, 4, 5, 6.4, 8, 10, 12.8, 16, 20, 25.6, 32]
)
def test_fine_channels_average_to_coarse_ones(width_khz):
    """Means over the whole coarse channel agree at every MWAX width."""
    n_fine = round(1280 / width_khz)
    mean = passband("jake", "mwax", n_fine).mean()
    assert mean == pytest.approx(0.905356359, abs=1e-9)


def test_none():
    assert passband("none", "mwax", 7).tolist() == [1.0] * 7


@pytest.mark.parametrize(
    ("changes", "choice", "kind", "words"),
    [
        ({}, "auto", "cotter", "legacy"),
        ({"correlator": "mwax"}, "auto", "jake", "MWAX"),
        ({"correlator": "mwax", "oversampled": True}, "auto", "jake_oversampled", "OVERSAMP=1"),
        ({"correlator": "mwax", "oversampled": True, "deripple": True}, "auto", "none", "DERIPPLE=1"),
        ({"deripple": True}, "jake", "jake", "although the correlator took it out"),
        ({"correlator": "mwax"}, "none", "none", "skipped"),
        ({"correlator": "mwax"}, "cotter", "cotter", "as asked for"),
    ],
)
def test_choice(mwa_data: Path, changes, choice, kind, words):
    metadata = replace(read_metadata(mwa_data / FOLDER / "1254670392.metafits"), **changes)
    chosen, step = choose_passband(metadata, choice)
    assert chosen == kind
    assert words in step.reason
