"""Headers of uvfits files beside those of cotter's for the same metafits."""

import re

import numpy as np
import pytest
from astropy.io import fits

import mwaconvert
from mwaconvert.conversion.outputs import open_writers

REFERENCE = "1254670392_cotter_reference"
#: keys in which this package differs on purpose
PRIMARY = {
    "PCOUNT": 7,  # second DATE, INTTIM
    "PZERO5": 2458765.5,  # the day itself; cotter takes the next one and negative fractions
    "DATE-OBS": "2019-10-09",
    "OBJECT": "high_2019B_2458765_EOR0_RADec0.0,-27.0_143",  # the whole FILENAME of the metafits
}
ANTENNAS = {
    "RDATE": "2019-10-09",
    # apparent, not mean sidereal time: the equation of the equinoxes was -16 arcsec
    "GSTIA0": pytest.approx(17.3274306354674 - 16.04 / 3600, abs=3e-6),
    "DEGPDY": 360.9856473,
    "IATUTC": 37.0,  # 2019 had 37 leap seconds; 33 is a number of 2008
}
#: the feed called X lies east-west; angles count from north, like those of polarisations on the sky
POLAA, POLAB = 90.0, 0.0
LEFT_OUT = {"BSCALE", "FIBRFACT", "METAVER", "MWAPYVER", "COTVER", "HISTORY", "COMMENT"}


def read_dump(path):
    """Primary header, header of the antenna table, and its rows, of a text dump."""
    lines = path.read_text().splitlines()
    border = lines.index("ANTENNA INFO")
    cards = re.compile(r"[A-Z][A-Z0-9_-]{0,7} *= |HISTORY |COMMENT ")

    def header(part):
        text = "".join(f"{line[:80]:<80}" for line in part if cards.match(line))
        return fits.Header.fromstring(text)

    rows = [re.split(r"[\[\] ]+", line.strip()) for line in lines[border:] if re.match(r"\w+ +\[", line)]
    return header(lines[:border]), header(lines[border:]), rows


@pytest.mark.parametrize(
    ("dump", "average"), [("none", {}), ("none.avg_4s_160khz", {"time_res_s": 4, "freq_res_khz": 160})]
)
def test_headers(simulated, mwa_data, tmp_path, dump, average):
    # data for one of the 24 channels; headers do not look at data
    metafits = mwa_data / REFERENCE / "1254670392.fixed.metafits"
    sim = simulated(like=str(metafits), duration_s=4.0, coarse_channels=(131,))
    observation = mwaconvert.open(sim.metafits)
    plan = observation.plan(sel_chan_ranges=((0, 23),), emulate_cotter=True, dut1_s=0.0, **average)
    (writer,) = open_writers(plan, [tmp_path / "a.uvfits"])
    writer.close()  # a file of zeros
    vis, antennas, rows = read_dump(mwa_data / REFERENCE / f"1254670392.cotter.{dump}.uvfits.txt")
    with fits.open(tmp_path / "a.uvfits", memmap=True) as hdus:
        primary, table = hdus[0].header, hdus["AIPS AN"]
        for theirs, ours, on_purpose in ((vis, primary, PRIMARY), (antennas, table.header, ANTENNAS)):
            for key in set(theirs) - LEFT_OUT - {"NAXIS1", "NAXIS2", "TFIELDS"}:
                if not re.match("(TTYPE|TFORM|TUNIT)", key):
                    expected = on_purpose.get(key, theirs[key])
                    if isinstance(expected, float):
                        expected = pytest.approx(expected, rel=1e-14)
                    assert ours[key] == expected, key

        assert len(rows) == 128
        np.testing.assert_array_equal(table.data["ANNAME"], [row[0] for row in rows])
        np.testing.assert_allclose(
            table.data["STABXYZ"], [[float(x) for x in row[1:4]] for row in rows], rtol=0, atol=6e-9
        )
        np.testing.assert_array_equal(table.data["NOSTA"], [int(row[4]) for row in rows])
        assert (table.data["MNTSTA"] == 6).all()  # cotter says alt-az, which a phased array is not
        for key in ("STAXOF", "POLCALA", "POLCALB"):
            assert not table.data[key].any()
        for key, expected in (
            ("POLTYA", "X"),
            ("POLTYB", "Y"),
            ("POLAA", POLAA),
            ("POLAB", POLAB),
        ):
            assert (table.data[key] == expected).all()
        assert (table.header["FRAME"], table.header["XYZHAND"]) == ("ITRF", "RIGHT")
