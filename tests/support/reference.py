"""Slow twins: each computes one value the way its equation is written, for tests to compare with."""

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

SPEED_OF_LIGHT_M_S = 299792458.0

# ---------------------------------------------------------------------------
# Tables for the kernels: channel frequencies, geometry, passband, corrections
# ---------------------------------------------------------------------------


def fine_channel_hz(correlator: str, centre_hz: float, n_fine: int, channel: int) -> float:
    """Centre of one fine channel of a coarse channel of 1.28 MHz."""
    width = 1.28e6 / n_fine
    start = centre_hz - 0.64e6
    if correlator == "mwax":
        return start + channel * width if n_fine % 2 == 0 else start + (channel + 0.5) * width
    # the legacy correlator averages 10 kHz channels
    group = round(width / 10e3)
    return float(np.mean([start + (channel * group + k) * 10e3 for k in range(group)]))


@dataclass
class StandardGeometry:
    """The steps of the recipe cotter and Birli share, in radians and metres."""

    lmst: float
    lmst2000: float
    hour_angle: float
    declination: float
    uvw_m: npt.NDArray[np.float64]  #: of each antenna


def standard_geometry(
    mjd: float,
    ra: float,
    dec: float,
    east_north_height_m: npt.NDArray[np.float64],
    latitude: float,
    longitude: float,
) -> StandardGeometry:
    """uvw of antennas by hour angle and declination, `mjd` being UTC + DUT1 and serving as UT1 and TT."""
    import erfa

    def unit(longitude: float, latitude: float) -> npt.NDArray[np.float64]:
        return np.array(
            [
                math.cos(latitude) * math.cos(longitude),
                math.cos(latitude) * math.sin(longitude),
                math.sin(latitude),
            ]
        )

    def turned(xyz: npt.NDArray[np.float64], angle: float) -> npt.NDArray[np.float64]:
        x, y, z = xyz
        return np.array(
            [
                x * math.cos(angle) - y * math.sin(angle),
                x * math.sin(angle) + y * math.cos(angle),
                z,
            ]
        )

    lmst = (erfa.gmst06(2400000.5, mjd, 2400000.5, mjd) + longitude) % (2 * math.pi)
    to_j2000 = erfa.pnm06a(2400000.5, mjd).T
    x, y, _ = to_j2000 @ unit(lmst, latitude)
    lmst2000 = math.atan2(y, x)

    n = unit(ra, dec)
    b = np.array(list(erfa.epv00(2400000.5, mjd)[1]["v"])) * 0.00577551833
    root = math.sqrt(1 - b @ b)
    seen = root * n + (1 + n @ b / (1 + root)) * b
    seen /= np.linalg.norm(seen)
    ha = lmst2000 - math.atan2(seen[1], seen[0])
    dec = math.asin(seen[2])

    uvw = []
    for east, north, height in east_north_height_m:
        local = np.array(
            [
                -north * math.sin(latitude) + height * math.cos(latitude),
                east,
                north * math.cos(latitude) + height * math.sin(latitude),
            ]
        )
        x, y, z = turned(to_j2000 @ turned(local, lmst), -lmst2000)
        uvw.append(
            [
                math.sin(ha) * x + math.cos(ha) * y,
                -math.sin(dec) * math.cos(ha) * x + math.sin(dec) * math.sin(ha) * y + math.cos(dec) * z,
                math.cos(dec) * math.cos(ha) * x - math.cos(dec) * math.sin(ha) * y + math.sin(dec) * z,
            ]
        )
    return StandardGeometry(lmst, lmst2000, ha, dec, np.array(uvw))


@functools.cache
def bundled_iers_table():
    from astropy.utils import iers

    return iers.IERS_A.open(iers.IERS_A_FILE)


