"""How much of the machine a conversion takes: read and decided once, when the plan is made."""

from __future__ import annotations

from mwaconvert import _core, machine
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.plan import Resources, Selection
from mwaconvert.conversion.rfi.mask import mask_bytes
from mwaconvert.machine import BASE_BYTES


def decide_resources(options: Options, selection: Selection, n_rows: int) -> Resources:
    """Threads, and memory for data."""
    free = machine.free_bytes()
    room = memory_room(options, free)
    return Resources(
        threads=options.threads or _core.available_threads(),
        free_bytes=free,
        room_bytes=room,
        mask_in_file=mask_in_file(mask_bytes(selection, n_rows), room),
    )


def memory_room(options: Options, free: int) -> int:
    """Memory for data: what `max_memory_gib` leaves, else half of what is free."""
    if options.max_memory_gib is not None:
        return int(options.max_memory_gib * 2**30) - BASE_BYTES
    return free // 2


def mask_in_file(n_bytes: int, room: int) -> bool:
    """Whether flags of single cells would take too much of the memory: more than a quarter."""
    return n_bytes > room // 4
