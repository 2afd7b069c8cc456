"""The tile beam is not followed, and that is said."""

import pytest

import mwaconvert
from mwaconvert.vocabulary import values


def test_the_drift_of_the_beam_is_told(small):
    observation = mwaconvert.open(small)
    (note,) = [n for n in observation.plan(pointing_centre=True).notes if "where the tiles point" in n]
    ra, dec = observation.metadata.pointing_deg
    assert f"phased to RA {ra:.4f}, Dec {dec:.4f} deg" in note
    # 15.04 arcseconds of right ascension a second
    plan = observation.plan(pointing_centre=True)
    seconds = len(plan.timesteps) * observation.metadata.int_time_s
    assert float(note.split(" by ")[1].split()[0]) == pytest.approx(seconds * 15.04 / 3600 * 0.89, rel=0.03)
    assert not any("where the tiles point" in n for n in observation.plan().notes)


def test_following_it_is_refused():
    with pytest.raises(ValueError, match="the tile beam is not followed"):
        values.centre("beam")
