"""`simulate`: a metafits and raw files of a known sky."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.progress import Progress, Stage
from mwaconvert.quantities import takes_quantities
from mwaconvert.simulate import metafits as mf
from mwaconvert.simulate import model
from mwaconvert.simulate.generator import Generator
from mwaconvert.simulate.legacy import LegacyWriter
from mwaconvert.simulate.missing import Present, parse_missing
from mwaconvert.simulate.mwax import MwaxWriter
from mwaconvert.simulate.prepare import checked_tiles, chosen_channels, prepare_metafits
from mwaconvert.simulate.rfi import Rfi, make_rfi
from mwaconvert.simulate.sky import Source, as_sources, directions, read_sky
from mwaconvert.staging import Kind, StagedPath, check_targets

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Simulation:
    """What was written, and the truth behind it.

    Attributes
    ----------
    metafits : path
    raw : paths of the raw files, by coarse channel and batch
    instrument : what the metafits says
    sources : point sources
    coarse : indices of the simulated coarse channels in `instrument.channels`
    start_unix_s : (n_times,) start of each integration, UTC as Unix time
    present : which integrations the files hold, (n_times, len(coarse))
    noise_jy : standard deviation of the real and of the imaginary part of a cross-correlation
    rfi : interference, or None
    rfi_mask : path of its mask, or None
    """

    metafits: Path
    raw: tuple[Path, ...]
    instrument: mf.Instrument
    sources: tuple[Source, ...]
    coarse: tuple[int, ...]
    start_unix_s: FloatArray
    present: Present
    noise_jy: float
    rfi: Rfi | None
    rfi_mask: Path | None

    @property
    def phase_centre_deg(self) -> tuple[float, float]:
        """RA, Dec (J2000)."""
        return self.instrument.phase_centre_deg

    @property
    def centroid_unix_s(self) -> FloatArray:
        """(n_times,) middle of each integration."""
        return self.start_unix_s + self.instrument.int_time_s / 2

    @property
    def enu_m(self) -> FloatArray:
        """(n_ant, 3) East, North, Up of the tiles from the array centre."""
        return model.enu_positions(self.instrument)

    def delay_m(self, ra_deg: float, dec_deg: float) -> FloatArray:
        """(n_times, n_ant) by how much each antenna hears a J2000 direction early: w_i in metres."""
        enu = directions(np.array([ra_deg]), np.array([dec_deg]), self.centroid_unix_s)[:, 0]
        return enu @ self.enu_m.T

    def sky(self, time: int, coarse: int) -> npt.NDArray[np.complex128]:
        """Noise-free visibilities before the instrument and before any tracking, of XX and of YY.

        What a perfect conversion without geometric correction gives; times exp(-2 pi i (w_i - w_j) f / c)
        with w of `delay_m` it is what a perfect conversion gives.

        Parameters
        ----------
        time : integration
        coarse : index into `instrument.channels`

        Returns
        -------
        (n_baselines, n_fine) Jansky; baselines 0-0, 0-1, ..., 1-1, ...
        """
        freq = self.instrument.fine_freq_hz[coarse]
        sky = model.make_sky(self.instrument, self.sources, self.centroid_unix_s[time : time + 1])
        fringe = model.fringes(self.enu_m, sky.source_enu[0], freq)
        ant1, ant2 = np.triu_indices(self.instrument.n_antennas)
        total = np.zeros((len(ant1), len(freq)), dtype=np.complex128)
        for k, flux in enumerate(sky.flux_jy(0, freq).T):
            total += (fringe[:, ant1, k] * fringe[:, ant2, k].conj() * flux[:, None]).T
        return total


# One function: each stage (sky, instrument, files) needs the choices of all stages before it.
@takes_quantities
def simulate(
    out_dir: str | Path,
    like: str | Path = "mwax-128",
    *,
    obsid: int | None = None,
    duration_s: float = 8.0,
    int_time_s: float | None = None,
    fine_khz: float | None = None,
    coarse_channels: int | Sequence[int] | None = None,
    sources: Sequence[Source | Sequence[float]] | None = None,
    sky: str | Path | None = None,
    phase_centre: tuple[float, float] | None = None,
    noise_jy: float = 0.0,
    rfi_fraction: float = 0.0,
    missing: Sequence[str] = (),
    compress: bool = False,
    bscale: float | None = None,
    n_tiles: int | None = None,
    flagged_tiles: Sequence[int] = (),
    geodel: int | None = None,
    cabledel: int | None = None,
    quack_s: float | None = None,
    batch_s: float | None = None,
    weights: float | npt.NDArray[np.float32] = 1.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Simulation:
    """Write a metafits and raw files of a known sky.

    The model is described in `simulate.model`: point sources, seen by isotropic antennas, in the middle of
    each integration and fine channel. Cable lengths, digital gains and the coarse passband are applied as
    the metafits says (CABLEDEL, DGAINS, DR_FLAG, OVERSAMP), and geometric tracking (GEODEL).

    Parameters
    ----------
    out_dir : directory to write in; created if need be
    like : `legacy-128`, `mwax-128`, `mwax-256`, or the path of a metafits whose array, pointing and channels
        are taken over
    obsid : GPS second of the start; None: that of the metafits, or a night with RA 0 in the zenith
    duration_s : length of the observation, rounded up to whole integrations
    int_time_s : integration time; None: 2 s, or as in the metafits
    fine_khz : fine channel width; None: 40 kHz, or as in the metafits
    coarse_channels : receiver channel numbers, or how many; None: one from 131 up, or all of the metafits.
        With a metafits, they are among its own, and the other channels have no files
    sources : (ra_deg, dec_deg, flux_jy[, spectral_index]) each, flux densities at 150 MHz
    sky : text file of more of them; with neither, one source of 10 Jy at the phase centre
    phase_centre : RA, Dec in degrees (J2000); None: that of the metafits, or the zenith in whole degrees
    noise_jy : standard deviation of the real and of the imaginary part of each cross-correlation. Then
        autocorrelations hold the system's power too: noise_jy * sqrt(2 * channel width * integration time)
    rfi_fraction : of the cells (time, fine channel) that hold interference; the truth goes to
        `<obsid>_rfi.npz` beside the raw files
    missing : what to leave out, see `simulate.missing.parse_missing`; channels count within those simulated
    compress : legacy only: Rice-compressed integers
    bscale : legacy only: write int32 in steps of this many Jansky. None: float32; with `compress`, a power of
        two that resolves the noise, or the sky
    n_tiles : MWAX only: fewer (or more) tiles
    flagged_tiles : antennas that the metafits flags (their data are as good as the others')
    geodel, cabledel : GEODEL 0..3 and CABLEDEL 0..2 of the metafits; None: 0, or as in the metafits
    quack_s : QUACKTIM; None: 0, or as in the metafits
    batch_s : length of one raw file; None: all in one
    weights : of MWAX files, one number or (n_baselines, 4)
    seed : of noise and interference
    overwrite : replace existing files
    progress : told the number of integrations written, of all channels, and their total

    Raises
    ------
    InputError : an argument that cannot be used
    ResourceError : no space, or no permission to write
    """
    hdus, n_times = prepare_metafits(
        like, obsid, duration_s, int_time_s, fine_khz, coarse_channels, n_tiles, geodel, cabledel, quack_s,
        phase_centre,
    )  # fmt: skip
    mf.flag_tiles(hdus, checked_tiles(flagged_tiles, hdus))
    instrument = mf.read_instrument(hdus)
    coarse = chosen_channels(instrument, coarse_channels)
    start_unix_s: FloatArray = (
        instrument.start_unix_s + np.arange(n_times, dtype=np.float64) * instrument.int_time_s
    )
    present = parse_missing(missing, n_times, len(coarse))

    if not noise_jy >= 0 or not np.isfinite(noise_jy):
        raise InputError(f"noise_jy {noise_jy}: must be zero or positive")
    if seed < 0:
        raise InputError(f"seed {seed}: must not be negative")
    if not 0 <= rfi_fraction <= 1:
        raise InputError(f"rfi_fraction {rfi_fraction}: must be between 0 and 1")
    all_sources = as_sources(sources or ()) + (read_sky(Path(sky)) if sky is not None else ())
    if sources is None and sky is None:
        all_sources = (Source(*instrument.phase_centre_deg, 10.0),)
    true_sky = model.make_sky(instrument, all_sources, start_unix_s + instrument.int_time_s / 2)
    if all_sources and not np.any(true_sky.source_enu[:, :, 2] > 0):
        raise InputError(
            f"no source is above the horizon at obsid {instrument.obsid}; the phase centre is RA, Dec "
            f"{instrument.phase_centre_deg[0]:.1f}, {instrument.phase_centre_deg[1]:.1f} degrees"
        )
    total_flux = sum(abs(s.flux_jy) for s in all_sources)
    typical = noise_jy or total_flux or 1.0
    rfi = None
    if rfi_fraction > 0:
        shape = (n_times, len(coarse), instrument.n_fine)
        rfi = make_rfi(shape, rfi_fraction, typical, np.random.default_rng([seed, 1]))

    writer = _make_writer(instrument, bscale, compress, typical, noise_jy > 0, weights)
    generator = Generator(instrument, true_sky, writer.products, noise_jy, seed)
    plan = _plan_files(instrument, coarse, start_unix_s, present, batch_s, writer)
    n_hdus = sum(len(file.steps) for file in plan)
    done = 0

    folder = Path(out_dir)
    names = [f"{instrument.obsid}.metafits", *(file.name for file in plan)]
    targets = [(folder / name, Kind.SIMULATED) for name in names]
    if rfi is not None:
        targets.append((folder / f"{instrument.obsid}_rfi.npz", Kind.NPZ))
    inputs = [Path(path) for path in (like, sky) if path is not None]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_targets(targets, inputs=inputs, overwrite=overwrite)
        _check_space(folder, n_hdus * writer.hdu_bytes())
        with ExitStack() as undo:
            staged = []

            def stage(path: Path, kind: Kind) -> StagedPath:
                staged.append(StagedPath(path, overwrite, kind))
                undo.callback(staged[-1].discard)
                return staged[-1]

            metafits, *rest = [stage(path, kind) for path, kind in targets]
            raw = rest[: len(plan)]
            rfi_mask = None if rfi is None else rest[-1]
            hdus.writeto(metafits.temporary)
            if rfi is not None and rfi_mask is not None:
                with rfi_mask.temporary.open("wb") as out:
                    np.savez_compressed(out, mask=rfi.mask, amplitude_jy=rfi.amplitude_jy, coarse=coarse)
            for file, path in zip(plan, raw, strict=True):
                with path.temporary.open("wb") as out:
                    writer.write_primary(out, float(start_unix_s[file.steps[0]]), file.coarse, file.steps[0])
                    ends = [out.tell()]
                    for t in file.steps:
                        block = generator.integration(t, file.coarse, rfi, file.row)
                        writer.write_integration(out, block, float(start_unix_s[t]), t)
                        ends.append(out.tell())
                        done += 1
                        if progress is not None:
                            progress(Stage.SIMULATING, done, n_hdus)
                    if file.cut:
                        out.truncate((ends[-file.cut] + ends[-file.cut - 1]) // 2)
            for path in staged:
                path.commit()
            undo.pop_all()
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written ({error.strerror or error})") from error
    for path in (metafits, *raw):
        _log.info("written: %s", path.target)
    return Simulation(
        metafits=metafits.target,
        raw=tuple(path.target for path in raw),
        instrument=instrument,
        sources=all_sources,
        coarse=coarse,
        start_unix_s=start_unix_s,
        present=present,
        noise_jy=noise_jy,
        rfi=rfi,
        rfi_mask=None if rfi_mask is None else rfi_mask.target,
    )


@dataclass(frozen=True)
class _File:
    name: str
    #: index into the channels of the metafits, and among those simulated
    coarse: int
    row: int
    steps: tuple[int, ...]
    #: breaks off in the middle of this integration, counted from the end; 0 = whole
    cut: int


def _plan_files(
    instrument: mf.Instrument,
    coarse: tuple[int, ...],
    start_unix_s: FloatArray,
    present: Present,
    batch_s: float | None,
    writer: LegacyWriter | MwaxWriter,
) -> list[_File]:
    """The raw files, by coarse channel and batch; batches without data have none."""
    n_times = len(start_unix_s)
    per_file = n_times
    if batch_s is not None:
        per_file = round(batch_s / instrument.int_time_s)
        if per_file < 1 or not np.isclose(per_file * instrument.int_time_s, batch_s):
            raise InputError(f"batch_s {batch_s}: must be a multiple of {instrument.int_time_s} s")
    plan = []
    for row, index in enumerate(coarse):
        files = []
        for batch, first in enumerate(range(0, n_times, per_file)):
            steps = first + np.flatnonzero(present.hdus[first : first + per_file, row])
            if len(steps):
                name = writer.file_name(float(start_unix_s[steps[0]]), index, batch)
                files.append(_File(name, index, row, tuple(steps.tolist()), 0))
        cut = present.cut[row]
        if files and cut > len(files[-1].steps):
            raise InputError(
                f"missing data last={cut}: {files[-1].name} has {len(files[-1].steps)} integrations"
            )
        if files:
            files[-1] = replace(files[-1], cut=cut)
        plan += files
    return plan


def _make_writer(
    instrument: mf.Instrument,
    bscale: float | None,
    compress: bool,
    typical_jy: float,
    noisy: bool,
    weights: float | npt.NDArray[np.float32],
) -> LegacyWriter | MwaxWriter:
    if instrument.correlator == "mwax":
        if compress or bscale is not None:
            raise InputError("compress and bscale: only the legacy correlator's files can be integers")
        n = instrument.n_antennas
        try:
            table = np.broadcast_to(np.asarray(weights, dtype=np.float32), (n * (n + 1) // 2, 4))
        except ValueError:
            raise InputError(f"weights: expected one number or shape ({n * (n + 1) // 2}, 4)") from None
        return MwaxWriter(instrument, table)
    if bscale is not None and not bscale > 0:
        raise InputError(f"bscale {bscale}: must be positive")
    if compress and bscale is None:
        bscale = float(2.0 ** np.floor(np.log2(typical_jy / (16 if noisy else 65536))))
    return LegacyWriter(instrument, bscale, compress)


def _check_space(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise ResourceError(
            f"{folder}: the raw files need {n_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        )