def astropy_direction(
    mjd_utc: float, ra: float, dec: float, latitude: float, longitude: float, height_m: float
) -> npt.NDArray[np.float64]:
    """Unit vector (east, north, up) towards an ICRS position, by astropy's AltAz without refraction and its
    bundled IERS table."""
    from astropy import units
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    place = EarthLocation(lat=latitude * units.rad, lon=longitude * units.rad, height=height_m * units.m)
    with iers.earth_orientation_table.set(bundled_iers_table()):
        frame = AltAz(obstime=Time(mjd_utc, format="mjd", scale="utc"), location=place)
        seen = SkyCoord(ra * units.rad, dec * units.rad).transform_to(frame)
    azimuth, altitude = seen.az.rad, seen.alt.rad
    return np.array(
        [
            math.cos(altitude) * math.sin(azimuth),
            math.cos(altitude) * math.cos(azimuth),
            math.sin(altitude),
        ]
    )


def passband_mean(
    series: tuple[float, tuple[float, ...]], n_points: int, correlator: str, n_fine: int, channel: int
) -> float:
    """Response of one fine channel from (cycles of the first cosine, coefficients) sampled at n_points."""
    cycles, coefficients = series
    per_channel = n_points // n_fine

    def response(point: int) -> float:
        x = (point % n_points) / n_points - 0.5
        return sum(a * math.cos(2 * math.pi * cycles * k * x) for k, a in enumerate(coefficients))

    start = channel * per_channel
    if correlator == "legacy":
        return sum(response(start + k) for k in range(per_channel)) / per_channel
    if n_fine % 2 == 1:
        inner = sum(response(start + k) for k in range(1, per_channel))
        return (response(start) / 2 + inner + response(start + per_channel) / 2) / per_channel
    half = per_channel // 2
    if per_channel % 2 == 1:
        return sum(response(start + k) for k in range(-half, half + 1)) / per_channel
    inner = sum(response(start + k) for k in range(-half + 1, half))
    return (response(start - half) / 2 + inner + response(start + half) / 2) / per_channel


def corrected_visibility(
    vis: complex,
    freq_hz: float,
    lengths_m: tuple[float, float],
    gains: tuple[float, float],
    response: float,
) -> complex:
    """V_ij of polarisations p, q without cable lengths (L_ip, L_jq), digital gains and coarse response."""
    delay_m = lengths_m[1] - lengths_m[0]
    phase = -2 * math.pi * delay_m * freq_hz / SPEED_OF_LIGHT_M_S
    return vis * complex(math.cos(phase), math.sin(phase)) / (gains[0] * gains[1] * response)


def averaged_cell(
    vis: npt.NDArray[np.complex128], weight: npt.NDArray[np.float64], flag: npt.NDArray[np.bool_]
) -> tuple[complex, float, bool]:
    """Weighted mean of the unflagged values of a block; of an all-flagged one the mean, with weight 0."""
    use = ~flag & (weight > 0)
    if not use.any():
        return complex(vis.mean()), 0.0, True
    total = weight[use].sum()
    return complex((vis[use] * weight[use]).sum() / total), float(total), False


# ---------------------------------------------------------------------------
# Columns of a measurement set
# ---------------------------------------------------------------------------


def measurement_set_row(
    weight: list[list[float]],
) -> tuple[list[list[float]], list[list[bool]], list[float], bool]:
    """WEIGHT_SPECTRUM, FLAG, WEIGHT and FLAG_ROW of one row of signed weights (channel, pol)."""
    spectrum = [[abs(w) for w in channel] for channel in weight]
    flag = [[math.copysign(1.0, w) < 0 for w in channel] for channel in weight]
    total = [math.fsum(channel[pol] for channel in spectrum) for pol in range(4)]
    return spectrum, flag, total, all(all(channel) for channel in flag)


# ---------------------------------------------------------------------------
# Kernels: from raw values to averaged, corrected and flagged blocks
# ---------------------------------------------------------------------------

GOOD, FLAGGED, MISSING = 0, 1, 2


