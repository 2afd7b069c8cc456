"""From a request to files: the same as by a verb, with a report, progress and dry run."""

import doctest
import hashlib
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mwaconvert import errors, transients
from mwaconvert.cli.main import main
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.spectra.candidate_lists import read_list
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.progress import Stage
from mwaconvert.transients import products
from mwaconvert.transients.products import DedisperseRequest, SearchRequest, SpectraRequest, WaterfallRequest
from mwaconvert.transients.products.search import plan_search
from mwaconvert.vocabulary.spectra import Asked, Verb

FREQ_MHZ, DT_S, DM, WHEN = 1200 + np.arange(32.0) * 10, 1e-3, 300.0, 0.7
FIL = Path("a.fil")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """A folder with a.fil, which holds a burst; made of whole numbers, it is the same everywhere."""
    monkeypatch.chdir(tmp_path)
    data = np.random.default_rng(1).integers(80, 121, (32, 4000)).astype(np.float64)
    delays = np.rint((WHEN + DM / 2.41e-4 * (FREQ_MHZ**-2 - FREQ_MHZ[-1] ** -2)) / DT_S).astype(int)
    for channel, delay in enumerate(delays):
        data[channel, delay - 2 : delay + 3] += 30
    with FilterbankWriter(FIL, FREQ_MHZ, DT_S, 8, start_mjd=58000.0, source="burst") as writer:
        writer.write(data)


#: requests, and hashes of the files that the verbs made of them before they called the library
REQUESTS: dict[str, tuple[SpectraRequest, dict[str, str]]] = {
    "table": (
        SearchRequest(path=FIL, dm_min=0, dm_max=600, output=Path("c.csv"), gulp=77, raw=True),
        {"c.csv": "a59e504efc7e20bb"},
    ),
    "heimdall": (
        SearchRequest(path=FIL, dm_min=0, dm_max=600, output=Path("c.cand"), scale=True, mask=((0, 3), (9, 9)),
                      raw=True),
        {"c.cand": "bf07edc49b8ca561"},
    ),
    "presto": (
        SearchRequest(
            path=FIL, dm_min=0, dm_max=600, output=Path("c.singlepulse"), iqrm=True, zero_dm=True, mask_outliers=True,
            raw=True,
        ),
        {"c.singlepulse": "55e5f8d2408b1536"},
    ),
    "amber": (
        SearchRequest(
            path=FIL, dm_min=0, dm_max=600, output=Path("c.trigger"), n_width=5,
            width_min_s=2e-3, loss=0.05, threshold=6,
            raw=True,
        ),
        {"c.trigger": "73a7528131781d0f"},
    ),
    "stages": (
        SearchRequest(path=FIL, dm_min=200, dm_max=800, output=Path("d.csv"), downsample=True, raw=True),
        {"d.csv": "14ea500ff47d578f"},
    ),
    "subbands": (
        DedisperseRequest(path=FIL, dm=DM, n_sub=8, tscrunch=4, output=Path("c.fil"), gulp=100),
        {"c.fil": "155b4d55442f72a7"},
    ),
    "bytes": (DedisperseRequest(path=FIL, dm=DM, output=Path("b.fil")), {"b.fil": "a1c6fb54a5f6b817"}),
    "series": (
        DedisperseRequest(path=FIL, dm=DM, output=Path("d.dat"), mask=((1, 1),)),
        {"d.dat": "52c44370e01b8c2b", "d.inf": "4a583694e4637a8c"},
    ),
    "sigproc series": (
        DedisperseRequest(path=FIL, dm=DM, output=Path("d.tim"), k_dm=4148.8),
        {"d.tim": "69ff2ac0191d152d"},
    ),
    "few bits": (DedisperseRequest(path=FIL, dm=DM, output=Path("e.fil"), n_bits=4), {"e.fil": "313d7f4fc27772f8"}),
    "waterfall": (DedisperseRequest(path=FIL, dm=DM), {"a_dm300.npz": ""}),
    "hdf5": (DedisperseRequest(path=FIL, dm=DM, output=Path("b.h5"), scale=True), {"b.h5": ""}),
    "figure": (
        WaterfallRequest(
            paths=(FIL, FIL), dms=(299, DM), output=Path("n.svg"), times_s=(0.7,), cmap="magma", label="(a)"
        ),
        {"n.svg": ""},
    ),
    "picture": (
        WaterfallRequest(paths=(FIL,), dms=(DM,), output=Path("v.png"), dpi=60, mask_var=500, n_sub=16),
        {"v.png": ""},
    ),
}  # fmt: skip


