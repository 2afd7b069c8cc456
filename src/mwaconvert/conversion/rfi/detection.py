"""RFI detection over a plan: which baselines, how they are read within the memory, and the pass itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import IntArray
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.plan import Corrections, DetectionPlan, Flags, Plan, Resources, Rows, Selection
from mwaconvert.conversion.rfi.images import KeptImages, LegacyImages, MwaxImages
from mwaconvert.conversion.rfi.mask import FlagMask, mask_bytes
from mwaconvert.conversion.rfi.strategy import RfiStrategy, worker_bytes
from mwaconvert.conversion.steps import State, Step, StepKind
from mwaconvert.errors import InputError
from mwaconvert.machine import BASE_BYTES

if TYPE_CHECKING:
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


def choose_detection(options: Options) -> tuple[RfiStrategy | None, Step]:
    """Strategy of the built-in detection (None: it does not run), and whether RFI is looked for, and how.

    Raises
    ------
    InputError : a strategy that cannot be used
    """
    kind = StepKind.RFI
    if options.rfi == "none":
        return None, Step(kind, State.SKIPPED, "`rfi=none`")
    if options.precomputed_flags == "only":
        return None, Step(kind, State.SKIPPED, "`precomputed_flags=only`")
    which = "all baselines" if options.rfi_all_baselines else "not autocorrelations and flagged antennas"
    if options.rfi == "aoflagger":
        from mwaconvert.conversion.rfi.aoflagger import check_aoflagger

        return None, Step(kind, State.APPLIED, f"{check_aoflagger(options)}; {which}")
    strategy = _strategy(options)
    words = f"strategy {strategy.name}, sensitivity {strategy.sensitivity:g}; {which}"
    return strategy, Step(kind, State.APPLIED, words)


def _strategy(options: Options) -> RfiStrategy:
    """The strategy of the built-in detection.

    Raises
    ------
    InputError : a strategy file that cannot be used
    """
    strategy = RfiStrategy()
    if options.rfi_strategy is not None:
        path = Path(options.rfi_strategy)
        if path.suffix == ".lua":
            raise InputError(
                f"{path}: Lua strategies are AOFlagger's; add `rfi=aoflagger`",
                option="rfi_strategy",
                path=path,
            )
        strategy = RfiStrategy.from_toml(path)
    if options.rfi_sensitivity is not None:
        strategy = replace(strategy, sensitivity=options.rfi_sensitivity)
    return strategy


def detected_by(plan: Plan) -> tuple[str, str]:
    """Version of AOFlagger, empty for the built-in detection, and the strategy; both empty without detection."""
    if plan.detection is None:
        return "", ""
    strategy = plan.detection.strategy
    if strategy is None:
        from mwaconvert.conversion.rfi.aoflagger import MWA_STRATEGY, aoflagger_version

        return aoflagger_version(), str(plan.options.rfi_strategy or MWA_STRATEGY)
    sensitivity = f", sensitivity {strategy.sensitivity:g}" if strategy.sensitivity != 1 else ""
    return "", strategy.name + sensitivity


def plan_detection(
    options: Options,
    strategy: RfiStrategy | None,
    selection: Selection,
    corrections: Corrections,
    flags: Flags,
    rows: Rows,
    resources: Resources,
) -> DetectionPlan | None:
    """How the detection goes about it; None where there is none, or nothing to look at.

    Raises
    ------
    InputError : `max_memory_gib` is too little
    """
    if options.rfi == "none" or options.precomputed_flags == "only":
        return None
    wanted = np.ones(len(rows), np.bool_)
    if not options.rfi_all_baselines:
        wanted = (rows.flagged == 0) & rows.cross
    looked_at = np.flatnonzero(wanted)
    if not len(looked_at) or flags.nothing_left:
        return None
    planes = 8 if options.rfi == "aoflagger" else 4
    legacy = selection.metadata.correlator == "legacy"
    in_parts = legacy and LegacyImages.suits(selection, corrections, planes, resources.free_bytes)
    memory = _memory(selection, rows, looked_at, planes, resources, keeps=legacy and not in_parts)
    most = memory.rows_at_once(resources.threads, legacy=legacy)
    if in_parts:
        looked_at, blocks = LegacyImages.blocks(selection.metadata, rows.in_file, looked_at, most)
    else:
        blocks = tuple(slice(k, min(k + most, len(looked_at))) for k in range(0, len(looked_at), most))
    return DetectionPlan(
        strategy=strategy,
        rows=looked_at,
        blocks=blocks,
        bands=_bands(selection),
        planes=planes,
        spill_bytes=memory.spill_bytes,
        spill_in_file=memory.spill_in_file,
        room_bytes=memory.room_bytes - memory.kept_bytes,
        peak_bytes=memory.peak_bytes(min(most, len(looked_at))),
    )


@dataclass(frozen=True)
class _Memory:
    """What the detection needs.

    Attributes
    ----------
    used_bytes : flags, and scratch of the threads
    room_bytes : left for images
    row_bytes : images of a row, and what is found in them
    spill_bytes : all images, where they have to be kept
    """

    used_bytes: int
    room_bytes: int
    row_bytes: int
    spill_bytes: int
    spill_in_file: bool

    @property
    def kept_bytes(self) -> int:
        """Images kept in memory."""
        return 0 if self.spill_in_file else self.spill_bytes

    def rows_at_once(self, threads: int, *, legacy: bool) -> int:
        """Rows of a block at most."""
        aim_bytes, aim_rows = (LEGACY_BLOCK_BYTES, LEGACY_BLOCK_ROWS) if legacy else (BLOCK_BYTES, BLOCK_ROWS)
        aim = max(aim_bytes // self.row_bytes, aim_rows, 8 * threads)
        return max(1, min((self.room_bytes - self.kept_bytes) // self.row_bytes, aim, MOST_BLOCK_ROWS))

    def peak_bytes(self, n_rows: int) -> int:
        """Memory at most, with so many rows at once."""
        buffers = n_rows * self.row_bytes
        if self.spill_in_file:
            buffers = max(buffers, min(self.room_bytes, KeptImages.PIECE_BYTES))
        return BASE_BYTES + self.used_bytes + self.kept_bytes + buffers


def _memory(
    selection: Selection, rows: Rows, looked_at: IntArray, planes: int, resources: Resources, *, keeps: bool
) -> _Memory:
    """Decide where images are kept.

    Parameters
    ----------
    keeps : whether all images have to be kept until all is read

    Raises
    ------
    InputError : `max_memory_gib` is too little
    """
    n_fine, n_times = selection.metadata.n_fine, len(selection.timesteps)
    n_chan = n_fine * max(len(band) for band in selection.bands)
    mask = 0 if resources.mask_in_file else mask_bytes(selection, len(rows))
    used = mask + resources.threads * worker_bytes(n_times, n_chan)
    room = resources.room_bytes - used
    row_bytes = n_times * n_chan * (4 * planes + 1)  # images, and what is found
    least = row_bytes
    spill_bytes, spill_in_file = 0, False
    if keeps:
        spill_bytes = len(looked_at) * n_times * len(selection.freqs_hz) * 4 * planes
        spill_in_file = spill_bytes + row_bytes > room
        if spill_in_file:
            least = max(least, KeptImages.least_bytes(len(looked_at), planes, n_fine))
    if least > room:
        raise InputError(
            f"`max_memory_gib={(BASE_BYTES + room + used) / 2**30:.3g}` GiB is too little: RFI detection needs at "
            f"least {(BASE_BYTES + used + least) / 2**30:.2f} GiB here (without it: `rfi=none`)",
            option="max_memory_gib",
        )
    if spill_bytes and not spill_in_file:
        row_bytes = n_times * n_chan
    return _Memory(used, room, row_bytes, spill_bytes, spill_in_file)


def _bands(selection: Selection) -> tuple[slice, ...]:
    bands, first = [], 0
    for band in selection.bands:
        bands.append(slice(first, first + len(band)))
        first += len(band)
    return tuple(bands)


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
    flags, n_fine = plan.flags, plan.metadata.n_fine
    missing = np.repeat(flags.chunks != _core.CHUNK_GOOD, n_fine, axis=1) | (flags.channels != 0)
    flag = _flagger(plan, detection)
    images = _images(plan, detection)
    read_share, threads = images.READ_SHARE, plan.resources.threads
    found_cells = 0
    with images, flag:
        images.prepare(lambda share: progress(read_share * share))
        for number, band in enumerate(detection.bands):
            channels = slice(band.start * n_fine, band.stop * n_fine)
            gone = np.ascontiguousarray(missing[None, :, channels]).view(np.uint8)
            for block in detection.blocks:
                rows = detection.rows[block]
                found = flag(images.read(block, band), gone)
                found_cells += _core.rfi_set_bits(found, rows, n_fine, mask.bits[:, band], threads)
                share = (number + block.stop / len(detection.rows)) / len(detection.bands)
                progress(read_share + (1 - read_share) * share)
    return found_cells


class BuiltIn:
    """The detection of this package, as something that flags blocks of images."""

    def __init__(self, strategy: RfiStrategy, threads: int) -> None:
        self._parameters = strategy.parameters()
        self._threads = threads
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


def _flagger(plan: Plan, detection: DetectionPlan) -> BuiltIn | AOFlagger:
    if detection.strategy is None:
        from mwaconvert.conversion.rfi.aoflagger import AOFlagger

        return AOFlagger(plan.options.rfi_strategy or "", plan.resources.threads)
    return BuiltIn(detection.strategy, plan.resources.threads)
