"""Streaming uvh5 writer: pyuvdata makes the file with its header, blocks go straight into its arrays.

pyuvdata's conventions (its memo on uvh5): uvw is antenna 2 minus antenna 1, so that visibilities are the complex
conjugates of those in uvfits files; polarisations XX, YY, XY, YX; times are Julian dates in UTC.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.constants import JD_OF_MJD_ZERO
from mwaconvert.errors import ResourceError
from mwaconvert.extras import need
from mwaconvert.staging import Kind, StagedPath, refused
from mwaconvert.visibilities.model import Block, VisHeader

if TYPE_CHECKING:
    from mwaconvert.visibilities.statistics import QualityStatistics

_POLARISATIONS = [-5, -6, -7, -8]
#: where they stand in a block, which has XX, XY, YX, YY
_ORDER = [0, 3, 1, 2]
_CHUNK_BYTES = 1 << 20
_EARTH_OMEGA = 360.9856473
#: of the tables that the header holds for each row: pyuvdata makes them at once
HEADER_ROW_BYTES = 200


class Uvh5Writer:
    """Writes all spectral windows of a header into one file.

    Data and flags are never in memory as a whole; the header, which has some 200 bytes for each row, is.

    Parameters
    ----------
    path : final name of the file
    header : what to write besides the blocks
    overwrite : whether an existing file may be replaced

    Raises
    ------
    InputError : the file exists and may not be replaced
    ResourceError : pyuvdata or h5py are not installed, no permission, not enough space
    """

    def __init__(self, path: Path, header: VisHeader, *, overwrite: bool = False) -> None:
        need("pyuvdata", "pyuvdata", f"{path}: writing uvh5")
        self._h5py = need("h5py", "pyuvdata", f"{path}: writing uvh5")
        self.path = path
        self._rows = len(header.antenna1)
        windows = header.spectral_windows
        self._channels = np.concatenate([np.arange(w.channels.start, w.channels.stop) for w in windows])
        self._staged = StagedPath(path, overwrite, Kind.HDF5)
        self._file: Any = None
        try:
            made = _without_data(header)
            rows_at_once = max(1, min(self._rows, _CHUNK_BYTES // (32 * len(self._channels))))
            made.initialize_uvh5_file(
                self._staged.temporary,
                chunks=(rows_at_once, len(self._channels), 4),
                data_write_dtype="c8",
            )
            self._file = self._h5py.File(self._staged.temporary, "r+")
        except OSError as error:
            self.abort()
            raise refused(path, error) from None
        except BaseException:
            self.abort()
            raise

    def write(self, block: Block) -> None:
        """Write the rows of a block; blocks may come in any order."""
        begin = block.time_index * self._rows + block.rows.start
        rows = slice(begin, begin + len(block.vis))
        vis, weight = (
            np.ascontiguousarray(values[:, self._channels][:, :, _ORDER])
            for values in (block.vis, block.weight)
        )
        data = self._file["Data"]
        try:
            data["visdata"][rows] = vis.conj()
            data["flags"][rows] = np.signbit(weight) | (weight == 0)
            data["nsamples"][rows] = np.abs(weight)
            self._file["Header/uvw_array"][rows] = -block.uvw_m
        except OSError as error:
            raise refused(self.path, error) from None

    def put_statistics(self, statistics: QualityStatistics) -> None:
        """Nothing: the format has no place for them."""

    def close(self) -> None:
        """Sync the file and give it its name."""
        try:
            self._file.close()
            self._file = None
            self._staged.commit()
        except (OSError, RuntimeError) as error:
            self.abort()
            raise ResourceError(f"{self.path}: cannot be written: {error}") from None

    def abort(self) -> None:
        """Remove what was written."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except (OSError, RuntimeError):
            pass  # it cannot be flushed, and goes
        self._staged.discard()


def _without_data(header: VisHeader) -> Any:
    """pyuvdata's object of the file, with everything but visibilities, flags and uvw."""
    import warnings

    from pyuvdata import UVData

    windows, n_times, n_rows = header.spectral_windows, len(header.time_mjd), len(header.antenna1)
    pairs = np.stack([header.antenna1, header.antenna2], axis=1) + 1
    exposure = np.where(header.exposure_s > 0, header.exposure_s, header.interval_s)
    ra, dec = header.phase_centre_rad
    name = header.phase_centre_name
    several = len(windows) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pyuvdata about times without polar motion, and of its own age
        made = UVData.new(
            freq_array=np.concatenate([w.freq_hz for w in windows]),
            channel_width=np.concatenate([w.width_hz for w in windows]),
            flex_spw_id_array=np.concatenate([np.full(w.n_chan, k) for k, w in enumerate(windows)])
            if several
            else None,
            polarization_array=_POLARISATIONS,
            times=np.repeat(header.centroid_mjd + JD_OF_MJD_ZERO, n_rows),
            antpairs=np.tile(pairs, (n_times, 1)),
            do_blt_outer=False,
            integration_time=np.repeat(exposure, n_rows),
            telescope=_telescope(header),
            update_telescope_from_known=False,
            blts_are_rectangular=True,
            time_axis_faster_than_bls=False,
            phase_center_catalog={
                0: {
                    "cat_name": name,
                    "cat_type": "sidereal",
                    "cat_lon": ra,
                    "cat_lat": dec,
                    "cat_frame": "fk5",
                    "cat_epoch": 2000.0,
                }
            },
            astrometry_library="erfa",
            extra_keywords={"OBSID": header.metadata.obsid, "SOFTWARE": header.software},
            dut1=header.dut1_s,
            timesys="UTC",
            earth_omega=_EARTH_OMEGA,
        )
    # without the time at which this object was made: the same run twice writes the same bytes
    made.history = "\n".join((header.software, header.command_line, *header.history))
    if several:
        made.spw_array = np.arange(len(windows))
    return made


def _telescope(header: VisHeader) -> Any:
    from astropy import units
    from astropy.coordinates import EarthLocation
    from pyuvdata import Telescope

    place = header.array_position
    location = EarthLocation.from_geodetic(
        lon=place.longitude_rad * units.rad,
        lat=place.latitude_rad * units.rad,
        height=place.height_m * units.m,
    )
    n = header.metadata.n_antennas
    return Telescope.new(
        name="MWA",
        location=location,
        instrument="MWA",
        antenna_names=_names(header),
        antenna_numbers=np.arange(1, n + 1),
        antenna_positions=_from_centre_m(header, location),
        antenna_diameters=np.full(n, 4.0),
        x_orientation="east",
        feeds=["x", "y"],
        mount_type="phased",
        update_from_known=False,
    )


def _names(header: VisHeader) -> list[str]:
    names = [antenna.name for antenna in header.metadata.antennas]
    return [name if names.count(name) == 1 else f"{name}#{k}" for k, name in enumerate(names, 1)]


def _from_centre_m(header: VisHeader, location: Any) -> FloatArray:
    """(n_antenna, 3) geocentric axes, from the middle of the array."""
    centre = np.array([location.x.value, location.y.value, location.z.value])
    found: FloatArray = header.antenna_itrf_m - centre
    return found