def phasor(w_m: float, freq_hz: float) -> np.clongdouble:
    """exp(-2 pi i w f / c), to more digits than a double has."""
    cycles = np.longdouble(w_m) * np.longdouble(freq_hz) / np.longdouble(SPEED_OF_LIGHT_M_S)
    pi = np.longdouble("3.14159265358979323846264338327950288")
    angle = -2 * pi * (cycles - np.rint(cycles))
    return np.cos(angle) + 1j * np.sin(angle)


def physical_values(stored: npt.NDArray[np.int32], bscale: float, bzero: float) -> npt.NDArray[np.float32]:
    """Values of an integer image, rounded to float32 once."""
    return (stored.astype(np.float64) * bscale + bzero).astype(np.float32)


def slots_of_product(k: int) -> tuple[int, int]:
    """Slots (s, u) of product number k: the file runs through 2x2 blocks of the lower triangle."""
    number = 0
    for a in range(k + 1):
        for b in range(a + 1):
            for p in range(2):
                for q in range(2):
                    if number == k:
                        return 2 * a + p, 2 * b + q
                    number += 1
    raise AssertionError("every number has its slots")


def legacy_cells(
    products: npt.NDArray[np.complex128],
    product: npt.NDArray[np.int32],
    conjugated: npt.NDArray[np.uint8],
    phasors: npt.NDArray[np.complex128] | None,
) -> npt.NDArray[np.complex128]:
    """Rotated cells (n_time, n_coarse, n_row, n_fine, 4) of products (n_time, n_coarse, n_fine, n_product).

    phasors (n_time, n_coarse, n_fine, n_slot): V(s, u) turns by g_s conj(g_u), before it is conjugated.
    """
    turned = products.copy()
    if phasors is not None:
        for k in range(products.shape[-1]):
            s, u = slots_of_product(k)
            with np.errstate(invalid="ignore"):  # what is not finite stays so
                turned[..., k] *= phasors[..., s] * np.conj(phasors[..., u])
    n_time, n_coarse, n_fine, _ = products.shape
    cells = np.empty((n_time, n_coarse, len(product), n_fine, 4), np.complex128)
    for row in range(len(product)):
        for p in range(4):
            values = turned[..., product[row, p]]
            cells[:, :, row, :, p] = np.conj(values) if conjugated[row, p] else values
    return cells


def rotated_cells(
    cells: npt.NDArray[np.complex128],
    phasors: npt.NDArray[np.complex128],
    antenna1: npt.NDArray[np.int32],
    antenna2: npt.NDArray[np.int32],
) -> npt.NDArray[np.complex128]:
    """Cells (n_time, n_coarse, n_row, n_fine, 4) times g_i conj(g_j), autocorrelations left alone.

    phasors (n_time, n_coarse, n_antenna, n_fine).
    """
    turned = cells.copy()
    for row, (i, j) in enumerate(zip(antenna1, antenna2, strict=True)):
        if i != j:
            rotation = phasors[:, :, i] * np.conj(phasors[:, :, j])
            with np.errstate(invalid="ignore"):  # what is not finite stays so
                turned[:, :, row] *= rotation[..., None]
    return turned


@dataclass
class AveragedBlock:
    """What the converting kernels fill in, and the largest |V'| that went into each value."""

    vis: npt.NDArray[np.complex128]
    weight: npt.NDArray[np.float64]
    bad_cells: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float64]


