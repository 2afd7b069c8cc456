"""The tutorial's scripts, as they are on its page, beside our own verbs: files and figures are the same."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from chime_files import DT_S, noisy_event, write_event
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.errors import InputError
from mwaconvert.frb.figures import TUTORIAL_MASKS, panel_of, tutorial_figure

SEED = Path(__file__).parents[3] / "shared" / "seeds" / "001_21d7118536130802.txt"
DM, EVENT = 20.76, 9386707
#: run after a script: what it drew, by axes
SHOW = """
import json, runpy, sys
import matplotlib.pyplot as plt
plt.close = lambda *a: None
sys.argv = sys.argv[1:]
sys.path.insert(0, ".")
from mwaconvert.frb.closed import process
process.offer()
import numpy as np
runpy.run_path(sys.argv[0], init_globals=process._forgotten(sys.argv[1:]), run_name="__main__")
found = {}
for k, ax in enumerate(plt.gcf().axes):
    if ax.lines:
        found[f"x{k}"], found[f"y{k}"] = ax.lines[0].get_data()
    if ax.images:
        image = ax.images[0]
        data = image.get_array()
        found[f"image{k}"] = np.ma.filled(np.ma.masked_invalid(data).astype(float), np.nan)
        found[f"limits{k}"], found[f"extent{k}"] = image.get_clim(), image.get_extent()
    found[f"xlim{k}"] = ax.get_xlim()
