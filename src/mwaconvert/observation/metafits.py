"""The metafits of an observation, read by mwalib into `Metadata`."""

from __future__ import annotations

import math
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.observation.mending import mend
from mwaconvert.observation.model import Antenna, CoarseChannel, Correlator, Metadata
from mwaconvert.observation.trial import fatal_failure
from mwaconvert.staging import check_input

if TYPE_CHECKING:
    import mwalib

#: spacing and width of receiver channels; BANDWDTH of some metafits is that of the channels in use
COARSE_WIDTH_HZ = 1.28e6
#: a hundred times what the metafits of 256 tiles takes
_LARGEST_BYTES = 256 << 20
#: names of metafits files
_METAFITS = re.compile(r"\.metafits$|_metafits(_ppds)?\.fits$")


def read_metadata(path: Path, correlator: Correlator | None = None) -> Metadata:
    """Read a metafits file.

    Parameters
    ----------
    path : metafits file, the folder that holds it, or the obsid of one in the working folder
    correlator : the correlator that wrote the raw files, which decides the numbers of coarse channels in file
        names; None takes it from the metafits key MODE

    Raises
    ------
    InputError : there is no such file
    FormatError : it is not a FITS file
    MetadataError : it is not a metafits, or keys or columns are missing or unusable
    """
    path = find_metafits(path)
    check_input(path, "metafits file")
    if path.stat().st_size > _LARGEST_BYTES:
        raise FormatError(
            f"{path}: {path.stat().st_size} bytes: no metafits file is so large; is it a raw file?"
        )
    with path.open("rb") as file:
        if file.read(9) != b"SIMPLE  =":
            raise FormatError(f"{path}: not a FITS file")
    context, notes = _open_context(path, correlator)
    kind: Correlator = correlator or _correlator(context)
    antennas = _checked_antennas(path, context)
    fine_width_hz = float(context.corr_fine_chan_width_hz)
    if context.corr_int_time_ms <= 0:
        raise MetadataError(f"{path}: INTTIME must be positive")
    return Metadata(
        path=path,
        obsid=context.obs_id,
        correlator=kind,
        antennas=tuple(_antenna(antenna) for antenna in antennas),
        coarse_channels=_coarse_channels(context),
        digital_gains=_digital_gains(path, antennas, context.num_metafits_coarse_chans),
        fine_width_hz=fine_width_hz,
        n_fine=channels_per_coarse(fine_width_hz, path),
        int_time_s=context.corr_int_time_ms / 1000,
        sched_start_unix_s=context.sched_start_unix_time_ms / 1000,
        sched_duration_s=context.sched_duration_ms / 1000,
        good_time_unix_s=context.good_time_unix_ms / 1000,
        quack_s=context.quack_time_duration_ms / 1000,
        dut1_s=context.dut1,
        pointing_deg=(context.ra_tile_pointing_degrees, context.dec_tile_pointing_degrees),
        phase_centre_deg=_phase_centre(context),
        az_alt_deg=(context.az_deg, context.alt_deg),
        delays=tuple(context.delays),
        geodel=int(context.geometric_delays_applied),  # type: ignore[call-overload]
        cabledel=int(context.cable_delays_applied),  # type: ignore[call-overload]
        digital_gains_applied=context.digital_gains_applied,
        has_global_gains=_card(path, "CHANGAIN") is not None,
        calibration_applied=context.calibration_delays_and_gains_applied,
        signal_chain_applied=context.signal_chain_corrections_applied,
        oversampled=context.oversampled,
        deripple=context.deripple_applied,
        mode=str(context.mode).rpartition(".")[2].upper(),
        creator=context.creator,
        metafits_version=_card(path, "VERSION") or "",
        project=context.project_id,
        name=context.obs_name,
        calibrator=context.calibrator,
        calibrator_source=context.calibrator_source,
        receivers=tuple(context.receivers),
        attenuation_db=context.global_analogue_attenuation_db,
        notes=tuple(notes),
    )


def _checked_antennas(path: Path, context: mwalib.MetafitsContext) -> list[mwalib.Antenna]:
    """The antennas by number."""
    antennas = sorted(context.antennas, key=lambda antenna: antenna.ant)
    if [antenna.ant for antenna in antennas] != list(range(len(antennas))):
        raise MetadataError(f"{path}: the column Antenna does not number the tiles from 0 without gaps")
    if not antennas:  # what mwalib makes of other letters in the column Pol
        raise MetadataError(
            f"{path}: found no tile in TILEDATA that has a row of polarisation X and one of Y (column Pol)"
        )
    _check_positions(path, antennas)
    return antennas


def find_metafits(path: Path) -> Path:
    """The metafits that is meant by a file, by a folder with one observation, or by an obsid alone.

    Raises
    ------
    InputError : a folder that holds none, or several
    """
    if path.is_dir():
        found = [
            file
            for pattern in ("*", "*/*")
            for file in sorted(path.glob(pattern))
            if _METAFITS.search(file.name)
        ]
        whole = [file for file in found if "ppds" not in file.name] or found
        if len(whole) != 1:
            what = f"{len(whole)} metafits files" if whole else "no metafits file"
            raise InputError(
                f"{path}: this folder holds {what}; name one, such as {path}/1234567890.metafits"
            )
        return whole[0]
    if re.fullmatch(r"\d{10}", path.name) and not path.exists():
        beside = (path.with_name(f"{path.name}{ending}") for ending in (".metafits", "_metafits.fits"))
        return next((file for file in beside if file.is_file()), path)
    return path