def average_block(
    cells: npt.NDArray[np.complex128],
    file_weight: npt.NDArray[np.float64],
    state: npt.NDArray[np.int32],
    freq_factor: int,
    averaged: bool,
    antenna1: npt.NDArray[np.int32],
    antenna2: npt.NDArray[np.int32],
    row_flagged: npt.NDArray[np.uint8],
    factors: npt.NDArray[np.complex128] | None,
    channel_weight: npt.NDArray[np.float64],
    channel_flagged: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_] | None = None,
    jones: npt.NDArray[np.complex128] | None = None,
) -> AveragedBlock:
    """One output timestep by the rule of block.hpp.

    cells (n_time, n_coarse, n_row, n_fine, 4) rotated; file_weight (n_time, n_coarse, n_row, 4), 1 where the
    file has none; state (n_time, n_coarse); factors (n_antenna, n_coarse * n_fine, 2); mask (n_time, n_coarse,
    n_row, n_fine) flagged cells; jones (n_antenna, n_coarse * n_fine or n_coarse * n_out, 4).
    """
    _, n_coarse, n_row, n_fine, _ = cells.shape
    n_out = math.ceil(n_fine / freq_factor)
    shape = (n_row, n_coarse * n_out, 4)
    block = AveragedBlock(np.zeros(shape, complex), np.zeros(shape), np.zeros(n_row, int), np.zeros(shape))
    usable = np.isfinite(file_weight) & (file_weight > 0)
    if jones is not None and jones[..., 1:3].any():
        file_weight = np.where(usable, file_weight, 0).min(axis=3, keepdims=True).repeat(4, axis=3)
        usable = file_weight > 0
    for coarse, out in np.ndindex(n_coarse, n_out):
        some_good = (state[:, coarse] == GOOD).any()
        times = state[:, coarse] == (GOOD if some_good else FLAGGED)
        fine = np.arange(out * freq_factor, min((out + 1) * freq_factor, n_fine))
        channels = coarse * n_fine + fine

        # axes from here on: time, row, channel, product
        v = cells[times, coarse][:, :, fine]
        finite = np.isfinite(v).all(axis=3)
        masked = np.zeros_like(finite)
        if mask is not None and some_good:
            masked = mask[times, coarse][:, :, fine] & (row_flagged == 0)[:, None]
        block.bad_cells += (~finite & ~masked).sum(axis=(0, 2))
        v = np.where(finite[..., None], v, 0)
        if factors is not None:
            first, second = (factors[antenna][:, channels] for antenna in (antenna1, antenna2))
            for product, (p, q) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
                v[..., product] *= first[..., p] * np.conj(second[..., q])

        m = np.where(usable, file_weight, 0)[times, coarse][:, :, None, :]
        w = channel_weight[channels][:, None] * m
        good = finite & ~masked & (row_flagged == 0)[:, None] & (channel_flagged[channels] == 0)
        good_w = w * good[..., None] * some_good
        fallback_w = np.where((m > 0).any(axis=0), m, 1) * finite[..., None]

        there = np.s_[:, coarse * n_out + out]
        size = w[0, :, 0] if times.any() else channel_weight[channels[0]] * np.ones((n_row, 4))
        total = good_w.sum(axis=(0, 2))
        block.weight[there] = np.where(total > 0, total, np.where(averaged, -0.0, -size))
        size_of_v = np.abs(v).max(axis=(0, 2), initial=0)
        if jones is None:
            block.vis[there] = np.where(total > 0, _mean(v, good_w), _mean(v, fallback_w))
            block.scale[there] = size_of_v
            continue
        of_input = jones.shape[1] == n_coarse * n_fine
        at = channels if of_input else [coarse * n_out + out]
        matrices = [jones[:, at][antenna].reshape(n_row, len(at), 2, 2) for antenna in (antenna1, antenna2)]
        means = []
        for weight in (good_w, fallback_w):
            if of_input:  # of the mean over time of each input channel
                over_time = np.where((by_channel := weight.sum(axis=0)) > 0, by_channel, 1)
                cell = (weight * v).sum(axis=0) / over_time
                means.append(_mean(jones_product(cell, *matrices)[None], by_channel[None]))
            else:
                means.append(_mean(v, weight))
        vis = np.where(total > 0, *means)
        block.vis[there] = vis if of_input else jones_product(vis[:, None], *matrices)[:, 0]
        largest = [np.abs(j).sum(axis=(1, 2, 3)) for j in matrices]
        block.scale[there] = size_of_v.max(axis=1, keepdims=True) * (largest[0] * largest[1])[:, None]
    return block