np.savez("drawn.npz", **found)
"""


def script(name: str) -> str:
    """A script of the page; the page is not part of this repository."""
    if not SEED.is_file():
        pytest.skip(f"the tutorial is not at {SEED}")
    text = SEED.read_text(encoding="utf-8")
    after = text[re.search(rf"^Script: ?{re.escape(name)}$", text, re.M).end() :]
    return re.split(r"^(?:Example command:|Modify line)", after, maxsplit=1, flags=re.M)[0]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    write_event(folder, noisy_event(2, DM, nt=512, t0_s=0.3, snr=1.2, width=3), nt=512)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def wfall(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("wfall") / f"{EVENT}_wfall.npz"
    done = run("frb", "wfall", "--eventid", EVENT, "--dm", DM, "--nsub", 128, "--root", root, "-o", path)
    assert done.exit_code == 0, done.output
    return path


def test_the_file_of_get_wfall(wfall):
    with np.load(wfall, allow_pickle=False) as held:
        values = {name: held[name] for name in held.files}
    assert values["intensity"].shape == (128, 1024)
    assert values["intensity"].dtype == np.float32
    for name, value in {"dt": DT_S, "df": 3.125, "dm": DM, "fbottom": 400.1953125}.items():
        assert values[name].shape == ()
        assert float(values[name]) == pytest.approx(value, rel=1e-12)
    np.testing.assert_array_equal(values["intensity"] == 0, values["weights"] == 0)
    assert values["intensity"].sum(0).argmax() in range(round(0.3 / DT_S), round(0.3 / DT_S) + 3)


def test_get_wfall_runs_and_makes_the_same(here, root, wfall):
    Path("get_wfall.py").write_text(script("get_wfall.py"), encoding="utf-8")
    words = ("--eventid", str(EVENT), "--dm", str(DM), "--nsub", "128")
    command = [
        sys.executable,
        "-m",
        "mwaconvert",
        "frb",
        "run-script",
        "--root",
        root,
        "get_wfall.py",
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"save to: {EVENT}_wfall.npz\n"
    with np.load(f"{EVENT}_wfall.npz", allow_pickle=False) as theirs, np.load(wfall) as ours:
        assert sorted(theirs.files) == ["df", "dm", "dt", "fbottom", "intensity"]
        np.testing.assert_allclose(theirs["intensity"], ours["intensity"], atol=2e-5)
        np.testing.assert_array_equal(theirs["intensity"] == 0, ours["intensity"] == 0)
        for name in ("dt", "df", "dm", "fbottom"):
            assert float(theirs[name]) == pytest.approx(float(ours[name]), rel=1e-12)


def drawn(script_name, text, *words):
    """What a script draws, run in a process of its own."""
    Path(script_name).write_text(text, encoding="utf-8")
    Path("show.py").write_text(SHOW, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "show.py", script_name, *words],
        capture_output=True,
        text=True,
        check=False,
        env={"MPLBACKEND": "Agg", "PYTHONPATH": ":".join(sys.path), "HOME": "."},
    )
    assert done.returncode == 0, done.stderr
    with np.load("drawn.npz") as held:
        return {name: held[name] for name in held.files}


def compare(theirs, figure, columns, *, edge):
    """Artists of the scripts, whose axes go by rows, and of our figure, whose axes go by panels."""
    for c in range(columns):
        top, main = figure.axes[2 * c], figure.axes[2 * c + 1]
        values, edges, _ = top.patches[0].get_data()
        np.testing.assert_allclose(values, theirs[f"y{c}"][:-1], rtol=1e-5, atol=1e-5)
        x = edges if edge else np.append(edges[:-1], edges[-2] + DT_S)
        np.testing.assert_allclose(x, theirs[f"x{c}"], rtol=1e-9, atol=1e-9)
        image, k = main.images[0], columns + c
        data = np.ma.filled(np.ma.masked_invalid(image.get_array()).astype(float), np.nan)
        np.testing.assert_allclose(data, theirs[f"image{k}"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(image.get_clim(), theirs[f"limits{k}"], rtol=1e-5)
        if edge:
            np.testing.assert_allclose(image.get_extent(), theirs[f"extent{k}"], rtol=1e-9)
            np.testing.assert_allclose(main.get_xlim(), theirs[f"xlim{k}"], rtol=1e-9)
        else:  # as wide as its samples, and the axis with it
            x0, x1, *band = image.get_extent()
            assert -x0 == pytest.approx(x1) == pytest.approx(25.5 * 1e3 * DT_S)
            assert band == pytest.approx([400.1953125, 800.1953125])
            assert main.get_xlim() == pytest.approx((x0, x1))


def test_plot_of_one_waterfall(here, wfall):
    """The example command of the tutorial, --figname included."""
    dm = DM + 0.05
    words = ("--fname", str(wfall), "--dm", str(dm), "--figname", "one.pdf")
    theirs = drawn("plot_intensity_wfalls.py", script("plot_intensity_wfalls.py"), *words)
    assert Path("one.pdf").read_bytes().startswith(b"%PDF")
    for edge in (True, False):
        compare(theirs, tutorial_figure([panel_of(wfall, dm)], tutorial_edge=edge), 1, edge=edge)


def test_plot_of_several_waterfalls(here, wfall):
    text = script("plot_intensity_wfalls_multi.py")
    names = re.findall(r"\d+_wfall\.npz", text)
    with np.load(wfall) as held:
        values = {name: held[name] for name in ("intensity", "dt", "df", "dm", "fbottom")}
    for k, name in enumerate(names):
        quiet = values["intensity"] * np.float32(0.1)  # the tutorial's limits are for such numbers
        quiet[10 * k : 10 * k + 4] = 0
        quiet[60 + k] *= 200  # masked for its variance
        quiet[70 + k] += np.float32(0.01)  # masked for its sum
        np.savez(name, **values | {"intensity": quiet})
    goals = (20.76, 20.86, 20.81)
    for page, goal in zip(("87.76", "87.86", "87.81"), goals, strict=True):
        text = text.replace(page, str(goal))  # the page says to modify these lines
    theirs = drawn("multi.py", text)
    panels = [panel_of(Path(n), dm, str(n), TUTORIAL_MASKS) for n, dm in zip(names, goals, strict=True)]
    assert len(panels) == 3
    assert np.isnan(theirs["image3"][60]).all()
    assert np.isnan(theirs["image4"][71]).all()
    for edge in (True, False):
        compare(theirs, tutorial_figure(panels, label="(a)", tutorial_edge=edge), 3, edge=edge)


def test_figures_from_the_shell(here, wfall):
    done = run(
        "frb", "plot", wfall, wfall, "--dm", DM, "--title", "a", "--title", "b", "-o", "two.png", "--compat"
    )
    assert done.exit_code == 0, done.output
    first = Path("two.png").read_bytes()
    run(
        "frb",
        "plot",
        wfall,
        wfall,
        "--dm",
        DM,
        "--title",
        "a",
        "--title",
        "b",
        "-o",
        "two.png",
        "--compat",
        "--overwrite",
    )
    assert Path("two.png").read_bytes() == first
    for words, problem in (
        ((wfall, "--title", "a", "--title", "b"), "--title was given 2 times"),
        ((wfall, wfall, wfall, "--dm", 1, "--dm", 2), "--dm was given 2 times"),
        ((wfall, "--mask-var", 0, "-o", "x.pdf"), "all are masked"),
        ((wfall, "-o", "x.jpg"), "expected a name that ends in"),
        ((wfall, "-o", "two.png"), "exists"),
    ):
        refused = run("frb", "plot", *words)
        assert (refused.exit_code, problem in refused.stderr) == (2, True), refused.output


def test_a_pulse_at_either_end_is_drawn(here, wfall):
    with np.load(wfall) as held:
        values = {name: held[name] for name in ("intensity", "dt", "df", "dm", "fbottom")}
    peak = int(values["intensity"].sum(0).argmax())
    for place in (0, 5, 200):
        cut = values["intensity"][:, peak - place : peak - place + 210]
        np.savez("cut.npz", **values | {"intensity": cut})
        figure = tutorial_figure([panel_of(Path("cut.npz"))])
        low, high = figure.axes[1].images[0].get_clim()
        assert np.isfinite([low, high]).all()
        assert figure.axes[1].get_xlim() == pytest.approx((-25.5e3 * DT_S, 25.5e3 * DT_S))
    np.savez("none.npz", **values | {"intensity": values["intensity"] * 0})
    with pytest.raises(InputError, match="all samples are masked"):
        panel_of(Path("none.npz"))


def test_real_data(here, filterbanks):
    """PSR B0355+54, recorded by CHIME/FRB: its pulse is where it is known to be, at the DM of the file."""
    data = np.load(filterbanks / "frb" / "B0355+54_DM57.2403.npy")
    np.savez("wfall.npz", intensity=data, dt=DT_S, df=3.125, dm=57.2403, fbottom=400.1953125)
    panel = panel_of(Path("wfall.npz"))
    assert int(panel.peak_s / DT_S) in (49, 50)  # it is two samples wide
    theirs = drawn("one.py", script("plot_intensity_wfalls.py"), "--fname", "wfall.npz", "--figname", "o.pdf")
    ours = tutorial_figure([panel], tutorial_edge=True)
    # 41 samples before the window are more than there are: the script has no upper limit then, ours takes what is there
    assert np.isnan(theirs["limits1"][1])
    assert ours.axes[1].images[0].get_clim()[1] > 0
    np.testing.assert_allclose(ours.axes[1].images[0].get_array(), theirs["image1"], rtol=1e-5)
    np.testing.assert_allclose(ours.axes[0].patches[0].get_data().values, theirs["y0"][:-1], rtol=1e-5)


def test_labels_lie_within_the_figure(wfall):
    """Legible at 4.26 x 3 inches: nothing is cut off, no labels lie on each other."""
    with mpl.rc_context({"backend": "Agg"}):
        panels = [panel_of(wfall, DM, title) for title in ("20200120E", "20200718A", "20201129A")]
        for chosen in (panels[:1], panels):
            figure = tutorial_figure(chosen, label="(a)" if len(chosen) > 1 else "")
            assert figure.get_size_inches().tolist() == [4.26, 3.0]
            figure.canvas.draw()
            box = figure.get_tightbbox()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= 4.26
            assert box.y1 <= 3
            for ax in figure.axes[1::2]:
                ticks = [t.get_window_extent() for t in ax.get_xticklabels()]
                assert all(a.x1 < b.x0 for a, b in pairwise(ticks))
                assert min(t.get_fontsize() for t in ax.get_xticklabels()) >= 9
