"""Headers and blocks from scratch for the tests of writers: a small made-up observation, no files needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mwaconvert.conversion.tables.geometry import antenna_itrf_m, antenna_uvw_m, antenna_xyz_m
from mwaconvert.observation.model import MWA_POSITION, Antenna, CoarseChannel, Metadata
from mwaconvert.visibilities.model import Block, SpectralWindow, VisHeader

#: 2019-10-09 15:32:56 UTC; RA 0, Dec -27 is close to the zenith of the MWA
START_MJD = 58765.64787037037
PHASE_CENTRE_RAD = (0.01, float(np.radians(-27)))
SPEED_OF_LIGHT = 299792458.0


def make_metadata(n_antennas: int = 4, coarse_numbers: Sequence[int] = (131, 132, 133, 134)) -> Metadata:
    rng = np.random.default_rng(1)
    east, north = rng.uniform(-500, 500, (2, n_antennas))
    height = rng.uniform(375, 380, n_antennas)
    antennas = tuple(
        Antenna(
            index=k,
            tile_id=11 + k,
            name=f"Tile{11 + k:03d}",
            east_m=float(east[k]),
            north_m=float(north[k]),
            height_m=float(height[k]),
            input=(2 * k + 1, 2 * k),
            electrical_length_m=(-600.5 + k, -600.25 + k),
            flagged=False,
            receiver=1 + k // 8,
            slot=(k % 8 + 1, k % 8 + 1),
            dipole_delays=((0,) * 16, (0,) * 16),
            receiver_type="RRI",
        )
        for k in range(n_antennas)
    )
    coarse = tuple(
        CoarseChannel(index=k, number=number, gpubox=k + 1, centre_hz=number * 1.28e6, width_hz=1.28e6)
        for k, number in enumerate(coarse_numbers)
    )
    unix = (START_MJD - 40587) * 86400
    return Metadata(
        path=Path("1254670392.metafits"),
        obsid=1254670392,
        correlator="legacy",
        antennas=antennas,
        coarse_channels=coarse,
        digital_gains=rng.uniform(0.5, 2, (n_antennas, 2, len(coarse))),
        fine_width_hz=40e3,
        n_fine=32,
        int_time_s=0.5,
        sched_start_unix_s=unix,
        sched_duration_s=120.0,
        good_time_unix_s=unix + 2,
        quack_s=2.0,
        dut1_s=-0.2,
        pointing_deg=(1.5, -26.5),
        phase_centre_deg=(0.0, -27.0),
        az_alt_deg=(0.0, 89.0),
        delays=tuple(range(16)),
        geodel=0,
        cabledel=0,
        digital_gains_applied=False,
        has_global_gains=False,
        calibration_applied=False,
        signal_chain_applied=False,
        oversampled=False,
        deripple=False,
        mode="HW_LFILES",
        creator="An Observer",
        metafits_version="2.4",
        project="G0009",
        name="a_field_1",
        calibrator=True,
        calibrator_source="a_field",
        receivers=(1, 2),
        attenuation_db=1.0,
    )


def make_header(
    *,
    n_antennas: int = 4,
    n_times: int = 3,
    windows: Sequence[tuple[Sequence[int], int]] = (((0, 1), 4),),
    autos: bool = True,
    interval_s: float = 2.0,
    last_interval_s: float | None = None,
) -> VisHeader:
    """Make a header.

    Parameters
    ----------
    windows : of each spectral window the coarse channels (indices 0 to 3) and the channels in each of them
    last_interval_s : length of the last timestep, if shorter than the others
    """
    metadata = make_metadata(n_antennas)
    spectral: list[SpectralWindow] = []
    first = 0
    for coarse, n_fine in windows:
        width = np.full(len(coarse) * n_fine, 1.28e6 / n_fine)
        low = metadata.coarse_channels[coarse[0]].centre_hz - 0.64e6
        spectral.append(
            SpectralWindow(
                channels=slice(first, first + len(width)),
                freq_hz=low + (np.arange(len(width)) + 0.5) * width,
                width_hz=width,
                effective_hz=width * 0.75,
                coarse=tuple(coarse),
            )
        )
        first += len(width)
    antenna1, antenna2 = np.triu_indices(n_antennas, 0 if autos else 1)
    interval = np.full(n_times, interval_s)
    if last_interval_s is not None:
        interval[-1] = last_interval_s
    time = START_MJD + (np.cumsum(interval) - interval / 2) / 86400
    return VisHeader(
        metadata=metadata,
        spectral_windows=tuple(spectral),
        antenna1=antenna1.astype(np.int64),
        antenna2=antenna2.astype(np.int64),
        time_mjd=time,
        centroid_mjd=time + 0.125 / 86400,
        interval_s=interval,
        exposure_s=interval - 0.25,
        input_int_time_s=metadata.int_time_s,
        phase_centre_rad=PHASE_CENTRE_RAD,
        phase_centre_name="a_field",
        antenna_flagged=np.arange(n_antennas) == 2,
        array_position=MWA_POSITION,
        antenna_xyz_m=antenna_xyz_m(metadata, MWA_POSITION),
        antenna_itrf_m=antenna_itrf_m(metadata, MWA_POSITION),
        dut1_s=-0.2,
        software="mwaconvert 0.0.test",
        command_line="mwaconvert 1254670392.metafits -o out.ms",
        history=("cable delays: applied", "digital gains: applied"),
    )


def uvw_m(header: VisHeader) -> np.ndarray:
    """(n_times, n_bl, 3) at the centroids."""
    antenna = antenna_uvw_m(
        header.centroid_mjd,
        header.phase_centre_rad,
        header.antenna_xyz_m,
        header.array_position,
        header.dut1_s,
    )
    return antenna[:, header.antenna1] - antenna[:, header.antenna2]


def make_blocks(
    header: VisHeader,
    *,
    rows: int | None = None,
    flagged: float = 0.2,
    offset_lm: tuple[float, float] | None = None,
    seed: int = 5,
) -> Iterator[Block]:
    """Blocks of `rows` baselines (all by default): noise, or a point source of 1 Jy at direction cosines.

    Weights are positive or, in a fraction `flagged` of the cells, of negative sign: some of them -0.0. The
    first row of the last timestep is flagged throughout. Autocorrelations are real in XX and YY.
    """
    rng = np.random.default_rng(seed)
    n_bl = len(header.antenna1)
    freq = np.concatenate([w.freq_hz for w in header.spectral_windows])
    uvw = uvw_m(header)
    autos = header.antenna1 == header.antenna2
    n_times = len(header.time_mjd)
    for t in range(n_times):
        shape = (n_bl, len(freq), 4)
        weight = rng.uniform(1, 8, shape).astype(np.float32)
        bad = np.repeat(rng.random((*shape[:2], 1)) < flagged, 4, axis=2)
        weight[bad] *= -1
        weight[bad & (rng.random(shape) < 0.3)] = -0.0
        if t == n_times - 1 and flagged:
            weight[0] = -np.abs(weight[0])
        if offset_lm is None:
            vis = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
            vis[autos, :, 0] = np.abs(vis[autos, :, 0])
            vis[autos, :, 3] = np.abs(vis[autos, :, 3])
            vis[autos, :, 2] = vis[autos, :, 1].conj()
        else:
            l, m = offset_lm  # noqa: E741
            path = uvw[t] @ [l, m, np.sqrt(1 - l * l - m * m) - 1]
            vis = np.zeros(shape, np.complex64)
            # V_ij = <e_i e_j*>: the antenna nearer to the source leads
            vis[..., [0, 3]] = np.exp(2j * np.pi * path[:, None] * freq / SPEED_OF_LIGHT)[..., None]
        step = rows or n_bl
        for first in range(0, n_bl, step):
            part = slice(first, min(first + step, n_bl))
            yield Block(
                time_index=t,
                rows=part,
                vis=np.ascontiguousarray(vis[part]),
                weight=np.ascontiguousarray(weight[part]),
                uvw_m=np.ascontiguousarray(uvw[t, part]),
            )