def channels_per_coarse(fine_width_hz: float, path: Path) -> int:
    """Number of fine channels in a coarse channel.

    Raises
    ------
    MetadataError : the width (from `path`) does not divide a coarse channel
    """
    n = round(COARSE_WIDTH_HZ / fine_width_hz) if fine_width_hz > 0 else 0
    if n < 1 or abs(n * fine_width_hz - COARSE_WIDTH_HZ) > 1:
        raise MetadataError(
            f"{path}: FINECHAN is {fine_width_hz / 1000:g} kHz, which does not divide a coarse channel of "
            f"{COARSE_WIDTH_HZ / 1000:g} kHz"
        )
    return n


def _open_context(path: Path, correlator: Correlator | None) -> tuple[mwalib.MetafitsContext, list[str]]:
    """The file as mwalib reads it, if need be from a mended copy; sentences on what was mended."""
    try:
        return _read(path, correlator), []
    except MetadataError as error:
        with tempfile.TemporaryDirectory(prefix="mwaconvert-") as folder:
            copy = Path(folder) / path.name
            notes = mend(path, copy)
            if not notes:
                raise MetadataError(f"{path}: not a usable metafits file: {error}") from error
            try:
                return _read(copy, correlator), notes
            except MetadataError as again:
                raise MetadataError(f"{path}: not a usable metafits file: {again}") from again


def _read(path: Path, correlator: Correlator | None) -> mwalib.MetafitsContext:
    import mwalib

    if failure := fatal_failure(path):
        raise MetadataError(_plain(failure, path))
    versions = {"legacy": mwalib.MWAVersion.CorrLegacy, "mwax": mwalib.MWAVersion.CorrMWAXv2}
    try:
        return mwalib.MetafitsContext(str(path), versions[correlator] if correlator else None)
    except Exception as error:  # the exceptions of mwalib have no base class of their own
        raise MetadataError(_plain(str(error), path)) from error


def _plain(text: str, path: Path) -> str:
    """What mwalib says, without the lines and types of its source."""
    text = re.sub(r"^src/\S+ ", "", " ".join(text.split())).replace(str(path), "").strip()
    if found := re.search(r'message: "([^"]*)"', text):
        return f"cfitsio says: {found[1]}"
    if "`" in text or "{" in text:
        return "a key or a column holds something else than the number or date that belongs there"
    return text


def _card(path: Path, key: str) -> str | None:
    """The value of a keyword of the first header that mwalib does not hand on."""
    with path.open("rb") as file:
        while (card := file.read(80).decode("ascii", errors="replace")) and card.strip() != "END":
            if card.startswith(f"{key:<8}="):
                return card[9:].partition("/")[0].strip(" '")
    return None


def _check_positions(path: Path, antennas: list[mwalib.Antenna]) -> None:
    for antenna in antennas:
        for column, value in (
            ("North", antenna.north_m),
            ("East", antenna.east_m),
            ("Height", antenna.height_m),
            ("Length", antenna.rfinput_x.electrical_length_m),
            ("Length", antenna.rfinput_y.electrical_length_m),
        ):
            if not math.isfinite(value):
                raise MetadataError(
                    f"{path}: {antenna.tile_name}: expected a number in column {column} of TILEDATA, found {value}"
                )


def _correlator(context: mwalib.MetafitsContext) -> Correlator:
    return "mwax" if "mwax" in str(context.mode).lower() else "legacy"


def _antenna(antenna: mwalib.Antenna) -> Antenna:
    x, y = antenna.rfinput_x, antenna.rfinput_y
    return Antenna(
        index=antenna.ant,
        tile_id=antenna.tile_id,
        name=antenna.tile_name,
        east_m=antenna.east_m,
        north_m=antenna.north_m,
        height_m=antenna.height_m,
        input=(x.input, y.input),
        electrical_length_m=(x.electrical_length_m, y.electrical_length_m),
        flagged=x.flagged or y.flagged,
        receiver=x.rec_number,
        slot=(x.rec_slot_number, y.rec_slot_number),
        dipole_delays=(tuple(x.dipole_delays), tuple(y.dipole_delays)),
        receiver_type=str(x.rec_type).rpartition(".")[2],
    )


def _coarse_channels(context: mwalib.MetafitsContext) -> tuple[CoarseChannel, ...]:
    channels = sorted(context.metafits_coarse_chans, key=lambda channel: channel.rec_chan_number)
    return tuple(
        CoarseChannel(
            index=index,
            number=channel.rec_chan_number,
            gpubox=channel.gpubox_number,
            centre_hz=channel.rec_chan_number * COARSE_WIDTH_HZ,
            width_hz=COARSE_WIDTH_HZ,
        )
        for index, channel in enumerate(channels)
    )


def _digital_gains(path: Path, antennas: list[mwalib.Antenna], n_coarse: int) -> FloatArray:
    rows = [[antenna.rfinput_x.digital_gains, antenna.rfinput_y.digital_gains] for antenna in antennas]
    lengths = {len(gains) for row in rows for gains in row}
    if lengths != {n_coarse}:
        raise MetadataError(
            f"{path}: expected a digital gain for each of {n_coarse} coarse channels, found {sorted(lengths)}"
        )
    return np.array(rows, dtype=np.float64)


def _phase_centre(context: mwalib.MetafitsContext) -> tuple[float, float] | None:
    ra, dec = context.ra_phase_center_degrees, context.dec_phase_center_degrees
    return None if ra is None or dec is None else (ra, dec)
