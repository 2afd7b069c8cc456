"""What only the legacy kernel does: gathers and conjugates products, and rotates by correlator slot."""

import numpy as np
import pytest
from cases import Shape, check_against_twin, check_bit_equal, legacy_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import slots_of_product

from mwaconvert import _core
from mwaconvert.errors import InputError


@settings(deadline=None, max_examples=60)
@given(
    n_slot=st.sampled_from([2, 4, 6, 16]),
    n_fine=st.integers(1, 20),
    rotate=st.booleans(),
    bad_share=st.sampled_from([0.0, 0.01]),
    seed=st.integers(0, 1 << 30),
)
def test_reorder(n_slot, n_fine, rotate, bad_share, seed):
    case = legacy_case(Shape(n_fine=n_fine, rotate=rotate, bad_share=bad_share), seed, n_slot)
    check_against_twin(case)
    if not rotate:
        np.testing.assert_array_equal(case.run()[0], case.twin().vis.astype(np.complex64))


def test_groups_of_channels_of_any_size():
    """The kernel takes several output channels at a time; neither their number nor the last group matters."""
    for n_fine, freq_factor in [(1, 1), (7, 1), (8, 1), (9, 2), (40, 3), (40, 8), (40, 9), (40, 40), (5, 64)]:
        case = legacy_case(Shape(n_time=2, n_coarse=2, n_fine=n_fine, freq_factor=freq_factor, rotate=True))
        check_against_twin(case)
        check_bit_equal(case)


def test_correlator_matrix_of_many_slots():
    case = legacy_case(Shape(n_time=2, n_fine=12, rotate=True, storage=("rice", "float32")), n_slot=64)
    check_against_twin(case)
    check_bit_equal(case)


def test_autocorrelations_stay_as_they_are():
    """A slot turns by g conj(g), which is 1 but for its rounding; the imaginary part stays 0."""
    n_slot, n_fine, rng = 6, 32, np.random.default_rng(0)
    shape = Shape(n_fine=n_fine)
    plain = legacy_case(shape, n_slot=n_slot)
    w = rng.normal(0, 500, (1, n_slot))
    phasors = np.empty((1, 1, n_fine, n_slot), np.complex64)
    _core.antenna_phasors(w, np.array([150e6]), 40e3, True, phasors)
    autos = [k for k in range(24) if len(set(slots_of_product(k))) == 1]
    plain.tables["product"] = np.resize(np.array(autos, np.int32), plain.tables["product"].shape)
    raw = plain.run()[0]
    plain.phasors = phasors
    turned = plain.run()[0]
    assert np.max(np.abs(turned - raw) / np.abs(raw)) < 2e-7


def test_conjugation_follows_the_rotation():
    """V_ij = conj(V(u, s)) turns by g_i conj(g_j) = conj(g_u conj(g_s))."""
    case = legacy_case(Shape(n_fine=3, rotate=True), n_slot=4)
    for table in ("product", "conjugated"):
        case.tables[table] = case.tables[table][:1].copy()
    case.antenna1, case.antenna2 = case.antenna1[:1], case.antenna2[:1]
    case.row_flagged = case.row_flagged[:1]
    case.tables["product"][:] = 5
    assert slots_of_product(5) == (2, 1)
    case.tables["conjugated"][:] = [[0, 1, 0, 1]]
    vis = case.run()[0]
    np.testing.assert_array_equal(vis[:, :, 1], np.conj(vis[:, :, 0]))
    case.phasors[..., 2] *= 1j
    turned = case.run()[0]
    np.testing.assert_allclose(turned[..., 0], vis[..., 0] * 1j, rtol=1e-6)
    np.testing.assert_allclose(turned[..., 1], vis[..., 1] * -1j, rtol=1e-6)


@pytest.mark.parametrize("index", [-1, 24])
def test_products_that_do_not_exist(index):
    case = legacy_case(Shape(), n_slot=6)
    case.tables["product"][-1, 3] = index
    with pytest.raises(InputError, match=f"product index {index} is outside the 24 products of the file"):
        case.run()


@pytest.mark.parametrize("n_slot", [-2, 0, 5])
def test_slots_come_in_pairs(n_slot):
    case = legacy_case(Shape())
    with pytest.raises(InputError, match="n_slot must be even and at least 2"):
        case.call(**case.arguments(n_slot=n_slot))


def test_phasors_of_another_number_of_slots():
    case = legacy_case(Shape(rotate=True), n_slot=6)
    with pytest.raises(InputError, match="array 'phasors'"):
        case.call(**case.arguments(n_slot=4))
