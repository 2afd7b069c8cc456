"""The metafits of a simulation: written from scratch, or adapted from a real one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.fits_heads import check_heads
from mwaconvert.observation.model import Correlator
from mwaconvert.simulate.layout import ELECTRICAL, SLOTS, tile_table
from mwaconvert.simulate.rawfile import MARK
from mwaconvert.simulate.sky import offline, site

COARSE_MHZ = 1.28
#: DELAYMOD by GEODEL
DELAY_MODES = ("NODELAYS", "CABLEZEN", "TILEBEAM", "FULLTRACK")

TFORMS = {
    "TileName": "8A",
    "Pol": "A",
    "Length": "14A",
    "North": "E",
    "East": "E",
    "Height": "E",
    "BFTemps": "E",
    "Delays": "16I",
    "Flavors": "10A",
    "Receiver_Types": "10A",
}


@dataclass(frozen=True)
class Instrument:
    """What the metafits says about the array, read with astropy and nothing else of this package.

    Antennas are in the order of the column Antenna, coarse channels in ascending sky frequency.
    """

    correlator: Correlator
    obsid: int
    project: str
    start_unix_s: float
    int_time_s: float
    n_times: int
    fine_width_hz: float
    n_fine: int
    #: receiver channel numbers
    channels: tuple[int, ...]
    #: (n_ant, 3) East, North, Height above sea level
    position_m: FloatArray
    #: (n_ant, 2 pol)
    inputs: IntArray
    #: (n_ant, 2 pol) electrical length
    cable_m: FloatArray
    #: (n_ant, 2 pol, n_coarse), 1 = no gain
    gains: FloatArray
    geodel: int
    cabledel: int
    gains_applied: bool
    oversampled: bool
    deripple: bool
    phase_centre_deg: tuple[float, float]
    alt_az_deg: tuple[float, float]

    @property
    def n_antennas(self) -> int:
        return len(self.position_m)

    @property
    def fine_freq_hz(self) -> FloatArray:
        """(n_coarse, n_fine) centre frequency of each fine channel.

        A fine channel k of n starts at the lower band edge; odd n centres them. The legacy correlator sums
        channels at multiples of 10 kHz, whose mean frequency lies higher by half of what a channel is wider.
        """
        k = np.arange(self.n_fine, dtype=np.float64)
        if self.n_fine % 2:
            k += 0.5
        offset = k * self.fine_width_hz - 0.64e6
        if self.correlator == "legacy":
            offset += max(0.0, self.fine_width_hz - 10e3) / 2
        return np.array(self.channels)[:, None] * 1.28e6 + offset[None, :]

    @property
    def gpubox(self) -> tuple[int, ...]:
        """Correlator box of each coarse channel: from 1 upwards, but reversed for channels above 128."""
        low = sum(number <= 128 for number in self.channels)
        n = len(self.channels)
        return tuple(i + 1 if i < low else n - (i - low) for i in range(n))


def read_instrument(hdus: Any) -> Instrument:
    """What a metafits (an astropy HDUList) says.

    Raises
    ------
    MetadataError : a key or column is missing
    """
    header, tiles = hdus[0].header, hdus["TILEDATA"].data
    try:
        order = np.lexsort((tiles["Pol"] == "Y", tiles["Antenna"]))
        pairs = order.reshape(-1, 2)
        if not np.all(tiles["Pol"][pairs] == ["X", "Y"]):
            raise MetadataError("TILEDATA: every antenna needs one row X and one row Y in column Pol")
        position = np.stack([tiles[name][pairs[:, 0]] for name in ("East", "North", "Height")], axis=1)
        channels = tuple(sorted(int(word) for word in header["CHANNELS"].replace("'", "").split(",")))
        fine_hz = float(header["FINECHAN"]) * 1e3
        gains = tiles["Gains"][pairs].astype(np.float64) / 64
        return Instrument(
            correlator=read_correlator(header),
            obsid=int(header["GPSTIME"]),
            project=str(header.get("PROJECT", "D0000")),
            start_unix_s=float(header["GOODTIME"]) - float(header["QUACKTIM"]),
            int_time_s=float(header["INTTIME"]),
            n_times=int(header["NSCANS"]),
            fine_width_hz=fine_hz,
            n_fine=round(1.28e6 / fine_hz),
            channels=channels,
            position_m=position.astype(np.float64),
            inputs=tiles["Input"][pairs].astype(np.int64),
            cable_m=np.array([[_electrical_length(text) for text in row] for row in tiles["Length"][pairs]]),
            gains=gains.reshape(*pairs.shape, -1)[:, :, : len(channels)],
            geodel=int(header.get("GEODEL", 0)),
            cabledel=int(header.get("CABLEDEL", 0)),
            gains_applied=bool(header.get("DGAINS", 0)),
            oversampled=int(header.get("OVERSAMP", 0)) == 1,
            deripple=int(header.get("DR_FLAG", 0)) == 1,
            phase_centre_deg=(
                float(header.get("RAPHASE", header["RA"])),
                float(header.get("DECPHASE", header["DEC"])),
            ),
            alt_az_deg=(float(header["ALTITUDE"]), float(header["AZIMUTH"])),
        )
    except KeyError as error:
        raise MetadataError(f"metafits to simulate from: {error.args[0]}") from error


def read_correlator(header: Any) -> Correlator:
    """HW_LFILES was also the mode of the first MWAX observations: those came after obsid 1.31e9."""
    legacy = header["MODE"].startswith("HW_") and header["NINPUTS"] == 256 and header["GPSTIME"] < 1.31e9
    return "legacy" if legacy else "mwax"


def _electrical_length(text: str) -> float:
    return float(text[3:]) if text.startswith("EL_") else float(text) * ELECTRICAL


def built_in(
    correlator: Correlator, n_tiles: int, radius_m: float, channels: Sequence[int], obsid: int
) -> Any:
    """A metafits of an invented array pointing at the zenith; the times are set by `set_times`.

    Returns
    -------
    astropy.io.fits.HDUList
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    header = primary.header
    n_receivers = -(-n_tiles // SLOTS)
    band_mhz = COARSE_MHZ * len(channels)
    cards: list[tuple[str, Any, str]] = [
        ("GPSTIME", obsid, "[s] GPS time of observation start"),
        ("FILENAME", f"simulated_{obsid}", "Name of observation"),
        ("AZIMUTH", 0.0, "[deg] Azimuth of pointing center"),
        ("ALTITUDE", 90.0, "[deg] Altitude of pointing center"),
        ("ATTEN_DB", 1.0, "[dB] global analogue attenuation, in dB"),
        ("GRIDNAME", "sweet", "Pointing grid name"),
        ("GRIDNUM", 0, "Pointing grid number"),
        ("CREATOR", "mwaconvert", "Observation creator"),
        ("PROJECT", "D0000", "Project ID"),
        ("MODE", "HW_LFILES" if correlator == "legacy" else "MWAX_CORRELATOR", "Observation mode"),
        ("RECVRS", ",".join(str(r + 1) for r in range(n_receivers)), "Active receivers"),
        ("DELAYS", ",".join(["0"] * 16), "Beamformer delays"),
        ("CALIBRAT", False, "Not intended for calibration"),
        ("CENTCHAN", channels[len(channels) // 2], "Center coarse channel"),
        ("CHANNELS", ",".join(str(c) for c in channels), "Coarse channels"),
        ("CHANSEL", ",".join(str(i) for i in range(len(channels))), "Indices of the coarse channels"),
        ("NINPUTS", 2 * n_tiles, "Number of inputs into the correlation products"),
        ("BANDWDTH", round(band_mhz, 6), "[MHz] Total bandwidth"),
        ("TIMEOFF", 0, "[s] Deprecated, use QUACKTIM or GOODTIME"),
        ("VERSION", 2.4, "METAFITS version number"),
        ("TELESCOP", "MWA", ""),
        ("INSTRUME", "128T" if correlator == "legacy" else "MWAX", ""),
    ]
    for key, value, comment in cards:
        fits_card = not isinstance(value, str) or len(value) + len(comment) <= 65
        header[key] = (value, comment if fits_card else "")
    table = tile_table(n_tiles, radius_m, len(channels))
    if correlator == "legacy":
        del table["Receiver_Types"]
    forms = {**TFORMS, "Gains": f"{len(channels)}I"}
    columns = [
        fits.Column(name, forms.get(name, "I"), "m" if name in ("North", "East", "Height") else None, array=a)
        for name, a in table.items()
    ]
    return fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="TILEDATA")])