def jones_product(
    v: npt.NDArray[np.complex128], first: npt.NDArray[np.complex128], second: npt.NDArray[np.complex128]
) -> npt.NDArray[np.complex128]:
    """J_i V J_j^H of cells (n_row, n_channel, 4) and matrices (n_row, n_channel, 2, 2)."""
    product = first @ v.reshape(*v.shape[:2], 2, 2) @ np.conj(second.swapaxes(2, 3))
    return product.reshape(v.shape)


def _mean(v: npt.NDArray[np.complex128], w: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    total = w.sum(axis=(0, 2))
    return (w * v).sum(axis=(0, 2)) / np.where(total > 0, total, 1)


# ---------------------------------------------------------------------------
# The quantiser of the legacy correlator: 15 levels, -7 .. 7
# ---------------------------------------------------------------------------


def quantised_variance(sigma: float) -> float:
    """Variance of a normal signal of standard deviation sigma after the quantiser."""
    return 49 - sum((2 * k + 1) * math.erf((k + 0.5) / (sigma * math.sqrt(2))) for k in range(7))


def quantised_correlation(rho: float, sigma1: float, sigma2: float) -> float:
    """Covariance of two normal signals of correlation rho >= 0 after the quantiser.

    The integral of Benkevitch et al. 2016 over r = sin(theta), which takes out its singularity at 1.
    """
    from scipy.integrate import quad

    x, y = ((np.arange(7) + 0.5) / sigma for sigma in (sigma1, sigma2))
    x, y = x[:, None], y[None, :]

    def integrand(theta: float) -> float:
        r, rest = math.sin(theta), 2 * math.cos(theta) ** 2
        terms = [np.exp(-(x * x + y * y - 2 * sign * r * x * y) / rest) for sign in (1, -1)]
        return float(np.sum(terms)) / math.pi

    return quad(integrand, 0, math.asin(rho), epsabs=0, epsrel=1e-11, limit=200)[0]


def van_vleck_coefficient(n: int, sigma: float) -> float:
    """c_n of van_vleck.hpp."""
    x = (np.arange(7) + 0.5) / sigma
    hermite = np.polynomial.hermite_e.hermeval(x, np.eye(n)[n - 1])
    return float(math.sqrt(2 / math.pi) * np.sum(hermite * np.exp(-x * x / 2)))


# ---------------------------------------------------------------------------
# Dedispersion and search for pulses
# ---------------------------------------------------------------------------


def rounded_delay(dm: float, per_dm: float) -> int:
    """Delay in samples, rounded half away from zero."""
    exact = Fraction(dm * per_dm)
    return math.floor(exact + Fraction(1, 2)) if exact >= 0 else -math.floor(-exact + Fraction(1, 2))


def dedispersed(
    data: npt.NDArray[np.generic], delays: npt.NDArray[np.int32], n_out: int
) -> npt.NDArray[np.float32]:
    """The obvious sum, in float32 and in the order of the channels."""
    out = np.zeros(n_out, np.float32)
    for row, delay in zip(data, delays, strict=True):
        out += row[delay : delay + n_out]
    return out


def best_boxcar(
    series: npt.NDArray[np.float32], mean: float, sigma: float, n_width: int, starts: range
) -> tuple[float, int, int]:
    """S/N, start and width of the best boxcar that begins in `starts`."""
    best = (-np.inf, 0, 1)
    for width in [2**k for k in range(n_width)]:
        for start in starts:
            if start + width <= series.size:
                total = math.fsum(float(v) - mean for v in series[start : start + width])
                best = max(best, (total / (sigma * math.sqrt(width)), -start, -width))
    return best[0], -best[1], -best[2]
