"""Streaming uvfits (random groups) writer.

Layout: AIPS Memo 117 and the peers' files; rows run through baselines fastest, uvw is antenna1 minus antenna2
in seconds, a negative or zero weight marks a flagged value, polarisations XX, YY, XY, YX.
"""

from __future__ import annotations

import io
import os
import textwrap
from pathlib import Path

import erfa
import numpy as np

from mwaconvert import _core, _ufuncs
from mwaconvert.errors import ResourceError
from mwaconvert.formats.staging import StagedPath
from mwaconvert.formats.visibility import Block, SpectralWindow, VisHeader

SPEED_OF_LIGHT = 299792458.0
N_PARAMETERS = 7
FITS_BLOCK = 2880
MJD_ZERO_JD = 2400000.5


class UvfitsWriter:
    """Writes one contiguous frequency range; memory use does not depend on the size of the file.

    Parameters
    ----------
    path : final name of the file
    header : what to write besides the blocks
    window : which of the header's spectral windows; the file holds its channels of each block
    overwrite : whether an existing file may be replaced
    threads : 0 for all cores

    Raises
    ------
    InputError : the file exists and may not be replaced
    ResourceError : no permission, or not enough space
    """

    def __init__(
        self, path: Path, header: VisHeader, window: SpectralWindow, *, overwrite: bool = False, threads: int = 0
    ) -> None:
        self.path = path
        self._header = header
        self._window = window
        self._threads = threads
        self._rows = len(header.antenna1)
        self._group_bytes = _core.group_bytes(N_PARAMETERS, window.n_chan)
        many = header.metadata.n_antennas > 255
        self._baseline = _ufuncs.baseline_number(header.antenna1 + 1, header.antenna2 + 1, 2048 if many else 256)
        self._date0_jd = float(np.floor(header.centroid_mjd[0] + MJD_ZERO_JD - 0.5) + 0.5)

        self._staged = StagedPath(path, overwrite)
        try:
            self._fd = os.open(self._staged.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise _refused(path, error) from None
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
            self.abort()
            raise _refused(path, error) from None

    def write(self, block: Block) -> None:
        """Write the rows of a block; blocks may come in any order."""
        header = self._header
        parameters = np.empty((len(block.vis), N_PARAMETERS), np.float32)
        parameters[:, 0:3] = block.uvw_m / SPEED_OF_LIGHT
        parameters[:, 3] = self._baseline[block.rows]
        # a float32 fraction of a day is good to 5 ms only: the second DATE holds what the first rounds off
        day = header.centroid_mjd[block.time_index] + (MJD_ZERO_JD - self._date0_jd)
        parameters[:, 4] = day
        parameters[:, 5] = day - np.float64(np.float32(day))
        exposure = header.exposure_s[block.time_index]
        parameters[:, 6] = exposure if exposure > 0 else header.interval_s[block.time_index]
        offset = self._data_start + self._group_bytes * (block.time_index * self._rows + block.rows.start)
        channels = self._window.channels
        try:
            _core.write_groups(
                self._fd, offset, parameters, block.vis, block.weight, channels.start, channels.stop, self._threads
            )
        except ResourceError as error:
            raise ResourceError(f"{self.path}: {error}") from None

    def close(self) -> None:
        """Sync the file and give it its name."""
        try:
            os.fsync(self._fd)
            self._close()
            self._staged.commit()
        except OSError as error:
            self.abort()
            raise _refused(self.path, error) from None

    def abort(self) -> None:
        """Remove what was written."""
        self._close()
        self._staged.discard()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _primary_header(self) -> bytes:
        from astropy.io import fits

        h, window, meta = self._header, self._window, self._header.metadata
        ra_deg, dec_deg = np.degrees(h.phase_centre_rad)
        card = fits.Header()
        card["SIMPLE"] = True
        card["BITPIX"] = -32
        card["NAXIS"] = 6
        for axis, length in enumerate((0, 3, 4, window.n_chan, 1, 1), 1):
            card[f"NAXIS{axis}"] = length
        card["EXTEND"] = True
        card["GROUPS"] = True
        card["PCOUNT"] = N_PARAMETERS
        card["GCOUNT"] = self._rows * len(h.time_mjd)
        names = ("UU", "VV", "WW", "BASELINE", "DATE", "DATE", "INTTIM")
        for k, name in enumerate(names, 1):
            card[f"PTYPE{k}"] = name
            card[f"PSCAL{k}"] = 1.0
            card[f"PZERO{k}"] = self._date0_jd if k == 5 else 0.0
        reference = window.n_chan // 2
        width = float(window.freq_hz[1] - window.freq_hz[0]) if window.n_chan > 1 else float(window.width_hz[0])
        axes = (
            ("COMPLEX", 1.0, 1.0, 1.0),
            ("STOKES", -5.0, -1.0, 1.0),
            ("FREQ", float(window.freq_hz[reference]), width, reference + 1.0),
            ("RA", float(ra_deg), 1.0, 1.0),
            ("DEC", float(dec_deg), 1.0, 1.0),
        )
        for axis, (kind, value, step, pixel) in enumerate(axes, 2):
            card[f"CTYPE{axis}"] = kind
            card[f"CRVAL{axis}"] = value
            card[f"CDELT{axis}"] = step
            card[f"CRPIX{axis}"] = pixel
        card["OBJECT"] = h.phase_centre_name
        card["OBSRA"] = float(ra_deg)
        card["OBSDEC"] = float(dec_deg)
        card["EPOCH"] = 2000.0
        card["TELESCOP"] = "MWA"
        card["INSTRUME"] = "MWA"
        card["OBSERVER"] = meta.creator
        card["XORIENT"] = "east"
        card["DATE-OBS"] = _date(float(h.centroid_mjd[0]))
        card["BUNIT"] = "UNCALIB"
        card["OBSID"] = (meta.obsid, "GPS time of the scheduled start, s")
        card["SOFTWARE"] = h.software
        card.add_history("AIPS WTSCAL = 1.0")
        for line in (h.command_line, *h.history):
            for piece in textwrap.wrap(_ascii(line), 70, subsequent_indent="  "):
                card.add_history(piece)
        return _header_bytes(card)

    def _antenna_table(self) -> bytes:
        """The AIPS AN table. STABXYZ is local: x towards the local meridian, array centre not added."""
        from astropy.io import fits

        h = self._header
        meta = h.metadata
        n = meta.n_antennas
        day = np.floor(h.centroid_mjd[0])
        position = h.array_position
        centre = erfa.gd2gc(1, position.longitude_rad, position.latitude_rad, position.height_m)
        year, month, day_of_month, _ = erfa.jd2cal(MJD_ZERO_JD, day)
        columns = [
            ("ANNAME", "8A", np.array([a.name[:8] for a in meta.antennas]), None),
            ("STABXYZ", "3D", h.antenna_xyz_m, "METERS"),
            ("ORBPARM", "0D", np.zeros((n, 0)), None),
            ("NOSTA", "1J", np.arange(1, n + 1), None),
            ("MNTSTA", "1J", np.zeros(n), None),
            ("STAXOF", "1E", np.zeros(n), "METERS"),
            ("POLTYA", "1A", np.full(n, "X"), None),
            # X is the east-west dipole; angles count from north (peers write 0 and 90)
            ("POLAA", "1E", np.full(n, 90.0), "DEGREES"),
            ("POLCALA", "3E", np.zeros((n, 3)), None),
            ("POLTYB", "1A", np.full(n, "Y"), None),
            ("POLAB", "1E", np.zeros(n), "DEGREES"),
            ("POLCALB", "3E", np.zeros((n, 3)), None),
            ("DIAMETER", "1E", np.full(n, 4.0), "METERS"),
        ]
        table = fits.BinTableHDU.from_columns(
            [fits.Column(name, form, array=array, unit=unit) for name, form, array, unit in columns], name="AIPS AN"
        )
        card = table.header
        card["EXTVER"] = 1
        for name, value in zip("XYZ", centre, strict=True):
            card[f"ARRAY{name}"] = float(value)
        card["GSTIA0"] = (float(np.degrees(erfa.gst06a(MJD_ZERO_JD, day, MJD_ZERO_JD, day))), "GST at 0h of RDATE, deg")
        card["DEGPDY"] = 360.9856473
        card["FREQ"] = float(self._window.freq_hz[self._window.n_chan // 2])
        card["RDATE"] = _date(float(day))
        card["POLARX"] = 0.0
        card["POLARY"] = 0.0
        card["UT1UTC"] = h.dut1_s
        card["DATUTC"] = 0.0
        card["TIMSYS"] = "UTC"
        card["TIMESYS"] = "UTC"
        card["ARRNAM"] = "MWA"
        card["FRAME"] = "ITRF"
        card["XYZHAND"] = "RIGHT"
        card["NUMORB"] = 0
        card["NO_IF"] = 1
        card["NOPCAL"] = 3
        card["POLTYPE"] = "X-Y LIN"
        card["FREQID"] = -1
        card["IATUTC"] = float(erfa.dat(year, month, day_of_month, 0.0))
        file = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
        return file.getvalue()[FITS_BLOCK:]  # without the primary HDU, which is one block


def _date(mjd: float) -> str:
    year, month, day, _ = erfa.jd2cal(MJD_ZERO_JD, np.floor(mjd))
    return f"{int(year):04d}-{int(month):02d}-{int(day):02d}"


def _ascii(line: str) -> str:
    return line.encode("ascii", "replace").decode()


def _header_bytes(card: object) -> bytes:
    return card.tostring(sep="", endcard=True, padding=True).encode("ascii")  # type: ignore[attr-defined,no-any-return]


def _refused(path: Path, error: OSError) -> ResourceError:
    return ResourceError(f"{path}: cannot be written: {error.strerror}")
