"""Small simulated observations with voltages: raw data for jobs."""

from __future__ import annotations

from pathlib import Path

from astropy.io import fits

from mwaconvert.simulate import simulate

SUBFILE_S = 8


def make_observation(root: Path, like: str, *, duration_s: int = 8) -> str:
    """Raw visibilities and voltages in `root/<obsid>`; the obsid."""
    is_legacy = like == "legacy-128"  # which has 128 tiles, so the rest is kept small
    made = simulate(
        root / like,
        like,
        n_tiles=None if is_legacy else 8,
        fine_khz=40 if is_legacy else None,
        duration_s=duration_s,
        coarse_channels=1 if is_legacy else 2,
        noise_jy=3,
        flagged_tiles=[5],
    )
    obsid = made.metafits.name[:10]
    header = fits.getheader(made.metafits)
    for second in range(0, duration_s, SUBFILE_S):
        for channel in str(header["CHANNELS"]).split(","):
            name = f"{obsid}_{int(obsid) + second}_{int(channel):03d}.sub"
            (root / like / name).write_bytes(f"OBS_ID {obsid}\nSECOND {second}\n".encode().ljust(4096, b"\0"))
    (root / like).rename(root / obsid)
    return obsid
