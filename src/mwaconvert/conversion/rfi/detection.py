"""RFI detection over a plan: which baselines, how they are read within the memory, and the pass itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import IntArray
from mwaconvert.conversion.rfi.images import KeptImages, LegacyImages, MwaxImages
from mwaconvert.conversion.rfi.mask import FlagMask, mask_bytes, mask_in_file, memory_room
from mwaconvert.conversion.rfi.strategy import RfiStrategy, worker_bytes
from mwaconvert.conversion.steps import Step
from mwaconvert.errors import InputError
from mwaconvert.machine import BASE_BYTES

if TYPE_CHECKING:
    from mwaconvert.conversion.options import Options
    from mwaconvert.conversion.plan import Plan
    from mwaconvert.conversion.rfi.aoflagger import AOFlagger

#: called with the share of the work that is done
Share = Callable[[float], None]

#: aimed at for the images of a block of baselines: enough that threads end at nearly the same time
BLOCK_BYTES = 128 << 20
#: baselines of a block at least, where memory allows, so that work comes in pieces worth their while
BLOCK_ROWS = 16
#: the same of legacy files, whose channels are read in pieces that grow with the block
LEGACY_BLOCK_BYTES = 256 << 20
LEGACY_BLOCK_ROWS = 256
#: baselines of a block at most: of legacy files a group of channels with these is worked on in a cache
MOST_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class DetectionPlan:
    """How the detection goes about it.

    Attributes
    ----------
    rows : rows of the plan that are looked at, in the order of the blocks, ascending within each
    blocks : which of these are read together
    bands : contiguous ranges of coarse channels, each an image of its own; indices into `Plan.coarse`
    planes : images of a baseline: 4 amplitudes, or 8 real and imaginary parts
    spill_bytes : images that have to be kept until all is read (of legacy files that cannot be read in parts)
    spill_in_file : whether they are kept in a temporary file
    room_bytes : memory for images
    peak_bytes : memory at most, flags included
    """

    rows: IntArray
    blocks: tuple[slice, ...]
    bands: tuple[slice, ...]
    planes: int
    spill_bytes: int
    spill_in_file: bool
    room_bytes: int
    peak_bytes: int

    @property
    def rows_at_once(self) -> int:
        """Rows of the largest block."""
        return max(len(self.rows[block]) for block in self.blocks)

    def describe(self) -> dict[str, Any]:
        """The facts that matter to users (layout: docs/report.md)."""
        return {
            "baselines": len(self.rows),
            "baselines_at_once": self.rows_at_once,
            "spill_bytes": self.spill_bytes,
            "spill_in_file": self.spill_in_file,
        }

    @property
    def memory_text(self) -> str:
        """Where the data are kept meanwhile, for people."""
        from mwaconvert.text import size_text

        text = f"{self.rows_at_once} of {len(self.rows)} baselines at a time"
        if self.spill_bytes:
            where = "a temporary file in TMPDIR" if self.spill_in_file else "memory"
            text += f", amplitudes ({size_text(self.spill_bytes)}) in {where}"
        return text


def rfi_step(options: Options) -> Step:
    """Whether RFI is looked for, and how.

    Raises
    ------
    InputError : a strategy that cannot be used
    """
    name = "RFI detection"
    if options.rfi == "none":
        return Step(name, False, "skipped: --no-rfi")
    if options.precomputed_flags == "only":
        return Step(name, False, "skipped: --precomputed-flags only")
    which = "all baselines" if options.rfi_all_baselines else "not autocorrelations and flagged antennas"
    if options.rfi == "aoflagger":
        from mwaconvert.conversion.rfi.aoflagger import check_aoflagger

        return Step(name, True, f"{check_aoflagger(options)}; {which}")
    strategy = chosen_strategy(options)
    return Step(name, True, f"strategy {strategy.name}, sensitivity {strategy.sensitivity:g}; {which}")


def chosen_strategy(options: Options) -> RfiStrategy:
    """The strategy of the built-in detection.

    Raises
    ------
    InputError : a strategy file that cannot be used
    """
    import dataclasses

    strategy = RfiStrategy()
    if options.rfi_strategy is not None:
        path = Path(options.rfi_strategy)
        if path.suffix == ".lua":
            raise InputError(f"{path}: Lua strategies are AOFlagger's; add --rfi aoflagger")
        strategy = RfiStrategy.from_toml(path)
    if options.rfi_sensitivity is not None:
        strategy = dataclasses.replace(strategy, sensitivity=options.rfi_sensitivity)
    return strategy


def detected_by(plan: Plan) -> tuple[str, str]:
    """Version of AOFlagger, empty for the built-in detection, and the strategy; both empty without detection."""
    options = plan.options
    if plan.detection is None:
        return "", ""
    if options.rfi == "aoflagger":
        from mwaconvert.conversion.rfi.aoflagger import MWA_STRATEGY, aoflagger_version

        return aoflagger_version(), str(options.rfi_strategy or MWA_STRATEGY)
    strategy = chosen_strategy(options)
    sensitivity = f", sensitivity {strategy.sensitivity:g}" if strategy.sensitivity != 1 else ""
    return "", strategy.name + sensitivity


def plan_detection(plan: Plan) -> DetectionPlan | None:
    """How the detection goes about it; None where there is none, or nothing to look at.

    Raises
    ------
    InputError : --max-memory is too little
    """
    options = plan.options
    if options.rfi == "none" or options.precomputed_flags == "only":
        return None
    wanted = np.ones(plan.n_rows, np.bool_)
    if not options.rfi_all_baselines:
        wanted = (plan.row_flagged == 0) & (plan.header.antenna1 != plan.header.antenna2)
    rows = np.flatnonzero(wanted)
    if not len(rows) or (plan.chunk_state() != _core.CHUNK_GOOD).all() or plan.channel_flagged.all():
        return None
    n_fine, n_times = plan.metadata.n_fine, len(plan.timesteps)
    bands, first = [], 0
    for window in plan.header.spectral_windows:
        bands.append(slice(first, first + len(window.coarse)))
        first += len(window.coarse)
    planes = 8 if options.rfi == "aoflagger" else 4
    n_chan = n_fine * max(band.stop - band.start for band in bands)
    threads = options.threads or _core.available_threads()

    used = (0 if mask_in_file(plan) else mask_bytes(plan)) + threads * worker_bytes(n_times, n_chan)
    room = memory_room(plan) - used
    row_bytes = n_times * n_chan * (4 * planes + 1)  # images, and what is found
    least = row_bytes
    spill_bytes, spill_in_file = 0, False
    legacy = plan.metadata.correlator == "legacy"
    in_parts = legacy and LegacyImages.suits(plan, planes)
    if legacy and not in_parts:
        spill_bytes = len(rows) * n_times * len(plan.freqs_hz) * 4 * planes
        spill_in_file = spill_bytes + row_bytes > room
        least = max(least, KeptImages.least_bytes(len(rows), planes, n_fine)) if spill_in_file else least
    if least > room:
        raise InputError(
            f"--max-memory {(BASE_BYTES + room + used) / 2**30:.3g} GiB is too little: RFI detection needs at "
            f"least {(BASE_BYTES + used + least) / 2**30:.2f} GiB here (without it: --no-rfi)"
        )
    kept = spill_bytes if not spill_in_file else 0
    if kept:
        row_bytes = n_times * n_chan
    aim_bytes, aim_rows = (LEGACY_BLOCK_BYTES, LEGACY_BLOCK_ROWS) if legacy else (BLOCK_BYTES, BLOCK_ROWS)
    aim = max(aim_bytes // row_bytes, aim_rows, 8 * threads)
    most = max(1, min((room - kept) // row_bytes, aim, MOST_BLOCK_ROWS))
    if in_parts:
        rows, blocks = LegacyImages.blocks(plan, rows, most)
    else:
        blocks = tuple(slice(k, min(k + most, len(rows))) for k in range(0, len(rows), most))
    buffers = min(most, len(rows)) * row_bytes
    if spill_in_file:
        buffers = max(buffers, min(room, KeptImages.PIECE_BYTES))
    return DetectionPlan(
        rows=rows,
        blocks=blocks,
        bands=tuple(bands),
        planes=planes,
        spill_bytes=spill_bytes,
        spill_in_file=spill_in_file,
        room_bytes=room - kept,
        peak_bytes=BASE_BYTES + used + kept + buffers,
    )


def detect_rfi(plan: Plan, detection: DetectionPlan, mask: FlagMask, progress: Share) -> int:
    """Look for RFI in all baselines that are to be looked at; OR what is found into `mask`.

    Cells that rules flag are left out of the detection. What `mask` holds already has no say: see docs/rfi.md.

    Returns
    -------
    number of cells found

    Raises
    ------
    FormatError, ResourceError
    """
    options, n_fine = plan.options, plan.metadata.n_fine
    missing = np.repeat(plan.chunk_state() != _core.CHUNK_GOOD, n_fine, axis=1) | (plan.channel_flagged != 0)
    flag = _flagger(plan)
    images = _images(plan, detection)
    read_share = images.READ_SHARE
    found_cells = 0
    with images, flag:
        images.prepare(lambda share: progress(read_share * share))
        for number, band in enumerate(detection.bands):
            channels = slice(band.start * n_fine, band.stop * n_fine)
            gone = np.ascontiguousarray(missing[None, :, channels]).view(np.uint8)
            for block in detection.blocks:
                rows = detection.rows[block]
                found = flag(images.read(block, band), gone)
                found_cells += _core.rfi_set_bits(found, rows, n_fine, mask.bits[:, band], options.threads)
                share = (number + block.stop / len(detection.rows)) / len(detection.bands)
                progress(read_share + (1 - read_share) * share)
    return found_cells


class BuiltIn:
    """The detection of this package, as something that flags blocks of images."""

    def __init__(self, plan: Plan) -> None:
        self._parameters = chosen_strategy(plan.options).parameters()
        self._threads = plan.options.threads
        self._found = np.empty(0, np.uint8)

    def __enter__(self) -> BuiltIn:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(
        self, images: npt.NDArray[np.float32], missing: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        """(n_rows, n_times, n_chan) 1 where RFI was found, of images (n_rows, 4, n_times, n_chan)."""
        shape = (len(images), *images.shape[2:])
        size = int(np.prod(shape))
        if size > self._found.size:
            self._found = np.empty(size, np.uint8)
        found = self._found[:size].reshape(shape)
        _core.rfi_flag(images, missing, self._parameters, found, self._threads)
        return found


def _images(plan: Plan, detection: DetectionPlan) -> MwaxImages | LegacyImages | KeptImages:
    if plan.metadata.correlator == "mwax":
        return MwaxImages(plan, detection)
    return KeptImages(plan, detection) if detection.spill_bytes else LegacyImages(plan, detection)


def _flagger(plan: Plan) -> BuiltIn | AOFlagger:
    if plan.options.rfi == "aoflagger":
        from mwaconvert.conversion.rfi.aoflagger import AOFlagger

        return AOFlagger(plan)
    return BuiltIn(plan)