def _files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def _hash(path: Path) -> str:
    """Of what is in a file, whichever version wrote it."""
    version = rb"(?s)(?:.{4}a\.fil; |program: )mwaconvert [^,\n]*"  # after its length, in a header
    return hashlib.sha256(re.sub(version, b"", path.read_bytes())).hexdigest()[:16]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_gives_the_files_of_the_verb(name):
    request, golden = REQUESTS[name]
    report = products.run(request)
    assert [file.path for file in report.outputs] == [Path(file) for file in golden][:1]
    by_request = {file: Path(file).read_bytes() for file in golden}
    for file, known in golden.items():
        assert not known or _hash(Path(file)) == known
        Path(file).unlink()
    verb = Verb(report.verb)
    words = Asked(verb, request).to_words()
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert {file: Path(file).read_bytes() for file in golden} == by_request
    assert repr(report).count("\n") == 0


def test_a_search_reports_what_it_found():
    request = SearchRequest(
        path=FIL, dm_min=0, dm_max=600, output=Path("C.CSV"), plots=Path("figures"), scale=True,
        report=Path("done.json"),
    )  # fmt: skip
    seen = []
    report = products.run(request, lambda stage, done, total: seen.append((stage, done, total)))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == [
        Stage.SCALING,
        Stage.SEARCHING,
        Stage.DRAWING,
    ]
    for stage in Stage.SCALING, Stage.SEARCHING, Stage.DRAWING:
        done = [(d, total) for s, d, total in seen if s == stage]
        assert done == sorted(done)
        assert done[-1][0] == done[-1][1]
    facts = json.loads(Path("done.json").read_text())
    assert facts["format"] == "mwaconvert search"
    assert facts["request"]["threshold"] == 6.75
    assert facts["request"]["path"] == "a.fil"
    best = facts["candidates"][0]
    assert best["dm"] == pytest.approx(DM, abs=3 * best["dm_err"])
    assert best["mjd"] == pytest.approx(58000 + best["time_s"] / 86400, abs=1e-9)
    assert facts["numbers"]["n_candidates"] == len(facts["candidates"]) == len(read_list(Path("C.CSV")))
    assert facts["inputs"][0]["n_times"] == 4000
    kinds = [(file["path"], file["kind"]) for file in facts["outputs"]]
    assert kinds[0] == ("C.CSV", "candidates")
    assert [kind for _, kind in kinds[1:]] == ["figure"] * (
        len(facts["candidates"]) + 1
    )  # and what was masked
    for file in facts["outputs"]:
        assert Path(file["path"]).stat().st_size == file["bytes"]
    assert report.to_dict() == facts


@pytest.mark.parametrize("name", REQUESTS)
def test_a_plan_writes_nothing_and_says_what_it_would_do(name):
    plan = products.plan(REQUESTS[name][0])
    assert _files() == ["a.fil"]
    lines = plan.lines()
    for part in lines if isinstance(lines, list) else [lines]:
        assert part["file"] == "a.fil (SIGPROC)"
        assert part["memory"].startswith("about ")
    assert plan.memory_bytes > 1 << 20


def test_memory_is_decided_in_the_plan(monkeypatch):
    """What a dry run says is what a run goes by, whatever the machine has free meanwhile."""
    plan = plan_search(SearchRequest(path=FIL, dm_min=0, dm_max=600))
    monkeypatch.setattr("mwaconvert.transients.products.common.free_bytes", lambda: plan.memory_bytes)
    assert plan.run().candidates
    monkeypatch.setattr("mwaconvert.transients.products.common.free_bytes", lambda: plan.memory_bytes - 1)
    with pytest.raises(ResourceError, match="this machine has free"):
        plan.run()
    small = SearchRequest(path=FIL, dm_min=0, dm_max=600, max_memory_gib=1e-3)
    with pytest.raises(ResourceError, match="`max_memory_gib` allows") as error:
        products.run(small)
    assert (error.value.option, error.value.path) == ("gulp", FIL)


