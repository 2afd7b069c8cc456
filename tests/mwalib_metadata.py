"""Metadata straight from mwalib, until observation.metafits has landed."""

import functools
from pathlib import Path

import mwalib
import numpy as np

from mwaconvert.observation.model import Antenna, CoarseChannel, Metadata


@functools.cache
def read_metadata(path: Path) -> Metadata:
    m = mwalib.MetafitsContext(str(path))
    antennas = tuple(
        Antenna(
            index=k,
            tile_id=a.tile_id,
            name=a.tile_name,
            east_m=a.east_m,
            north_m=a.north_m,
            height_m=a.height_m,
            input=(a.rfinput_x.input, a.rfinput_y.input),
            electrical_length_m=(a.rfinput_x.electrical_length_m, a.rfinput_y.electrical_length_m),
            flagged=a.rfinput_x.flagged or a.rfinput_y.flagged,
            receiver=a.rfinput_x.rec_number,
            slot=(a.rfinput_x.rec_slot_number, a.rfinput_y.rec_slot_number),
            dipole_delays=(tuple(a.rfinput_x.dipole_delays), tuple(a.rfinput_y.dipole_delays)),
            receiver_type=str(a.rfinput_x.rec_type),
        )
        for k, a in enumerate(m.antennas)
    )
    coarse = tuple(
        CoarseChannel(k, c.rec_chan_number, c.gpubox_number, c.chan_centre_hz, c.chan_width_hz)
        for k, c in enumerate(m.metafits_coarse_chans)
    )
    geodel = ["No", "Zenith", "TilePointing", "AzElTracking"]
    cabledel = ["NoCableDelaysApplied", "CableAndRecClock", "CableAndRecClockAndBeamformerDipoleDelays"]
    return Metadata(
        path=path,
        obsid=m.obs_id,
        correlator="legacy" if "Legacy" in str(m.mwa_version) else "mwax",
        antennas=antennas,
        coarse_channels=coarse,
        digital_gains=np.array([[a.rfinput_x.digital_gains, a.rfinput_y.digital_gains] for a in m.antennas]),
        fine_width_hz=float(m.corr_fine_chan_width_hz),
        n_fine=m.num_corr_fine_chans_per_coarse,
        int_time_s=m.corr_int_time_ms / 1e3,
        sched_start_unix_s=m.sched_start_unix_time_ms / 1e3,
        sched_duration_s=m.sched_duration_ms / 1e3,
        good_time_unix_s=m.good_time_unix_ms / 1e3,
        quack_s=m.quack_time_duration_ms / 1e3,
        dut1_s=m.dut1,
        pointing_deg=(m.ra_tile_pointing_degrees, m.dec_tile_pointing_degrees),
        phase_centre_deg=None
        if m.ra_phase_center_degrees is None
        else (m.ra_phase_center_degrees, m.dec_phase_center_degrees),
        az_alt_deg=(m.az_deg, m.alt_deg),
        delays=tuple(m.delays),
        geodel=geodel.index(str(m.geometric_delays_applied).split(".")[-1]),
        cabledel=cabledel.index(str(m.cable_delays_applied).split(".")[-1]),
        digital_gains_applied=m.digital_gains_applied,
        oversampled=m.oversampled,
        deripple=m.deripple_applied,
        mode=str(m.mode),
        creator=m.creator,
        project=m.project_id,
        name=m.obs_name,
        calibrator=m.calibrator,
        calibrator_source=m.calibrator_source,
        receivers=tuple(m.receivers),
        attenuation_db=m.global_analogue_attenuation_db,
    )
