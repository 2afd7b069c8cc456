"""Where, towards what and in which frame of time data were taken: facts that every conversion hands on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: telescope_id of SIGPROC, as PRESTO and sigpyproc have them
_TELESCOPES = {
    0: "",
    1: "Arecibo",
    2: "Ooty",
    3: "Nancay",
    4: "Parkes",
    5: "Jodrell",
    6: "GBT",
    7: "GMRT",
    8: "Effelsberg",
    9: "ATA",
    10: "SRT",
    11: "LOFAR",
    12: "VLA",
    20: "CHIME",
    21: "FAST",
    64: "MeerKAT",
    65: "KAT-7",
}


class Frame(StrEnum):
    """What times refer to."""

    TOPOCENTRIC = "topocentric"
    BARYCENTRIC = "barycentric"
    PULSARCENTRIC = "pulsarcentric"

    @property
    def words(self) -> str:
        """The scale of an MJD."""
        return {
            Frame.TOPOCENTRIC: "UTC",
            Frame.BARYCENTRIC: "barycentric, not UTC",
            Frame.PULSARCENTRIC: "in the frame of the pulsar, not UTC",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Facts of the recording; what a file does not say is empty or None.

    Parameters
    ----------
    telescope : name; "telescope 77" of a number without a name
    backend : name; "machine 2" where a file has a number
    ra_deg, dec_deg : J2000, degrees
    az_deg, za_deg : azimuth and zenith angle at the start, degrees
    beam, n_beams : number of the beam, and of how many
    frame : what times refer to

    Examples
    --------
    >>> Recording.of_sigproc({"telescope_id": 4, "src_raj": 161538.22, "barycentric": 1})
    Recording(telescope='Parkes', backend='', ra_deg=243.90925, dec_deg=None, az_deg=None, za_deg=None, beam=0, \
n_beams=0, frame=<Frame.BARYCENTRIC: 'barycentric'>)
    """

    telescope: str = ""
    backend: str = ""
    ra_deg: float | None = None
    dec_deg: float | None = None
    az_deg: float | None = None
    za_deg: float | None = None
    beam: int = 0
    n_beams: int = 0
    frame: Frame = Frame.TOPOCENTRIC

    @classmethod
    def of_sigproc(cls, header: Mapping[str, Any]) -> Recording:
        """What the keywords of SIGPROC say.

        Parameters
        ----------
        header : keywords; src_raj and src_dej are hhmmss.s and ddmmss.s
        """

        def number(key: str) -> float | None:
            value = header.get(key)
            return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

        telescope, machine = int(number("telescope_id") or 0), int(number("machine_id") or 0)
        ra, dec = number("src_raj"), number("src_dej")
        frame = Frame.TOPOCENTRIC
        if number("pulsarcentric"):
            frame = Frame.PULSARCENTRIC
        elif number("barycentric"):
            frame = Frame.BARYCENTRIC
        return cls(
            telescope=_TELESCOPES.get(telescope, f"telescope {telescope}"),
            backend=f"machine {machine}" if machine else "",
            ra_deg=None if ra is None else round(15 * _of_packed(ra), 9),
            dec_deg=None if dec is None else _of_packed(dec),
            az_deg=number("az_start"),
            za_deg=number("za_start"),
            beam=int(number("ibeam") or 0),
            n_beams=int(number("nbeams") or 0),
            frame=frame,
        )

    def to_sigproc(self) -> dict[str, Any]:
        """Keywords of SIGPROC for what is known."""
        values: dict[str, Any] = {"telescope_id": telescope_id(self.telescope)}
        values["machine_id"] = _numbered("machine", self.backend)
        if self.ra_deg is not None and self.dec_deg is not None:
            values |= {"src_raj": _packed(self.ra_deg / 15), "src_dej": _packed(self.dec_deg)}
        angles = {"az_start": self.az_deg, "za_start": self.za_deg}
        values |= {key: value for key, value in angles.items() if value is not None}
        values |= {key: n for key, n in (("ibeam", self.beam), ("nbeams", self.n_beams)) if n}
        values["barycentric"] = int(self.frame is Frame.BARYCENTRIC)
        if self.frame is Frame.PULSARCENTRIC:
            values["pulsarcentric"] = 1
        return values

    def facts(self) -> dict[str, str]:
        """What is known, in words, by name."""
        lines = {}
        if self.telescope:
            lines["telescope"] = self.telescope + (f", {self.backend}" if self.backend else "")
        if self.ra_deg is not None and self.dec_deg is not None:
            lines["direction"] = f"RA {hms(self.ra_deg)}, Dec {dms(self.dec_deg)} (J2000)"
        if self.beam or self.n_beams:
            lines["beam"] = str(self.beam) + (f" of {self.n_beams}" if self.n_beams else "")
        return lines