def open_like(path: Path) -> Any:
    """A real metafits in memory, ready to be adapted.

    Raises
    ------
    InputError : not a FITS file with a TILEDATA table
    """
    from astropy.io import fits

    try:
        check_heads(path)
        with fits.open(path, memmap=False) as source:
            hdus = fits.HDUList([hdu.copy() for hdu in source if hdu.name in ("PRIMARY", "TILEDATA")])
            hdus["TILEDATA"].data  # noqa: B018  read before the file closes
            for key in ("GPSTIME", "CHANNELS", "MODE", "NINPUTS"):
                hdus[0].header[key]
    except (FormatError, OSError, KeyError, IndexError) as error:
        raise InputError(f"{path}: not a metafits to simulate from ({error})") from error
    header = hdus[0].header
    if header["MODE"] not in ("HW_LFILES", "MWAX_CORRELATOR"):  # a voltage mode: its correlator twin
        header["MODE"] = "MWAX_CORRELATOR" if header["MODE"].startswith("MWAX") else "HW_LFILES"
    return hdus


def keep_tiles(hdus: Any, n_tiles: int) -> None:
    """Leave only the first `n_tiles` antennas in a metafits."""
    table = hdus["TILEDATA"]
    table.data = table.data[table.data["Antenna"] < n_tiles]
    hdus[0].header["NINPUTS"] = len(table.data)


