# Made by cpp/bindings/make_stubs.py (make stubs): the kernels, for type checkers and editors.
from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

class RfiParameters:
    """The numbers of an RFI strategy."""

    def __init__(self) -> None: ...
    block_freq: int
    block_time: int
    channel_rms: float
    first_threshold: float
    iterations: int
    last_timestep_rms: float
    longest_window: int
    rank_freq: float
    rank_missing: float
    rank_time: float
    subbands: int
    threshold: float
    threshold_ratio: float
    threshold_step: float
    timestep_rms: float
    transient_factor: float
    variance_freq: float
    variance_time: float
    window_freq: int
    window_time: int

class TreeMemory:
    """Memory that runs of a tree keep, for one run at a time."""

    def __init__(self) -> None: ...

def antenna_phasors(
    w_m: npt.NDArray[np.float64],
    start_hz: npt.NDArray[np.float64],
    step_hz: float,
    by_channel: bool,
    out: npt.NDArray[np.complex64],
    threads: int = 0,
) -> None:
    """Phase factors exp(-2 pi i w f / c) of antennas.

    w_m (n_time, n_column) metres, start_hz (n_coarse,), out (n_time, n_coarse, n_column, n_fine) complex64, or
    (n_time, n_coarse, n_fine, n_column) with by_channel."""

def available_threads() -> int:
    """Number of cores this process may run on."""

@overload
def band_sums(
    *,
    data: npt.NDArray[np.uint8],
    used: npt.NDArray[np.uint8],
    base: npt.NDArray[np.float32],
    inverse: npt.NDArray[np.float32],
    block: int,
    edges: npt.NDArray[np.int32],
    sums: npt.NDArray[np.float32],
    squares: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Sums over sub-bands of samples in units of the noise."""

@overload
def band_sums(
    *,
    data: npt.NDArray[np.float32],
    used: npt.NDArray[np.uint8],
    base: npt.NDArray[np.float32],
    inverse: npt.NDArray[np.float32],
    block: int,
    edges: npt.NDArray[np.int32],
    sums: npt.NDArray[np.float32],
    squares: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Sums over sub-bands of samples in units of the noise."""

@overload
def block_moments(
    *,
    data: npt.NDArray[np.uint8],
    used: npt.NDArray[np.uint8],
    block: int,
    count: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
    std: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Mean and standard deviation by channel and block of samples."""

@overload
def block_moments(
    *,
    data: npt.NDArray[np.float32],
    used: npt.NDArray[np.uint8],
    block: int,
    count: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
    std: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Mean and standard deviation by channel and block of samples."""

@overload
def channel_sums(
    data: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.float32] | None,
    about: npt.NDArray[np.float64],
    sums: npt.NDArray[np.float64],
    threads: int = 0,
) -> None:
    """Number, sum and sum of squares of each channel.

    data and weights (n_chan, n_samp), about (n_chan,), which floats are summed less, sums (n_chan, 3)."""

@overload
def channel_sums(
    data: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32] | None,
    about: npt.NDArray[np.float64],
    sums: npt.NDArray[np.float64],
    threads: int = 0,
) -> None:
    """Number, sum and sum of squares of each channel.

    data and weights (n_chan, n_samp), about (n_chan,), which floats are summed less, sums (n_chan, 3)."""