@pytest.mark.parametrize("suffix", [".npz", ".fil", ".h5", ".tim", ".dat"])
def test_endings_in_any_case(suffix):
    for output in (Path(f"low{suffix}"), Path(f"UP{suffix.upper()}")):
        products.run(DedisperseRequest(path=FIL, dm=DM, output=output))
    low, up = (transients.open(path) for path in (f"low{suffix}", f"UP{suffix.upper()}"))
    np.testing.assert_array_equal(low.data, up.data)
    if suffix == ".dat":
        Path("UP.inf").rename("UP.INF")
        np.testing.assert_array_equal(transients.open("UP.DAT").data, low.data)
        np.testing.assert_array_equal(transients.open("UP.INF").data, low.data)
    products.run(WaterfallRequest(paths=(Path(f"UP{suffix.upper()}"),), output=Path("w.PNG"), dpi=40))
    assert Path("w.PNG").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("request_", "option", "message"),
    [
        (SearchRequest(path=FIL), "dm_min", "`dm_min` is missing"),
        (
            SearchRequest(path=FIL, dm_min=0, dm_max=9, threshold=0),
            "threshold",
            "`threshold=0`: expected a positive",
        ),
        (SearchRequest(path=FIL, dm_min=0, dm_max=9, mask=((0, 31),)), "mask", "see `mask` and `mask_mhz`"),
        (
            SearchRequest(path=FIL, dm_min=0, dm_max=9, k_dm=-1),
            "k_dm",
            "`k_dm=-1`: expected a number near 4149",
        ),
        (SearchRequest(path=FIL, dm_min=0, dm_max=9, n_width=99), "n_width", "`n_width=99`: expected"),
        (SearchRequest(path=FIL, dm_min=0, dm_max=9, max_plots=0), "max_plots", "`max_plots=0`: expected"),
        (SearchRequest(path=FIL, dm_min=0, dm_max=9, threads=-1), "threads", "`threads=-1`: expected"),
        (SearchRequest(path=FIL, dm_min=0, dm_max=9, gulp=0), "gulp", "`gulp=0`: expected"),
        (SearchRequest(path=FIL, dm_min=0, dm_max=9, average=0), "average", "`average=0`: expected"),
        (
            SearchRequest(path=FIL, dm_min=0, dm_max=9, output=Path("c.txt")),
            "output",
            "expected a name that ends",
        ),
        (DedisperseRequest(path=FIL), "dm", "`dm` is missing"),
        (DedisperseRequest(path=FIL, dm=9, n_bits=7), "n_bits", "`n_bits=7`: expected 1, 2, 4, 8, 16 or 32"),
        (DedisperseRequest(path=FIL, dm=9, tscrunch=0), "tscrunch", "`tscrunch=0`: expected"),
        (DedisperseRequest(path=FIL, dm=9, n_sub=0), "n_sub", "`n_sub=0`: expected"),
        (WaterfallRequest(), "paths", "`paths` is missing"),
        (WaterfallRequest(paths=(FIL,), dpi=1), "dpi", "`dpi=1`: expected a whole number from 30 to 2400"),
        (WaterfallRequest(paths=(FIL,), columns=0), "columns", "`columns=0`: expected"),
        (WaterfallRequest(paths=(FIL,), max_memory_gib=0), "max_memory_gib", "`max_memory_gib=0`: expected"),
    ],
)
def test_what_is_refused(request_, option, message):
    with pytest.raises(InputError) as error:
        products.run(request_)
    assert message in str(error.value)
    assert error.value.option == option
    assert _files() == ["a.fil"]


def test_the_report_is_an_output_like_others():
    with pytest.raises(InputError, match="is an input of this run"):
        products.run(DedisperseRequest(path=FIL, dm=9, report=FIL, overwrite=True))
    with pytest.raises(InputError, match="two outputs have the same name"):
        products.run(DedisperseRequest(path=FIL, dm=9, report=Path("a_dm9.npz")))
    assert _files() == ["a.fil"]


def test_what_is_no_request_is_refused():
    with pytest.raises(TypeError, match="SpectraRequest is not a request"):
        products.plan(SpectraRequest())


@pytest.mark.parametrize(
    "name",
    ["transients.products", "transients.products.requests", "spectra.candidate", "spectra.aliases", "errors"],
)
def test_examples(name):
    module = importlib.import_module(f"mwaconvert.{name}")
    assert doctest.testmod(module).attempted > 0
    assert doctest.testmod(errors).failed == 0
