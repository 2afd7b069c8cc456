"""Tiles flagged by their autocorrelations: each kind is found and named, and healthy ones are not."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import mwaconvert
from mwaconvert.cli.main import main
from mwaconvert.conversion.rfi.bad_tiles import auto_spectra, judge
from mwaconvert.simulate import simulate

TILES = np.arange(20)


def spectra(seed=0):
    rng = np.random.default_rng(seed)
    band = 1 + 0.5 * np.sin(np.arange(96) / 9)
    return (
        band[:, None] * 10 ** (0.03 * rng.normal(size=(20, 1, 2))) * (1 + 0.01 * rng.normal(size=(20, 96, 2)))
    )


def test_healthy_tiles_stay():
    assert all(judge(TILES, spectra(seed)) == {} for seed in range(20))


def test_each_kind_is_named():
    power = spectra()
    power[2] = 0
    power[5, :, 1] = 1e-4
    power[7, :, 0] *= 10
    power[9, :, 1] *= np.linspace(0.3, 3, 96)
    power[11] = np.nan
    found = judge(TILES, power)
    assert sorted(found) == [2, 5, 7, 9, 11]
    assert found[2] == found[11] == "X dead, Y dead"
    assert found[5] == "Y dead"
    assert found[7].startswith(("X +10", "X +9"))
    assert found[9].startswith("Y spectrum off by")


def test_everything_dead():
    assert len(judge(TILES, np.zeros((20, 96, 2)))) == 20


def test_real_tiles_are_let_be(mwa_data, tmp_path):
    """128 tiles in November 2015, of which the file holds one channel of two coarse ones: -2.7 to 1.7 dB.

    Also the two that the metafits flags are like the others in power.
    """
    folder = mwa_data / "1131733552_legacy_mini"
    metafits = tmp_path / "1131733552.metafits"
    shutil.copy(folder / "1131733552_mod.metafits", metafits)
    for path in folder.glob("*_gpubox*.fits"):
        with fits.open(path) as hdus:
            images = [hdu.copy() for hdu in hdus]
        for hdu in images[1:]:
            hdu.data = np.repeat(hdu.data[:1], 32, axis=0)
        fits.HDUList(images).writeto(tmp_path / path.name.replace("_mini", ""))
    plan = mwaconvert.open(metafits).plan(flag_init_s=0.0, flag_metafits=False, precomputed_flags="ignore")
    power = auto_spectra(plan.selection, plan.flags, plan.corrections, plan.options, np.arange(128))
    level_db = 10 * np.log10(np.median(power, axis=1))
    level_db -= np.median(level_db, axis=0)
    assert -2.8 < level_db.min() < level_db.max() < 1.8
    assert judge(np.arange(128), power) == {}
    assert (
        mwaconvert.open(metafits).plan(flag_init_s=0.0, flag_bad_tiles=True).header.antenna_flagged.sum() == 2
    )


def test_all_flagged_is_not_all_dead(tmp_path):
    metafits = simulate(tmp_path, "mwax-128", duration_s=4, coarse_channels=1, n_tiles=8).metafits
    for options in ({"flag_init_s": 100.0}, {"flag_coarse_chans": (0,)}):
        plan = mwaconvert.open(metafits).plan(flag_bad_tiles=True, **options)
        assert not plan.header.antenna_flagged.any()
        assert step(plan).reason == "no unflagged data to compare"


@pytest.mark.parametrize("like", ["mwax-128", "legacy-128"])
def test_dead_tile_in_raw_data(tmp_path, like):
    more = {"n_tiles": 10} if like == "mwax-128" else {}
    metafits = simulate(
        tmp_path, like, duration_s=4, coarse_channels=1, noise_jy=10, flagged_tiles=[1], **more
    ).metafits
    observation = mwaconvert.open(metafits)
    assert "are alike" in step(observation.plan(flag_bad_tiles=True)).reason
    spoil(tmp_path, observation, 3)
    plan = mwaconvert.open(metafits).plan(flag_bad_tiles=True, time_factor=2, freq_factor=4)
    name = observation.metadata.antennas[3].name
    assert step(plan).applied
    assert f"1 of {observation.metadata.n_antennas - 1} by their" in step(plan).reason
    assert f"{name} (X dead, Y dead)" in step(plan).reason
    assert np.flatnonzero(plan.header.antenna_flagged).tolist() == [1, 3]
    report = plan.run(tmp_path / "a.uvfits")
    assert report.occupancy.antenna[3] == 1
    assert f"{name} (X" in " ".join(report.to_text().split())
    pruned = mwaconvert.open(metafits).plan(flag_bad_tiles=True, sel_flagged_ants=False)
    assert not ({1, 3} & {*pruned.header.antenna1.tolist(), *pruned.header.antenna2.tolist()})


def step(plan):
    return next(step for step in plan.steps if step.name == "bad tile flags")


def spoil(folder, observation, tile):
    """Take nearly all power out of the autocorrelation of a tile."""
    meta = observation.metadata
    for file in observation.files:
        with fits.open(file.path, mode="update") as hdus:
            for hdu in hdus[1:]:
                if meta.correlator == "legacy":
                    from mwaconvert.observation.legacy import product_table

                    n = meta.n_antennas
                    products = product_table(meta)[0][tile * (2 * n - tile + 1) // 2]
                    hdu.data.reshape(meta.n_fine, -1, 2)[:, products] = 0.001
                elif hdu.data.shape[1] > 4:
                    n = meta.n_antennas
                    hdu.data[tile * (2 * n - tile + 1) // 2] = 0.001


def test_few_tiles_are_not_compared(small, tmp_path):
    metafits = simulate(tmp_path, "mwax-128", n_tiles=4, duration_s=4, coarse_channels=1).metafits
    plan = mwaconvert.open(metafits).plan(flag_bad_tiles=True)
    assert step(plan).reason == "4 tiles are too few to compare, it takes 5"
    assert step(mwaconvert.open(small).plan()).reason == "not asked for"


def test_dry_run_says_so(small):
    result = CliRunner().invoke(main, [str(small), "--flag-bad-tiles", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "bad tile flags" in result.output
    assert "all 7 tiles are alike" in " ".join(result.output.split())