def chunk_waterfall(
    chunks: Sequence[
        tuple[
            str,
            int,
            int,
            int,
            bool,
            npt.NDArray[np.float32],
            npt.NDArray[np.float32],
            npt.NDArray[np.uint8] | None,
            int,
            int,
            int,
        ]
    ],
    shift: npt.NDArray[np.int32],
    scaled: bool,
    out: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Sub-bands of the dedispersed channels of chunks of CHIME/FRB."""

@overload
def cleaned_bytes(
    *,
    data: npt.NDArray[np.uint8],
    used: npt.NDArray[np.uint8],
    base: npt.NDArray[np.float32],
    inverse: npt.NDArray[np.float32],
    block: int,
    edges: npt.NDArray[np.int32],
    common: npt.NDArray[np.float32],
    keep: npt.NDArray[np.uint8],
    origin: float,
    unit: float,
    stretch: int,
    out: npt.NDArray[np.uint8],
    kept: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """Spectra as bytes in units of the noise, without what is common to all channels."""

@overload
def cleaned_bytes(
    *,
    data: npt.NDArray[np.float32],
    used: npt.NDArray[np.uint8],
    base: npt.NDArray[np.float32],
    inverse: npt.NDArray[np.float32],
    block: int,
    edges: npt.NDArray[np.int32],
    common: npt.NDArray[np.float32],
    keep: npt.NDArray[np.uint8],
    origin: float,
    unit: float,
    stretch: int,
    out: npt.NDArray[np.uint8],
    kept: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """Spectra as bytes in units of the noise, without what is common to all channels."""

def convert_legacy(
    *,
    chunks: npt.NDArray[np.void],
    n_fine: int,
    freq_factor: int,
    averaged: bool,
    antenna1: npt.NDArray[np.int32],
    antenna2: npt.NDArray[np.int32],
    row_flagged: npt.NDArray[np.uint8],
    factors: npt.NDArray[np.complex64] | None,
    jones: npt.NDArray[np.complex64] | None,
    channel_weight: npt.NDArray[np.float32],
    channel_flagged: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8] | None,
    phasors: npt.NDArray[np.complex64] | None,
    n_slot: int,
    product: npt.NDArray[np.int32],
    conjugated: npt.NDArray[np.uint8],
    van_vleck_samples: float,
    vis: npt.NDArray[np.complex64],
    weight: npt.NDArray[np.float32],
    bad_cells: npt.NDArray[np.int64],
    threads: int = 0,
) -> None:
    """Read, correct and average one output timestep of legacy files.

    vis and weight (n_rows, n_out, 4), bad_cells (n_rows,) are filled; a mask bit flags a cell."""

def convert_mwax(
    *,
    chunks: npt.NDArray[np.void],
    n_fine: int,
    freq_factor: int,
    averaged: bool,
    antenna1: npt.NDArray[np.int32],
    antenna2: npt.NDArray[np.int32],
    row_flagged: npt.NDArray[np.uint8],
    factors: npt.NDArray[np.complex64] | None,
    jones: npt.NDArray[np.complex64] | None,
    channel_weight: npt.NDArray[np.float32],
    channel_flagged: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8] | None,
    phasors: npt.NDArray[np.complex64] | None,
    file_row: npt.NDArray[np.int64],
    use_weights: bool,
    vis: npt.NDArray[np.complex64],
    weight: npt.NDArray[np.float32],
    bad_cells: npt.NDArray[np.int64],
    threads: int = 0,
) -> None:
    """Read, correct and average one output timestep of MWAX files.

    vis and weight (n_rows, n_out, 4), bad_cells (n_rows,) are filled; a mask bit flags a cell."""

def count_flags(
    weight: npt.NDArray[np.float32],
    by_row: npt.NDArray[np.int64],
    by_channel: npt.NDArray[np.int64],
    threads: int = 0,
) -> None:
    """Add the numbers of flagged values (sign bit set) of each row and each channel."""

@overload
def dedisperse(
    data: npt.NDArray[np.uint8], delays: npt.NDArray[np.int32], out: npt.NDArray[np.float32], threads: int = 0
) -> None:
    """Sum channels, each shifted by its delay."""

@overload
def dedisperse(
    data: npt.NDArray[np.float32],
    delays: npt.NDArray[np.int32],
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Sum channels, each shifted by its delay."""

def dedisperse_coherent(
    *,
    data: npt.NDArray[np.complex64],
    freqs: npt.NDArray[np.float64],
    rate_mhz: float,
    k_dm: float,
    sideband: int,
    n_fft: int,
    before: int,
    after: int,
    out: npt.NDArray[np.complex64],
    threads: int = 0,
) -> None:
    """Coherent dedispersion of voltages."""

@overload
def dedisperse_subbands(
    *,
    data: npt.NDArray[np.uint8],
    edges: npt.NDArray[np.int32],
    within: npt.NDArray[np.int32],
    across: npt.NDArray[np.int32],
    trials_per_group: int,
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Sum channels in two stages."""

@overload
def dedisperse_subbands(
    *,
    data: npt.NDArray[np.float32],
    edges: npt.NDArray[np.int32],
    within: npt.NDArray[np.int32],
    across: npt.NDArray[np.int32],
    trials_per_group: int,
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Sum channels in two stages."""

@overload
def dedisperse_tree(
    data: npt.NDArray[np.uint8],
    levels: Sequence[
        tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]
    ],
    kept: int,
    out: npt.NDArray[np.float32],
    memory: TreeMemory | None = None,
    threads: int = 0,
) -> None:
    """Sum channels by a tree."""

@overload
def dedisperse_tree(
    data: npt.NDArray[np.float32],
    levels: Sequence[
        tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]
    ],
    kept: int,
    out: npt.NDArray[np.float32],
    memory: TreeMemory | None = None,
    threads: int = 0,
) -> None:
    """Sum channels by a tree."""

