"""Whether a set may be restored, by whom, with what: one decision before anything is fetched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from mwaconvert.archive.casa.versions import CasaChoice, CasaVersion, choose_casa
from mwaconvert.archive.identifiers import StatusUid
from mwaconvert.archive.packages import room_needed
from mwaconvert.archive.units import Calibrated, CalibrationState, Deliveries
from mwaconvert.errors import InputError, ResourceError


@dataclass(frozen=True)
class RestoreDecision:
    """A restore that may start: the CASA to use, bytes of disk it may need, what to tell whoever asked."""

    casa: CasaChoice
    room_bytes: int
    warnings: tuple[str, ...]


def decide_restore(
    mous: StatusUid,
    *,
    deliveries: Deliveries,
    calibration: CalibrationState,
    calibrated_with: CasaVersion,
    installed: Collection[CasaVersion],
    raw_bytes: int,
    free_bytes: int,
    at: datetime,
    mpi_servers: int = 0,
    parallel: bool = False,
) -> RestoreDecision:
    """Decide on a restore of a member set.

    The release date is asked here and again when products are handed out (`Deliveries.check_public`): it may move in
    between.

    Parameters
    ----------
    deliveries : release dates as they were seen
    calibration : from the list of its files
    calibrated_with : the CASA of the calibration
    raw_bytes, free_bytes : of the raw data, and free on the disk to work on
    at : now
    mpi_servers, parallel : of the calibration, and whether the restore runs on several processes

    Raises
    ------
    InputError
        The data are proprietary, the calibration is not official, complete and stored apart, or CASA does not fit.
    ResourceError
        The disk is too small.
    """
    deliveries.check_public(mous, at)
    if calibration.missing:
        raise InputError(f"{mous} cannot be restored: {'; '.join(calibration.missing)}")
    choice = choose_casa(
        calibrated_with, calibration.by, installed, mpi_servers=mpi_servers, parallel=parallel
    )
    room = room_needed(raw_bytes, calibration.by)
    if room > free_bytes:
        raise ResourceError(
            f"{mous}: a restore may need {room / 1e9:.1f} GB, {free_bytes / 1e9:.1f} GB are free; make room or "
            "choose another disk"
        )
    warnings = list(choice.warnings)
    if calibration.by is Calibrated.HAND:
        warnings.append("calibrated by hand: the restore calibrates all of it again, which takes days")
    return RestoreDecision(choice, room, tuple(warnings))
