"""Random groups against bytes put together by hand and against astropy; counts of flags."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import InputError, ResourceError


def block(rng, n_rows, n_chan, n_parameter):
    """parameters, vis, weight of random values, among them negative zeros."""
    parameters = rng.normal(0, 1e3, (n_rows, n_parameter)).astype(np.float32)
    vis = rng.normal(0, 1, (n_rows, n_chan, 8)).astype(np.float32).view(np.complex64)
    weight = rng.choice(np.array([1.5, -1.5, 0.0, -0.0], np.float32), (n_rows, n_chan, 4))
    return parameters, vis, weight


def group(parameters, vis, weight):
    """One group by hand: XX, YY, XY, YX triples."""
    numbers = list(parameters)
    for cell, w in zip(vis, weight, strict=True):
        for p in (0, 3, 1, 2):
            numbers += [cell[p].real, cell[p].imag, w[p]]
    return np.array(numbers, ">f4").tobytes()


@settings(deadline=None)
@given(
    n_rows=st.integers(0, 9),
    n_chan=st.integers(1, 12),
    n_parameter=st.integers(0, 7),
    offset=st.integers(0, 100),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 1 << 30),
    data=st.data(),
)
def test_bytes(tmp_path_factory, n_rows, n_chan, n_parameter, offset, threads, seed, data):
    begin = data.draw(st.integers(0, n_chan - 1))
    end = data.draw(st.integers(begin + 1, n_chan))
    parameters, vis, weight = block(np.random.default_rng(seed), n_rows, n_chan, n_parameter)
    with (tmp_path_factory.getbasetemp() / "groups").open("w+b") as file:
        file.write(b"\xaa" * offset)
        file.flush()
        _core.write_groups(
            fd=file.fileno(),
            offset=offset,
            parameters=parameters,
            vis=vis,
            weight=weight,
            channel_begin=begin,
            channel_end=end,
            threads=threads,
        )
        file.seek(0)
        found = file.read()
    rows = zip(parameters, vis[:, begin:end], weight[:, begin:end], strict=True)
    assert found == b"\xaa" * offset + b"".join(group(*row) for row in rows)
    if n_rows:
        assert len(found) == offset + n_rows * _core.group_bytes(n_parameter, end - begin)


def test_several_writes_by_several_threads(tmp_path):
    """A write holds 512 KiB; 3 MB of groups are several, whatever the threads."""
    parameters, vis, weight = block(np.random.default_rng(2), 1300, 48, 7)
    contents = set()
    for threads in (1, 2, 5):
        path = tmp_path / str(threads)
        with path.open("w+b") as file:
            _core.write_groups(
                fd=file.fileno(),
                offset=0,
                parameters=parameters,
                vis=vis,
                weight=weight,
                channel_begin=0,
                channel_end=48,
                threads=threads,
            )
        contents.add(path.read_bytes())
    assert contents == {b"".join(map(group, parameters, vis, weight))}


def test_astropy_reads_a_complete_file(tmp_path):
    names = ["UU", "VV", "WW", "BASELINE", "DATE", "DATE", "INTTIM"]
    n_rows, n_chan = 6, 5
    parameters, vis, weight = block(np.random.default_rng(3), n_rows, n_chan, len(names))
    template = fits.GroupData(
        np.zeros((1, 1, 1, n_chan, 4, 3), np.float32), parnames=names, pardata=[[0]] * 7, bitpix=-32
    )
    header = fits.GroupsHDU(template).header
    header["GCOUNT"] = n_rows
    path = tmp_path / "vis.uvfits"
    with path.open("w+b") as file:
        file.write(header.tostring().encode())
        file.flush()
        start = file.tell()
        _core.write_groups(
            fd=file.fileno(),
            offset=start,
            parameters=parameters,
            vis=vis,
            weight=weight,
            channel_begin=0,
            channel_end=n_chan,
        )
        size = start + n_rows * _core.group_bytes(len(names), n_chan)
        file.truncate(-(-size // 2880) * 2880)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        groups = hdus[0].data
        assert len(groups) == n_rows
        for k, name in enumerate(names):
            if name != "DATE":  # astropy adds up parameters of the same name
                np.testing.assert_array_equal(groups.par(name), parameters[:, k])
        np.testing.assert_allclose(groups.par("DATE"), parameters[:, 4] + parameters[:, 5], rtol=1e-6)
        data = groups.data[:, 0, 0]
    order = [0, 3, 1, 2]
    np.testing.assert_array_equal(data[..., 0] + 1j * data[..., 1], vis[..., order])
    np.testing.assert_array_equal(data[..., 2], weight[..., order])
    np.testing.assert_array_equal(np.signbit(data[..., 2]), np.signbit(weight[..., order]))


def test_group_bytes():
    assert _core.group_bytes(7, 768) == 4 * (7 + 768 * 4 * 3)


def test_bad_arguments():
    parameters, vis, weight = block(np.random.default_rng(4), 3, 4, 7)
    with Path("/dev/null").open("wb") as file:
        fd = file.fileno()
        for begin, end in [(-1, 4), (0, 5), (2, 2), (3, 1)]:
            with pytest.raises(InputError, match="channels are not a range of the block"):
                _core.write_groups(
                    fd=fd,
                    offset=0,
                    parameters=parameters,
                    vis=vis,
                    weight=weight,
                    channel_begin=begin,
                    channel_end=end,
                )
        for arrays, name in [
            ((parameters[:2], vis, weight), "parameters"),
            ((parameters, vis[0], weight), "vis"),
            ((parameters, vis, weight[:, :3].copy()), "weight"),
        ]:
            with pytest.raises(InputError, match=f"array '{name}': expected shape"):
                _core.write_groups(
                    fd=fd,
                    offset=0,
                    parameters=arrays[0],
                    vis=arrays[1],
                    weight=arrays[2],
                    channel_begin=0,
                    channel_end=4,
                )
        for arrays in [
            (parameters.astype(np.float64), vis, weight),
            (parameters, vis.astype(np.complex128), weight),
            (parameters, vis, np.asfortranarray(weight)),
        ]:
            with pytest.raises(TypeError, match="incompatible function arguments"):
                _core.write_groups(
                    fd=fd,
                    offset=0,
                    parameters=arrays[0],
                    vis=arrays[1],
                    weight=arrays[2],
                    channel_begin=0,
                    channel_end=4,
                )


@pytest.mark.parametrize(
    ("path", "mode", "reason"),
    [("/dev/full", "wb", "No space left"), ("/dev/null", "rb", "Bad file descriptor")],
)
def test_refused_writes(path, mode, reason):
    parameters, vis, weight = block(np.random.default_rng(5), 3, 4, 7)
    if not Path(path).exists():
        pytest.skip(f"no {path} on this system")
    with Path(path).open(mode) as file, pytest.raises(ResourceError, match=f"writing failed: {reason}"):
        _core.write_groups(
            fd=file.fileno(),
            offset=0,
            parameters=parameters,
            vis=vis,
            weight=weight,
            channel_begin=0,
            channel_end=4,
        )


@settings(deadline=None)
@given(
    n_rows=st.sampled_from([0, 1, 5, 255, 256, 257, 700]),
    n_chan=st.integers(0, 9),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 1 << 30),
)
def test_count_flags(n_rows, n_chan, threads, seed):
    rng = np.random.default_rng(seed)
    weight = block(rng, n_rows, n_chan, 0)[2]
    weight[rng.random(weight.shape) < 0.1] = np.nan  # a NaN without a sign is not a flag
    by_row, by_channel = rng.integers(0, 9, n_rows), rng.integers(0, 9, n_chan)
    flagged = np.signbit(weight)
    expected = by_row + flagged.sum(axis=(1, 2)), by_channel + flagged.sum(axis=(0, 2))
    _core.count_flags(weight, by_row, by_channel, threads)
    np.testing.assert_array_equal(by_row, expected[0])
    np.testing.assert_array_equal(by_channel, expected[1])


def test_count_flags_refuses_bad_arrays():
    weight, by_row, by_channel = np.ones((3, 2, 4), np.float32), np.zeros(3, np.int64), np.zeros(2, np.int64)
    for arrays, name in [
        ((weight[..., :3].copy(), by_row, by_channel), "weight"),
        ((weight, by_row[:2], by_channel), "by_row"),
        ((weight, by_row, by_row), "by_channel"),
    ]:
        with pytest.raises(InputError, match=f"array '{name}': expected shape"):
            _core.count_flags(*arrays)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.count_flags(weight, by_row.astype(np.int32), by_channel)