def set_correlation(
    hdus: Any, int_time_s: float, n_times: int, fine_khz: float, quack_s: float, geodel: int, cabledel: int
) -> None:
    """Put what the correlator did into the primary header."""
    header = hdus[0].header
    if MARK not in header.get("COMMENT", ()):
        header.add_comment(MARK)
    channels = sorted(int(word) for word in header["CHANNELS"].replace("'", "").split(","))
    n_coarse = len(channels)
    exposure = n_times * int_time_s
    # whole seconds, as mwalib demands
    header["EXPOSURE"] = (math.ceil(exposure - 1e-9), "[s] duration of observation")
    header["INTTIME"] = (int_time_s, "[s] Individual integration time")
    header["NSCANS"] = (n_times, "Number of time instants in correlation products")
    header["FINECHAN"] = (fine_khz, "[kHz] Fine channel width")
    # the correlators average channels of 10 and of 0.2 kHz
    legacy = read_correlator(header) == "legacy"
    header["NAV_FREQ"] = (round(fine_khz / (10 if legacy else 0.2)), "Fine channel averaging factor")
    # as in real metafits: first fine channel of the central coarse channel
    shift_mhz = {20.0: 0.005, 40.0: 0.015}.get(fine_khz, 0.0) if legacy else 0.0
    freqcent = (channels[n_coarse // 2] - 0.5) * COARSE_MHZ + shift_mhz
    header["FREQCENT"] = (round(freqcent, 6), "[MHz] Center frequency of observation")
    header["NCHANS"] = (n_coarse * round(1280 / fine_khz), "Number of (averaged) fine channels in spectrum")
    header["QUACKTIM"] = (quack_s, "Seconds of bad data after observation starts")
    if not legacy or geodel or cabledel or "GEODEL" in header or "CABLEDEL" in header:
        mode = "CABLE" if cabledel and not geodel else DELAY_MODES[geodel]
        header["DELAYMOD"] = (mode, "MWAX correlator delay mode")
        header["CABLEDEL"] = (cabledel, "Cable delays taken out by the correlator")
        header["GEODEL"] = (geodel, "Geometric delays taken out by the correlator")


def set_times(hdus: Any, obsid: int, phase_centre: tuple[float, float] | None, keep_pointing: bool) -> None:
    """Make all keys of time and direction agree with the obsid.

    Parameters
    ----------
    hdus : metafits with EXPOSURE and QUACKTIM set
    obsid : GPS second of the start
    phase_centre : RA, Dec in degrees; None: as it is, or the pointing rounded to whole degrees
    keep_pointing : RA, DEC and RAPHASE, DECPHASE in the header already belong to this obsid

    Raises
    ------
    InputError : a date that astropy's tables do not cover
    """
    from astropy import units
    from astropy.coordinates import ICRS, AltAz, SkyCoord, get_sun
    from astropy.time import Time
    from erfa import ErfaWarning

    header = hdus[0].header
    with offline():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ErfaWarning)  # a dubious year, refused below
            start = Time(obsid, format="gps").utc
            dut1, status = start.get_delta_ut1_utc(return_status=True)
        if status < 0:  # before or after the table
            raise InputError(
                f"obsid {obsid}: astropy's table of the Earth's orientation does not cover that date; "
                "choose another, or upgrade the package astropy-iers-data"
            )
        unix = round(start.unix)
        location = site()
        lst = start.sidereal_time("apparent", location.lon)
        header["GPSTIME"] = obsid
        header["MJD"] = (start.mjd, "[days] MJD of observation")
        header["DATE-OBS"] = (start.isot[:19], "[UT] Date and time of observation")
        header["DATESTRT"] = (start.isot[:19], "[UT] Date and time of correlations start")
        header["LST"] = (lst.deg, "[deg] LST")
        header["DUT1"] = (float(dut1.to_value(units.s)), "[s] UT1-UTC")
        header["GOODTIME"] = (float(unix + header["QUACKTIM"]), "OBSID+QUACKTIME as Unix timestamp")
        frame = AltAz(obstime=start, location=location, pressure=0 * units.hPa)
        if not keep_pointing:
            pointing = SkyCoord(
                AltAz(
                    alt=header["ALTITUDE"] * units.deg, az=header["AZIMUTH"] * units.deg,
                    obstime=start, location=location,
                )
            ).transform_to(ICRS())  # fmt: skip
            header["RA"] = (pointing.ra.deg, "[deg] RA of pointing center")
            header["DEC"] = (pointing.dec.deg, "[deg] Dec of pointing center")
            if phase_centre is None:
                phase_centre = (round(pointing.ra.deg) % 360.0, float(round(pointing.dec.deg)))
        hour_angle = lst.deg - header["RA"]
        hour_angle = (hour_angle + 180) % 360 - 180
        sun = get_sun(start)
        header["SUN-ALT"] = (float(sun.transform_to(frame).alt.deg), "[deg] Altitude of Sun")
    header["HA"] = (_sexagesimal(hour_angle / 15), "[hours] hour angle of pointing center")
    if phase_centre is not None:
        header["RAPHASE"] = (phase_centre[0], "[deg] RA of desired phase center")
        header["DECPHASE"] = (phase_centre[1], "[deg] DEC of desired phase center")


def _sexagesimal(hours: float) -> str:
    hundredths = round(abs(hours) * 360000)
    minutes, rest = divmod(hundredths, 6000)
    return f"{'-' if hours < 0 else ' '}{minutes // 60:02d}:{minutes % 60:02d}:{rest / 100:05.2f}"


def flag_tiles(hdus: Any, antennas: Sequence[int]) -> None:
    """Set the column Flag of some antennas."""
    data: npt.NDArray[Any] = hdus["TILEDATA"].data
    data["Flag"][np.isin(data["Antenna"], antennas)] = 1