#: of a file that says nothing
NOT_RECORDED = Recording()


def telescope_id(name: str) -> int:
    """The number of a telescope in SIGPROC; 0 of one that has none.

    Examples
    --------
    >>> telescope_id("parkes"), telescope_id("telescope 77"), telescope_id("MWA")
    (4, 77, 0)
    """
    known = {text.lower(): number for number, text in _TELESCOPES.items()}
    return known.get(name.strip().lower(), _numbered("telescope", name))


def hms(ra_deg: float) -> str:
    """Degrees as hh:mm:ss.ssss.

    Examples
    --------
    >>> hms(243.90925), dms(-0.20415722)
    ('16:15:38.2200', '-00:12:14.9660')
    """
    return _sexagesimal(ra_deg / 15 % 24)


def dms(dec_deg: float) -> str:
    """Degrees as +-dd:mm:ss.ssss."""
    return ("-" if dec_deg < 0 else "+") + _sexagesimal(abs(dec_deg))


def degrees(text: Any, *, hours: bool) -> float | None:
    """What hh:mm:ss or dd:mm:ss stands for; None if it is not an angle.

    Parameters
    ----------
    text : the angle; blanks do for colons
    hours : whether it is one of hours

    Examples
    --------
    >>> degrees("-00:30:00", hours=False), degrees("unknown", hours=True)
    (-0.5, None)
    """
    found = re.fullmatch(r"\s*([+-]?)(\d+)[:\s](\d+)(?:[:\s](\d+(?:\.\d*)?))?\s*", str(text))
    if not found:
        return None
    value = int(found[2]) + int(found[3]) / 60 + float(found[4] or 0) / 3600
    value = -value if found[1] == "-" else value
    return 15 * value if hours else value


def direction(ra: Any, dec: Any) -> tuple[float | None, float | None]:
    """Degrees of a right ascension in hours and a declination; None of the zeros that stand for none.

    Parameters
    ----------
    ra, dec : texts, as `degrees` takes them

    Examples
    --------
    >>> direction("01:00:00", "-10:30:00"), direction("00:00:00.0", "00:00:00")
    ((15.0, -10.5), (None, None))
    """
    ra_deg, dec_deg = degrees(ra, hours=True), degrees(dec, hours=False)
    known = ra_deg is not None and dec_deg is not None and (ra_deg, dec_deg) != (0, 0)
    return (ra_deg, dec_deg) if known else (None, None)


def _sexagesimal(value: float) -> str:
    units = round(value * 36_000_000)  # tenths of a thousandth of a second
    seconds, rest = divmod(units, 10_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:04d}"


def _of_packed(value: float) -> float:
    """ddmmss.s -> degrees (or hours)."""
    whole = abs(value)
    units, rest = divmod(whole, 10_000)
    minutes, seconds = divmod(rest, 100)
    return math.copysign(round(units + minutes / 60 + seconds / 3600, 11), value)


def _packed(value: float) -> float:
    """Degrees (or hours) -> ddmmss.s; seconds to a ten-millionth, so that none becomes 60."""
    units, rest = divmod(round(abs(value) * 3600 * 1e7), 3600 * 10**7)
    minutes, tail = divmod(rest, 60 * 10**7)
    return math.copysign(units * 10_000 + minutes * 100 + tail / 1e7, value)


def _numbered(word: str, name: str) -> int:
    found = re.fullmatch(rf"{word} (\d+)", name.strip())
    return int(found[1]) if found else 0