def detect_channels(
    volts: npt.NDArray[np.int8], used: npt.NDArray[np.int32], power: npt.NDArray[np.float32], threads: int = 0
) -> None:
    """Power of channels summed over inputs."""

def detect_nibbles(
    volts: npt.NDArray[np.uint8], used: npt.NDArray[np.uint8], power: npt.NDArray[np.uint32], threads: int = 0
) -> None:
    """Power of 4-bit voltages summed over inputs."""

def ffa_search(
    *,
    series: npt.NDArray[np.float32],
    first_bin: int,
    last_bin: int,
    widths: npt.NDArray[np.int32],
    threshold: float,
    threads: int = 0,
) -> npt.NDArray[np.void]:
    """Folds above the threshold: the table (trial, n_bin, drift, width, snr)."""

def ffa_transform(rows: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    """The fast folding algorithm."""

def flag_bytes(n_chan: int) -> int:
    """Bytes that the flags of a row take in a measurement set."""

@overload
def fold(
    *,
    data: npt.NDArray[np.uint8],
    weights: npt.NDArray[np.float32],
    phase: float,
    step: float,
    shift: npt.NDArray[np.float64],
    edges: npt.NDArray[np.int32],
    sums: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    threads: int = 0,
) -> None:
    """Add samples to the bins of their phase."""

@overload
def fold(
    *,
    data: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    phase: float,
    step: float,
    shift: npt.NDArray[np.float64],
    edges: npt.NDArray[np.int32],
    sums: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    threads: int = 0,
) -> None:
    """Add samples to the bins of their phase."""

def friends_of_friends(
    *,
    middle_s: npt.NDArray[np.float64],
    dm: npt.NDArray[np.float64],
    snr: npt.NDArray[np.float64],
    kind: npt.NDArray[np.int64],
    beam: npt.NDArray[np.int64],
    reach: npt.NDArray[np.float64],
    beams: int,
    label: npt.NDArray[np.int64],
    keep: npt.NDArray[np.uint8],
) -> int:
    """Clusters of candidates: how many, and which candidates a later batch needs."""

def group_bytes(n_parameter: int, n_channel: int) -> int:
    """Bytes of one random group."""

def harmonic_search(
    *, power: npt.NDArray[np.float32], first: int, thresholds: npt.NDArray[np.float32], threads: int = 0
) -> npt.NDArray[np.void]:
    """Sums of harmonics above the thresholds: the table (trial, level, bin, power)."""

def incoherent_legacy(
    chunks: npt.NDArray[np.void],
    n_product: int,
    product: npt.NDArray[np.int32],
    sum: npt.NDArray[np.float64],
    count: npt.NDArray[np.int64],
    threads: int = 0,
) -> None:
    """Sums over baselines of the changes between integrations, from legacy files."""

def incoherent_mwax(
    chunks: npt.NDArray[np.void],
    file_row: npt.NDArray[np.int64],
    sum: npt.NDArray[np.float64],
    count: npt.NDArray[np.int64],
    threads: int = 0,
) -> None:
    """Sums over baselines of the changes between integrations, from MWAX files."""

@overload
def longest_runs(
    data: npt.NDArray[np.uint8],
    live: npt.NDArray[np.uint8],
    value: float,
    longest: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """At each time the longest run of neighbouring channels that hold a value, up to 255."""

@overload
def longest_runs(
    data: npt.NDArray[np.float32],
    live: npt.NDArray[np.uint8],
    value: float,
    longest: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """At each time the longest run of neighbouring channels that hold a value, up to 255."""

@overload
def mark_runs(
    data: npt.NDArray[np.uint8],
    live: npt.NDArray[np.uint8],
    value: float,
    run: int,
    used: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """Set `used` to 0 in runs of neighbouring channels that hold a value."""

@overload
def mark_runs(
    data: npt.NDArray[np.float32],
    live: npt.NDArray[np.uint8],
    value: float,
    run: int,
    used: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """Set `used` to 0 in runs of neighbouring channels that hold a value."""

def mask_counts(
    *,
    bits: npt.NDArray[np.uint8],
    wanted: npt.NDArray[np.uint8],
    row: npt.NDArray[np.uint8],
    chunk: npt.NDArray[np.uint8],
    n_fine: int,
    times_per_count: int,
    by_row: npt.NDArray[np.int64],
    by_channel: npt.NDArray[np.int32],
    threads: int = 0,
) -> None:
    """Add the numbers of flagged cells of a mask by row and channel."""

def ms_columns(
    *,
    weight: npt.NDArray[np.float32],
    first_chan: int,
    weight_spectrum: npt.NDArray[np.float32],
    flag: npt.NDArray[np.bool_],
    weight_sum: npt.NDArray[np.float32],
    flag_row: npt.NDArray[np.bool_],
    threads: int = 0,
) -> None:
    """Split signed weights (row, channel, 4) into |weight|, flags, sums over channels and row flags.

    The outputs hold the channels from first_chan on."""

def noise(
    series: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
    sigma: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Mean and standard deviation of the noise."""

def parse_candidates(
    *,
    text: npt.NDArray[np.uint8],
    n_word: int,
    place: tuple[int, int, int, int, int],
    downsampling: int,
    instance: int,
    rows: npt.NDArray[np.uint8],
) -> tuple[int, npt.NDArray[np.void]]:
    """Candidates of lines: how many, and the table (begin, end) of lines that are none."""

def quality_sums(
    *,
    vis: npt.NDArray[np.complex64],
    weight: npt.NDArray[np.float32],
    row_static: npt.NDArray[np.uint8],
    row_cross: npt.NDArray[np.uint8],
    channel_static: npt.NDArray[np.uint8],
    window_start: npt.NDArray[np.int64],
    row_sums: npt.NDArray[np.complex128],
    row_counts: npt.NDArray[np.int64],
    channel_sums: npt.NDArray[np.complex128],
    channel_counts: npt.NDArray[np.int64],
    threads: int = 0,
) -> None:
    """Add a block's statistics to sums by row and by channel."""

def rfi_amplitudes(vis: npt.NDArray[np.complex64], out: npt.NDArray[np.float32], threads: int = 0) -> None:
    """Amplitudes (n_baselines, 4, n_time, n_chan) of visibilities (n_baselines, n_time, n_chan, 4)."""

def rfi_flag(
    amplitude: npt.NDArray[np.float32],
    missing: npt.NDArray[np.uint8],
    parameters: RfiParameters,
    out: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """Detect RFI in baselines.

    amplitude (n_baselines, 4, n_time, n_chan) float32, missing (1 or n_baselines, n_time, n_chan) and out
    (n_baselines, n_time, n_chan) uint8: 1 found, 2 missing."""

def rfi_normalize(
    x: npt.NDArray[np.float32],
    ignored: npt.NDArray[np.uint8],
    parameters: RfiParameters,
    out: npt.NDArray[np.float32],
) -> None:
    """One image over the noise of its sub-bands."""

def rfi_rank(
    missing: npt.NDArray[np.uint8],
    eta_time: float,
    eta_freq: float,
    missing_weight: float,
    flags: npt.NDArray[np.uint8],
) -> None:
    """Scale-invariant rank operator."""

def rfi_read_legacy(
    *,
    chunks: npt.NDArray[np.void],
    n_fine: int,
    antenna1: npt.NDArray[np.int32],
    antenna2: npt.NDArray[np.int32],
    factors: npt.NDArray[np.complex64] | None,
    n_slot: int,
    product: npt.NDArray[np.int32],
    conjugated: npt.NDArray[np.uint8],
    van_vleck_samples: float,
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Read images of baselines from legacy files."""

def rfi_read_mwax(
    *,
    chunks: npt.NDArray[np.void],
    n_fine: int,
    antenna1: npt.NDArray[np.int32],
    antenna2: npt.NDArray[np.int32],
    factors: npt.NDArray[np.complex64] | None,
    file_row: npt.NDArray[np.int64],
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Read images of baselines from MWAX files."""

def rfi_reject(
    x: npt.NDArray[np.float32], timesteps: bool, threshold: float, flags: npt.NDArray[np.uint8]
) -> None:
    """Add timesteps, else channels, of outlying rms to flags."""

def rfi_residual(
    x: npt.NDArray[np.float32],
    ignored: npt.NDArray[np.uint8],
    parameters: RfiParameters,
    out: npt.NDArray[np.float32],
) -> None:
    """One image minus its smooth background."""

def rfi_set_bits(
    found: npt.NDArray[np.uint8],
    row: npt.NDArray[np.int64],
    n_fine: int,
    mask: npt.NDArray[np.uint8],
    threads: int = 0,
) -> int:
    """Set bits of a mask (n_time, n_coarse, n_rows, bytes) where found (n, n_time, channels) is 1; returns how many."""

def rfi_sum_threshold(
    *,
    x: npt.NDArray[np.float32],
    missing: npt.NDArray[np.uint8],
    ignored: npt.NDArray[np.uint8],
    time_threshold: float,
    freq_threshold: float,
    parameters: RfiParameters,
    out: npt.NDArray[np.uint8],
) -> None:
    """SumThreshold on one image."""

def rice_decode(tiles: Sequence[npt.NDArray[np.uint8]], n: int, block: int) -> npt.NDArray[np.int32]:
    """Decode RICE_1 tiles of n int32 each."""

def rice_encode(pixels: npt.NDArray[np.int32], block: int) -> npt.NDArray[np.uint8]:
    """Encode int32 as one RICE_1 tile."""

def round_delays(
    dm: npt.NDArray[np.float64], per_dm: npt.NDArray[np.float64], delays: npt.NDArray[np.int32]
) -> None:
    """Delays in samples of trials and channels."""

def running_median(
    values: npt.NDArray[np.float32], half: int, least: int, out: npt.NDArray[np.float32], threads: int = 0
) -> None:
    """Median of each value and its neighbours along a row."""

@overload
def scale_channels(
    data: npt.NDArray[np.uint8],
    mean: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Each channel of data (n_chan, n_samp) less its mean, times its scale; out may be data."""

@overload
def scale_channels(
    data: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Each channel of data (n_chan, n_samp) less its mean, times its scale; out may be data."""

def scan_fits(path: str) -> tuple[dict[str, bool | int | float | str], npt.NDArray[np.void]]:
    """Primary keywords, and one record for each later HDU."""

def search_series(
    *,
    series: npt.NDArray[np.float32],
    share: npt.NDArray[np.float32],
    row: npt.NDArray[np.int32],
    n_width: int,
    threshold: float,
    mean: npt.NDArray[np.float32],
    sigma: npt.NDArray[np.float32],
    snr: npt.NDArray[np.float32],
    start: npt.NDArray[np.int32],
    width: npt.NDArray[np.int32],
    threads: int = 0,
) -> npt.NDArray[np.void]:
    """Noise and best boxcars of each series: the table (trial, snr, start, width) of those above the threshold."""

def summarise_clusters(
    *,
    label: npt.NDArray[np.int64],
    first_new: int,
    time_s: npt.NDArray[np.float64],
    dm: npt.NDArray[np.float64],
    snr: npt.NDArray[np.float64],
    beam: npt.NDArray[np.int64],
    best: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
    n_beams: npt.NDArray[np.int64],
    box: npt.NDArray[np.float64],
) -> None:
    """What the members of each cluster make together."""

@overload
def take_subbands(
    beam: npt.NDArray[np.uint8],
    subbands: npt.NDArray[np.int64],
    tab: int,
    out: npt.NDArray[np.uint8],
    threads: int = 0,
) -> None:
    """What a tied-array beam gives to a synthesised one: its channels in the subbands that name it."""

@overload
def take_subbands(
    beam: npt.NDArray[np.float32],
    subbands: npt.NDArray[np.int64],
    tab: int,
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """What a tied-array beam gives to a synthesised one: its channels in the subbands that name it."""

def unpack(
    *,
    spectra: npt.NDArray[np.uint8],
    offset: int,
    n_bits: int,
    first_high: bool,
    reverse: bool,
    out: npt.NDArray[np.uint8],
    column: int | None = None,
    threads: int = 0,
) -> None:
    """Unpack and transpose spectra of 1 to 8 bits."""

def unpack_bitshuffle(packed: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8], threads: int = 0) -> None:
    """Bytes that bitshuffle packed with LZ4."""

@overload
def unpack_numbers(
    spectra: npt.NDArray[np.int8], offset: int, reverse: bool, out: npt.NDArray[np.float32], threads: int = 0
) -> None:
    """Transpose spectra of numbers to float32 channels."""

@overload
def unpack_numbers(
    spectra: npt.NDArray[np.uint16],
    offset: int,
    reverse: bool,
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Transpose spectra of numbers to float32 channels."""

@overload
def unpack_numbers(
    spectra: npt.NDArray[np.float32],
    offset: int,
    reverse: bool,
    out: npt.NDArray[np.float32],
    threads: int = 0,
) -> None:
    """Transpose spectra of numbers to float32 channels."""

def van_vleck(products: npt.NDArray[np.complex64], n_slot: int, samples: float, threads: int = 0) -> None:
    """Correct the products of legacy channels in place.

    products (n_channel, n_product) complex64 in the order of the file."""

def van_vleck_correlation(k: float, sigma1: float, sigma2: float) -> float:
    """Correlation of two inputs from their quantised covariance."""

def van_vleck_sigma(variance: float) -> float:
    """Standard deviation of an input from its quantised variance; 0 where it is not corrected."""

def write_groups(
    *,
    fd: int,
    offset: int,
    parameters: npt.NDArray[np.float32],
    vis: npt.NDArray[np.complex64],
    weight: npt.NDArray[np.float32],
    channel_begin: int,
    channel_end: int,
    threads: int = 0,
) -> None:
    """Write rows as random groups."""

def write_ms_cells(
    *,
    files: tuple[int, int, int],
    first_row: int,
    vis: npt.NDArray[np.complex64],
    weight: npt.NDArray[np.float32],
    first_chan: int,
    n_chan: int,
    weight_sum: npt.NDArray[np.float32],
    flag_row: npt.NDArray[np.bool_],
    threads: int = 0,
) -> None:
    """Write cells of DATA, WEIGHT_SPECTRUM and FLAG into their files (descriptors in this order)."""

CHUNK_FLAGGED: int = 1
CHUNK_GOOD: int = 0
CHUNK_MISSING: int = 2
chunk_dtype: np.dtype[np.void]
