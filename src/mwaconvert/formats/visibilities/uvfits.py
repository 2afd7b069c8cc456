"""Streaming uvfits (random groups) writer.

Layout: AIPS Memo 117 and the peers' files; rows run through baselines fastest, uvw is antenna1 minus antenna2
in seconds, a negative or zero weight marks a flagged value, polarisations XX, YY, XY, YX.
"""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import erfa
import numpy as np

from mwaconvert import _core, _ufuncs
from mwaconvert.arrays import IntArray
from mwaconvert.constants import FITS_BLOCK, JD_OF_MJD_ZERO, SPEED_OF_LIGHT_M_S
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.fits_text import Card, header_bytes, table_bytes
from mwaconvert.staging import Kind, StagedPath, refused
from mwaconvert.visibilities.model import Block, SpectralWindow, VisHeader

if TYPE_CHECKING:
    from mwaconvert.visibilities.statistics import QualityStatistics

#: group parameters: the baseline as one number, or as two antennas where it would need more than 255 of each
WITH_BASELINE = ("UU", "VV", "WW", "BASELINE", "DATE", "DATE", "INTTIM")
WITH_ANTENNAS = ("UU", "VV", "WW", "ANTENNA1", "ANTENNA2", "SUBARRAY", "DATE", "DATE", "INTTIM")
#: antennas that 256 * antenna1 + antenna2 can number
MOST_NUMBERED = 255
#: MNTSTA of a phased array, as pyuvdata has it; AIPS Memo 117 ends at 5
MOUNT_PHASED = 6
#: letters of a name in the antenna table
NAME_LENGTH = 8


