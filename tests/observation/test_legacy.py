"""The legacy correlator's order against mwalib (acceptance A1)."""

from dataclasses import replace
from pathlib import Path

import mwalib
import numpy as np
import pytest

from mwaconvert.errors import MetadataError
from mwaconvert.formats.slow_fits import decode_hdu
from mwaconvert.observation.legacy import N_PRODUCTS, product_table, slot_inputs
from mwaconvert.observation.metafits import read_metadata


@pytest.fixture
def folder(mwa_data):
    return mwa_data / "1196175296_legacy_synthetic"


@pytest.fixture
def metadata(folder):
    return read_metadata(folder / "1196175296.metafits")


@pytest.fixture
def context(folder, metadata):
    files = sorted(str(path) for path in folder.glob("*gpubox*.fits"))
    return mwalib.CorrelatorContext(str(metadata.path), files)


def test_table_is_that_of_mwalib(metadata, context):
    index, conj = product_table(metadata)
    for k, theirs in enumerate(context.legacy_conversion_table):
        assert index[k].tolist() == [
            theirs.xx_index // 2,
            theirs.xy_index // 2,
            theirs.yx_index // 2,
            theirs.yy_index // 2,
        ]
        # theirs is about the conjugate of what they return, as the next test shows
        assert (~conj[k]).tolist() == [
            theirs.xx_conjugate,
            theirs.xy_conjugate,
            theirs.yx_conjugate,
            theirs.yy_conjugate,
        ]


def test_visibilities_are_those_of_mwalib(metadata, context):
    """Bit-exact for all baselines, polarisations, times and channels."""
    index, conj = product_table(metadata)
    batches = [[file.filename for file in batch.gpubox_files] for batch in context.gpubox_batches]
    for step in context.provided_timestep_indices:
        for coarse in context.provided_coarse_chan_indices:
            box = metadata.coarse_channels[coarse].gpubox
            batch, hdu = context.gpubox_time_map[context.timesteps[step].unix_time_ms][box]
            (path,) = [path for path in batches[batch] if f"gpubox{box:02d}_" in path]
            stored = decode_hdu(Path(path), hdu).view(np.complex64)[:, index]
            vis = np.where(conj, stored.conj(), stored).transpose(1, 0, 2)
            theirs = context.read_by_baseline(step, coarse).reshape(8256, 2, 4, 2)
            np.testing.assert_array_equal(vis.real, theirs[..., 0])
            np.testing.assert_array_equal(vis.imag, theirs[..., 1])


def test_every_product_is_used_once_but_for_autos(metadata):
    index, conj = product_table(metadata)
    used = np.bincount(index.ravel(), minlength=N_PRODUCTS)
    # of XY and YX of an auto one is the conjugate of the other; one of the two entries is redundant
    i, j = np.triu_indices(128)
    autos = i == j
    np.testing.assert_array_equal(index[autos, 1], index[autos, 2])
    assert (conj[autos, 1] != conj[autos, 2]).all()
    assert (np.bincount(used) == [128, N_PRODUCTS - 256, 128]).all()


def test_slots(metadata):
    carried = slot_inputs(metadata)
    assert len({tuple(pair) for pair in carried.tolist()}) == 256
    for slot in range(256):
        antenna, pol = carried[slot]
        n = slot // 64 * 64 + slot % 64 // 4 + 16 * (slot % 4)
        assert metadata.antennas[antenna].input[pol] == n


def test_other_input_numbers_are_refused(metadata):
    fewer = replace(metadata, antennas=metadata.antennas[:100])
    with pytest.raises(
        MetadataError, match=r"each input 0\.\.255 of the legacy correlator once, found 200 inputs"
    ):
        product_table(fewer)
