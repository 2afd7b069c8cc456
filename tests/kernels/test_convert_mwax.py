"""What only the MWAX kernel does: weights of the file, rows with gaps, autocorrelations."""

import numpy as np
import pytest
from cases import FLAGGED, GOOD, MISSING, Shape, check_against_twin, check_bit_equal, mwax_case

from mwaconvert.errors import FormatError, InputError


def test_many_channels_and_rows_of_several_tiles():
    """A tile holds 256 KiB: here 5 rows of 1600 channels, fewer where rows are dropped."""
    shape = Shape(
        n_time=2, n_coarse=2, n_fine=1600, n_antenna=6, freq_factor=37, rotate=True, factors=True,
        channel_weights=True, weights=(1.0, 0.5), flagged_share=0.1, bad_share=2e-6, dropped_share=0.3,
    )  # fmt: skip
    case = mwax_case(shape)
    check_against_twin(case)
    check_bit_equal(case)


@pytest.mark.parametrize("n_time", [1, 4])
def test_rows_far_apart(n_time):
    case = mwax_case(Shape(n_time=n_time, n_fine=7, n_antenna=40, dropped_share=0.97, rotate=True))
    assert np.diff(case.tables["file_row"]).max() > 50
    check_against_twin(case)


def test_autocorrelations_are_not_rotated():
    case = mwax_case(Shape(n_fine=12, n_antenna=3, rotate=True))
    vis, _, _ = case.run()
    autos = case.antenna1 == case.antenna2
    raw = mwax_case(Shape(n_fine=12, n_antenna=3)).run()[0]
    np.testing.assert_array_equal(vis[autos], raw[autos])
    assert (vis[~autos] != raw[~autos]).all()


def test_weights_of_one_timestep_scale_the_weight_only():
    weights = (1.0, 0.7, 0.1)
    case = mwax_case(Shape(n_fine=9, channel_weights=True, weights=weights))
    vis, weight, _ = case.run()
    plain = mwax_case(Shape(n_fine=9, channel_weights=True))
    np.testing.assert_array_equal(vis, case.cells[0, 0].astype(np.complex64))
    file_weight = case.file_weight[0, 0][:, None].astype(np.float32)
    np.testing.assert_array_equal(weight, case.channel_weight[:, None] * file_weight)
    assert (plain.run()[1] == plain.channel_weight[:, None]).all()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize(("freq_factor", "n_time"), [(1, 1), (3, 1), (2, 4)])
def test_what_is_no_weight_flags_one_product(bad, freq_factor, n_time):
    case = mwax_case(Shape(n_time=n_time, n_fine=6, freq_factor=freq_factor, weights=(1.0, bad)))
    check_against_twin(case)
    weight = case.run()[1]
    never = (case.file_weight != 1).all(axis=(0, 1))
    assert never.any()
    np.testing.assert_array_equal(np.signbit(weight), np.repeat(never[:, None], weight.shape[1], axis=1))


def test_weights_can_be_ignored():
    case = mwax_case(Shape(n_time=3, n_fine=6, weights=(1.0, 0.5, 0.0, np.nan)))
    case.tables["use_weights"] = False
    case.file_weight = np.ones_like(case.file_weight)
    check_against_twin(case)


def test_flagged_rows_average_with_the_weights_of_the_file():
    case = mwax_case(Shape(n_time=3, n_fine=4, freq_factor=2, weights=(1.0, 0.25), flagged_share=1.0))
    vis, weight, _ = case.run()
    assert np.signbit(weight).all()
    assert not weight.any()
    m = case.file_weight[:, 0]
    by_time = case.cells[:, 0].reshape(3, -1, 2, 2, 4).mean(axis=3)
    expected = (by_time * m[:, :, None]).sum(axis=0) / m.sum(axis=0)[:, None]
    np.testing.assert_allclose(vis, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("state", [FLAGGED, MISSING])
def test_unaveraged_flagged_values_keep_their_weight(state):
    case = mwax_case(Shape(n_fine=5, states=(state,), channel_weights=True, weights=(1.0, 0.3)))
    vis, weight, _ = case.run()
    m = case.file_weight[0, 0].astype(np.float32)  # 1 where the weights are missing too
    assert (m == 1).all() == (state == MISSING)
    np.testing.assert_array_equal(weight, -(case.channel_weight[:, None] * m[:, None]))
    np.testing.assert_array_equal(vis != 0, state == FLAGGED)


@pytest.mark.parametrize("rows", [[1, 0], [0, 0], [-1, 0], [3, 2]])
def test_file_rows_must_ascend(rows):
    case = mwax_case(Shape(n_antenna=2))
    arguments = case.arguments(slice(0, 2), file_row=np.array(rows))
    with pytest.raises(InputError, match="file_row must ascend from 0"):
        case.call(**arguments)


def test_rows_beyond_the_file():
    case = mwax_case(Shape(n_antenna=2, states=(GOOD,)))
    with pytest.raises(FormatError, match="the file ends at byte"):
        case.call(**case.arguments(file_row=np.array([0, 1, 3])))


def test_truncated_weights():
    case = mwax_case(Shape(weights=(1.0,)))
    case.raw.handle.truncate(case.raw.handle.seek(0, 2) - 1)
    with pytest.raises(FormatError, match="the file ends at byte"):
        case.run()