class UvfitsWriter:
    """Writes one contiguous frequency range; memory use does not depend on the size of the file.

    Parameters
    ----------
    path : final name of the file
    header : what to write besides the blocks
    window : which of the header's spectral windows; the file holds its channels of each block
    overwrite : whether an existing file may be replaced
    baseline : of more than 255 antennas, write 2048 antenna1 + antenna2 + 65536 as BASELINE, which CASA does not read,
        instead of ANTENNA1, ANTENNA2 and SUBARRAY
    threads : 0 for all cores

    Raises
    ------
    InputError : the file exists and may not be replaced, or channels are not evenly spaced
    ResourceError : no permission, or not enough space
    """

    def __init__(
        self,
        path: Path,
        header: VisHeader,
        window: SpectralWindow,
        *,
        overwrite: bool = False,
        baseline: bool = False,
        threads: int = 0,
    ) -> None:
        steps = np.diff(window.freq_hz)
        if steps.size and not np.allclose(steps, steps[0], rtol=1e-6, atol=0):
            raise InputError(
                f"{path}: uvfits holds evenly spaced channels only, but averaging leaves a shorter channel at the end "
                "of each coarse channel; choose a frequency resolution that divides 1.28 MHz, or write a .ms"
            )
        self.path = path
        self._header = header
        self._window = window
        self._threads = threads
        self._rows = len(header.antenna1)
        self._parameters = parameters_of(header, baseline=baseline)
        self._group_bytes = _core.group_bytes(len(self._parameters), window.n_chan)
        self._who = _who(header, self._parameters)
        self._date0_jd = float(np.floor(header.centroid_mjd[0] + JD_OF_MJD_ZERO - 0.5) + 0.5)

        self._staged = StagedPath(path, overwrite, Kind.UVFITS)
        try:
            self._fd = os.open(self._staged.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            self._staged.discard()
            raise refused(path, error) from None
        try:
            self._begin(path)
        except BaseException:
            self.abort()
            raise

    def _begin(self, path: Path) -> None:
        header = self._header
        primary = self._primary_header()
        tail = self._antenna_table()
        self._data_start = len(primary)
        data_end = self._data_start + self._group_bytes * self._rows * len(header.time_mjd)
        padded_end = -(-data_end // FITS_BLOCK) * FITS_BLOCK
        try:
            os.ftruncate(self._fd, padded_end)  # unwritten bytes are zero, as FITS padding must be
            os.pwrite(self._fd, primary, 0)
            os.pwrite(self._fd, tail, padded_end)
        except OSError as error:
            raise refused(path, error) from None

    def write(self, block: Block) -> None:
        """Write the rows of a block; blocks may come in any order."""
        header = self._header
        n = len(self._parameters)
        parameters = np.empty((len(block.vis), n), np.float32)
        parameters[:, 0:3] = block.uvw_m / SPEED_OF_LIGHT_M_S
        parameters[:, 3 : n - 3] = self._who[block.rows]
        # a float32 fraction of a day is good to 5 ms only: the second DATE holds what the first rounds off
        day = header.centroid_mjd[block.time_index] + (JD_OF_MJD_ZERO - self._date0_jd)
        parameters[:, n - 3] = day
        parameters[:, n - 2] = day - np.float64(np.float32(day))
        exposure = header.exposure_s[block.time_index]
        parameters[:, n - 1] = exposure if exposure > 0 else header.interval_s[block.time_index]
        offset = self._data_start + self._group_bytes * (block.time_index * self._rows + block.rows.start)
        channels = self._window.channels
        try:
            _core.write_groups(
                fd=self._fd,
                offset=offset,
                parameters=parameters,
                vis=block.vis,
                weight=block.weight,
                channel_begin=channels.start,
                channel_end=channels.stop,
                threads=self._threads,
            )
        except ResourceError as error:
            raise ResourceError(f"{self.path}: {error}") from None

    def put_statistics(self, statistics: QualityStatistics) -> None:
        """Nothing: the format has no place for them."""

    def close(self) -> None:
        """Sync the file and give it its name."""
        try:
            os.fsync(self._fd)
            self._close()
            self._staged.commit()
        except OSError as error:
            self.abort()
            raise refused(self.path, error) from None

    def abort(self) -> None:
        """Remove what was written."""
        self._close()
        self._staged.discard()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _primary_header(self) -> bytes:
        h, window, meta = self._header, self._window, self._header.metadata
        ra_deg, dec_deg = np.degrees(h.phase_centre_rad)
        reference = window.n_chan // 2
        width = (
            float(window.freq_hz[1] - window.freq_hz[0]) if window.n_chan > 1 else float(window.width_hz[0])
        )
        lengths = (0, 3, 4, window.n_chan, 1, 1)
        parameters = self._parameters
        first_date = parameters.index("DATE") + 1
        axes = (
            ("COMPLEX", 1.0, 1.0, 1.0),
            ("STOKES", -5.0, -1.0, 1.0),
            ("FREQ", float(window.freq_hz[reference]), width, reference + 1.0),
            ("RA", float(ra_deg), 1.0, 1.0),
            ("DEC", float(dec_deg), 1.0, 1.0),
        )
        cards: list[Card] = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(lengths))]
        cards += [(f"NAXIS{axis}", length) for axis, length in enumerate(lengths, 1)]
        cards += [("EXTEND", True), ("GROUPS", True), ("PCOUNT", len(parameters))]
        cards.append(("GCOUNT", self._rows * len(h.time_mjd)))
        for k, name in enumerate(parameters, 1):
            cards += [
                (f"PTYPE{k}", name),
                (f"PSCAL{k}", 1.0),
                (f"PZERO{k}", self._date0_jd if k == first_date else 0.0),
            ]
        for axis, (kind, value, step, pixel) in enumerate(axes, 2):
            cards += [
                (f"CTYPE{axis}", kind),
                (f"CRVAL{axis}", value),
                (f"CDELT{axis}", step),
                (f"CRPIX{axis}", pixel),
            ]
        cards += [
            ("OBJECT", h.phase_centre_name),
            ("OBSRA", float(ra_deg)),
            ("OBSDEC", float(dec_deg)),
            ("EPOCH", 2000.0),
            ("TELESCOP", "MWA"),
            ("INSTRUME", "MWA"),
            ("LAT", float(np.degrees(h.array_position.latitude_rad))),
            ("LON", float(np.degrees(h.array_position.longitude_rad))),
            ("ALT", h.array_position.height_m),
            ("OBSERVER", meta.creator),
            ("XORIENT", "east"),
            ("DATE-OBS", _date(float(h.centroid_mjd[0]))),
            ("BUNIT", "UNCALIB"),
            ("OBSID", meta.obsid),
            ("SOFTWARE", h.software),
            ("HISTORY", "AIPS WTSCAL = 1.0"),
        ]
        for line in (h.command_line, *h.history):
            cards += [("HISTORY", piece) for piece in textwrap.wrap(line, 70, subsequent_indent="  ")]
        return header_bytes(cards)

    def _antenna_table(self) -> bytes:
        """The AIPS AN table. STABXYZ is local: x towards the local meridian, array centre not added."""
        h = self._header
        n = h.metadata.n_antennas
        day = np.floor(h.centroid_mjd[0])
        position = h.array_position
        x, y, z = erfa.gd2gc(1, position.longitude_rad, position.latitude_rad, position.height_m)
        year, month, day_of_month, _ = erfa.jd2cal(JD_OF_MJD_ZERO, day)
        f4 = np.float32
        columns = [
            (
                "ANNAME",
                np.array(distinct_names([a.name for a in h.metadata.antennas]), f"S{NAME_LENGTH}"),
                None,
            ),
            ("STABXYZ", h.antenna_xyz_m, "METERS"),
            ("ORBPARM", np.zeros((n, 0)), None),
            ("NOSTA", np.arange(1, n + 1, dtype=np.int32), None),
            ("MNTSTA", np.full(n, MOUNT_PHASED, np.int32), None),
            ("STAXOF", np.zeros(n, f4), "METERS"),
            ("POLTYA", np.full(n, b"X"), None),
            # X is the east-west dipole; angles count from north (peers write 0 and 90)
            ("POLAA", np.full(n, 90, f4), "DEGREES"),
            ("POLCALA", np.zeros((n, 3), f4), None),
            ("POLTYB", np.full(n, b"Y"), None),
            ("POLAB", np.zeros(n, f4), "DEGREES"),
            ("POLCALB", np.zeros((n, 3), f4), None),
            ("DIAMETER", np.full(n, 4, f4), "METERS"),
        ]
        cards: list[Card] = [
            ("EXTVER", 1),
            ("ARRAYX", float(x)),
            ("ARRAYY", float(y)),
            ("ARRAYZ", float(z)),
            ("GSTIA0", float(np.degrees(erfa.gst06a(JD_OF_MJD_ZERO, day, JD_OF_MJD_ZERO, day)))),
            ("DEGPDY", 360.9856473),
            ("FREQ", float(self._window.freq_hz[self._window.n_chan // 2])),
            ("RDATE", _date(float(day))),
            ("POLARX", 0.0),
            ("POLARY", 0.0),
            ("UT1UTC", h.dut1_s),
            ("DATUTC", 0.0),
            ("TIMSYS", "UTC"),
            ("TIMESYS", "UTC"),
            ("ARRNAM", "MWA"),
            ("FRAME", "ITRF"),
            ("XYZHAND", "RIGHT"),
            ("NUMORB", 0),
            ("NO_IF", 1),
            ("NOPCAL", 3),
            ("POLTYPE", "X-Y LIN"),
            ("FREQID", -1),
            ("IATUTC", float(erfa.dat(year, month, day_of_month, 0.0))),
        ]
        return table_bytes("AIPS AN", columns, cards)


def parameters_of(header: VisHeader, *, baseline: bool = False) -> tuple[str, ...]:
    """Names of the group parameters."""
    many = header.metadata.n_antennas > MOST_NUMBERED
    return WITH_ANTENNAS if many and not baseline else WITH_BASELINE


def _who(header: VisHeader, parameters: tuple[str, ...]) -> IntArray:
    """(n_rows, 1 or 3) the parameters that name the antennas of each row."""
    first, second = header.antenna1 + 1, header.antenna2 + 1
    if parameters == WITH_ANTENNAS:
        return np.stack([first, second, np.ones_like(first)], axis=1)
    many = header.metadata.n_antennas > MOST_NUMBERED
    number: IntArray = _ufuncs.baseline_number(first, second, 2048 if many else 256)
    return number[:, None]


def distinct_names(names: Sequence[str]) -> list[bytes]:
    """Names cut to what the antenna table holds; those that would be alike end in their number.

    Examples
    --------
    >>> distinct_names(["Tile011", "LongTileName1", "LongTileName2"])
    [b'Tile011', b'LongTi#2', b'LongTi#3']
    """
    whole = [name.encode("ascii", "replace") for name in names]
    often = Counter(name[:NAME_LENGTH] for name in whole)
    cut = []
    for k, name in enumerate(whole, 1):
        number = f"#{k}".encode()
        alike = often[name[:NAME_LENGTH]] > 1
        cut.append(name[: NAME_LENGTH - len(number)] + number if alike else name[:NAME_LENGTH])
    return cut


def _date(mjd: float) -> str:
    year, month, day, _ = erfa.jd2cal(JD_OF_MJD_ZERO, np.floor(mjd))
    return f"{int(year):04d}-{int(month):02d}-{int(day):02d}"
