"""Job files: what is forgiven, what is not, and what the parameters of three eras mean."""

import itertools
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st

from mwaconvert.conversion.options import Options, check_options
from mwaconvert.errors import InputError
from mwaconvert.vocabulary.asvo_names import NAMES
from mwaconvert.vocabulary.job_file import JobFileError, JobRow, read_job, read_job_file
from mwaconvert.vocabulary.job_rows import JobKind, read_rows

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "jobs.csv"
C = "obs_id=1110103576, job_type=c"


@pytest.fixture
def read(tmp_path):
    def reader(text: str | bytes, **how) -> tuple[JobRow, ...]:
        path = tmp_path / "jobs.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_job_file(path, **how)

    return reader


@pytest.fixture
def problems(read):
    def reader(text: str | bytes, **how) -> list[str]:
        with pytest.raises(JobFileError) as caught:
            read(text, **how)
        return [str(problem) for problem in caught.value.problems]

    return reader


def settings(text: str) -> dict:
    """Settings of a conversion row, cells after obs_id and job_type."""
    rows, found = read_rows(f"{C}, {text}".encode())
    assert found == ()
    conversion = read_job(JobKind.CONVERSION, rows[0].params).conversion
    assert conversion is not None
    return dict(conversion.settings)


# ------------------------------------------------------------------------------------- the seed's lines


def test_the_example_of_a_conversion(read):
    (job,) = read(
        "obs_id=1110103576, job_type=c, timeres=8, freqres=40, edgewidth=80, conversion=ms, calibrate=true, "
        "allowmissing=true, flagdcchannels=true"
    )
    assert (job.line, job.kind, job.obs_id) == (1, JobKind.CONVERSION, 1110103576)
    assert job.given["timeres"] == "8"
    assert job.canonical["avg_time_res"] == 8
    assert job.conversion is not None
    assert job.conversion.settings == {
        "like": "cotter",
        "outputs": ["ms"],
        "time_res_s": 8.0,
        "freq_res_khz": 40.0,
        "flag_edge_width_khz": 80.0,
        "flag_dc": True,
    }
    assert job.conversion.calibrate
    assert job.conversion.allow_missing
    request = job.conversion.request(Path("/raw/1110103576.metafits"), solutions=Path("/solutions"))
    assert request.options["calibrate"] == Path("/solutions")
    assert request.files_instead  # flag files in place of detection
    with pytest.raises(InputError, match="no folder of solutions"):
        job.conversion.request(Path("1110103576.metafits"))


def test_the_examples_of_downloads_and_voltages(read):
    vis, meta, volt = read(
        "obs_id=1110103576, job_type=d, download_type=vis, delivery=acacia\n"
        "obs_id=1110105120, job_type=d, download_type=vis_meta, delivery=astro\n"
        "obs_id=1323776840, job_type=v, offset=0, duration=1200\n"
    )
    assert (vis.kind, vis.canonical["download_type"], vis.canonical["delivery"]) == ("d", "vis", "acacia")
    assert (meta.line, meta.canonical["download_type"], meta.canonical["delivery"]) == (
        2,
        "vis_meta",
        "astro",
    )
    assert (volt.kind, volt.canonical["offset"], volt.canonical["duration"]) == ("v", 0, 1200)
    assert volt.canonical["delivery"] == "scratch"
    assert volt.conversion is None


def test_the_annotated_example_file():
    for strict in (False, True):
        jobs = read_job_file(EXAMPLES, strict=strict)
        assert [job.kind.value for job in jobs] == list("cccccddvv")
    first, second = jobs[0].conversion, jobs[1].conversion
    assert (first.settings["like"], second.settings["like"]) == ("cotter", "birli")


# ---------------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + C,
        f"# comment\n\n   \n\t\n,,\n{C},\n",
        f"{C}  # a word about it",
        "obs_id = 1110103576 ,\tjob_type\t=\tc",
        'obs_id=1110103576, "job_type=c"',
        f"{C}\r\n\r\n",
        f"{C}, timeres=, =x",
    ],
)
def test_what_is_forgiven(read, text):
    (job,) = read(text)
    assert job.obs_id == 1110103576


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"\ufeff{C}", None),  # becomes part of the first key, which the server would be asked for
        (f"{C}\n   \n", "line 2, column 4: invalid cell"),
        (f"{C},", "line 1, column 30: invalid cell"),
        (
            f"{C}  # a word about it",
            "line 1, column 20: unknown job_type c#awordaboutit; expected c, d, v, b or i",
        ),
        ("obs_id=1110103576,\tjob_type=c", "line 1, column 1: job_type cell not defined"),
        ('obs_id=1110103576, "job_type=c"', "line 1, column 1: job_type cell not defined"),
    ],
)
def test_what_strict_refuses_as_the_released_client_does(problems, text, where):
    found = problems(text, strict=True)
    assert where is None or any(problem.startswith(where) for problem in found)


def test_all_problems_of_all_lines(problems):
    found = problems(
        "obs_id=1110103576\n"
        "# comment\n"
        "obs_id=12, job_type=c, timeres=-3, output=fits, van-vleck=true\n"
        "nonsense, job_type=x\n"
        f"{C}, norfi=maybe\n"
        "obs_id=1110103576, job_type=d\n".replace("\n", "\r\n")
    )
    assert found == [
        "line 1, column 1: job_type cell not defined",
        "line 3, column 1: obs_id: '12' is not an observation id of 10 digits",
        "line 3, column 24: timeres: '-3' is not a finite number of at least 0",
        "line 3, column 36: output: 'fits' is not one of ms, uvfits",
        "line 3, column 49: there is no parameter van-vleck of conversion jobs (job_type=c)",
        "line 4, column 1: invalid cell format, must be key=value",
        "line 4, column 11: unknown job_type x; expected c, d, v, b or i",
        "line 5, column 32: norfi: 'maybe' is neither true nor false",
        "line 6, column 1: download_type is missing",
    ]


def test_text_in_another_encoding(problems):
    assert problems(C.encode() + b"\nobs_id=1110103576, job_type=c # \xe9t\xe9\n") == [
        "line 2, column 33: not UTF-8 text; save the file as UTF-8"
    ]


def test_nothing_to_do(read, tmp_path):
    with pytest.raises(InputError, match="no jobs"):
        read("# nothing\n\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_job_file(tmp_path / "absent.csv")


# ------------------------------------------------------------------------------------------ parameters


def test_names_of_the_eras_mean_the_same():
    """Of the alias table: the parameters of cotter's time, of 2022, of API v1 and of v2."""
    pairs = [
        ("timeres=4", "avg_time_res=4"),
        ("freqres=40", "avg_freq_res=40"),
        ("edgewidth=160", "flag_edge_width=160"),
        ("conversion=ms", "output=ms"),
        ("calibrate=true", "apply_di_cal=true"),
        ("norfi=true", "no_rfi=true"),
        ("nogeom=true", "no_geometric_delay=true"),
        ("nogeom=true", "no_geometry_delay=true"),
        ("nocablelength=true", "no_cable_delay=true"),
        ("nosbgains=true", "no_digital_gains=true"),
        ("sbpassband=true", "no_passband_gains=true"),
        ("flagdcchannel=true", "flagdcchannels=true"),
        ("flagdcchannel=false", "no_flag_dc=true"),
        ("usepcentre=true", "centre=pointing"),
        (
            "phasecentrera=00h40m00.0s, phasecentredec=-30d30m00.0s",
            "centre=custom, custom_ra=10, custom_dec=-30.5",
        ),
        ("phase_centre_ra=10, phase_centre_dec=-30.5", "custom_centre_ra=10, custom_centre_dec=-30.5"),
        ("allow_missing=True", "allowmissing=1"),
    ]
    for old, new in pairs:
        made = []
        for text in (old, new):
            rows, _ = read_rows(f"{C}, preprocessor=birli, {text}".encode())
            made.append(read_job(JobKind.CONVERSION, rows[0].params))
        assert made[0].canonical == made[1].canonical, old
        assert made[0].conversion == made[1].conversion, old


def test_missing_files_fail_jobs_of_cotters_time_alone():
    for text, allowed in [
        ("timeres=8", False),
        ("timeres=8, allowmissing=true", True),
        ("avg_time_res=8", True),
        ("avg_time_res=8, allowmissing=false", False),
    ]:
        rows, _ = read_rows(f"{C}, {text}".encode())
        assert read_job(JobKind.CONVERSION, rows[0].params).conversion.allow_missing == allowed


def test_profiles():
    assert settings("timeres=8")["like"] == "cotter"
    assert settings("avg_time_res=8")["like"] == "birli"
    assert settings("timeres=8, avg_freq_res=40")["like"] == "birli"
    assert settings("timeres=8, preprocessor=birli")["like"] == "birli"
    assert settings("avg_time_res=8, preprocessor=cotter")["like"] == "cotter"
    assert settings("delivery=scratch")["like"] == "birli"


@pytest.mark.parametrize(("norfi", "nopre"), list(itertools.product([False, True], repeat=2)))
def test_precomputed_flags_in_cotters_time(norfi, nopre):
    """The four lines of the table of 2022."""
    text = f"conversion=ms, norfi={norfi}, noprecomputedflags={nopre}"
    rows, _ = read_rows(f"{C}, {text}".encode())
    conversion = read_job(JobKind.CONVERSION, rows[0].params).conversion
    request = conversion.request(Path("1110103576.metafits"))
    detects = request.options.get("rfi", "builtin") != "none"
    files = request.options.get("precomputed_flags", "auto") != "ignore"
    assert (detects, files) == (not norfi, not nopre)
    assert request.files_instead == (not norfi and not nopre)


def test_precomputed_flags_since_birli():
    assert settings("avg_time_res=8")["precomputed_flags"] == "ignore"
    assert settings("avg_time_res=8, noprecomputedflags=false")["precomputed_flags"] == "auto"
    assert settings("no_rfi=true")["rfi"] == "none"


def test_every_flag_reaches_the_converter():
    made = settings(
        "preprocessor=cotter, nocablelength=true, nosbgains=true, sbpassband=true, nostats=true, "
        "noantennapruning=true, noflagautos=true, usepcentre=true"
    )
    assert made["cable_delay"] is made["digital_gains"] is made["statistics"] is made["flag_autos"] is False
    assert (made["passband_gains"], made["sel_flagged_ants"], made["pointing_centre"]) == ("none", True, True)
    assert settings("nogeom=true")["geometric_delay"] is False
    assert settings("no_flag_dc=true")["flag_dc"] is False
    assert settings("edgewidth=0")["flag_edge_width_khz"] == 0
    assert "time_res_s" not in settings("avg_time_res=0")
    assert settings("apply_di_cal=true, no_apply_amps=true")["solution_amplitudes"] is False
    assert settings("phasecentrera=00h40m00.0s, phasecentredec=+30d30m00.0s")["phase_centre_deg"] == [
        10.0,
        30.5,
    ]


def test_settings_are_options_of_the_library():
    rows, _ = read_rows(f"{C}, timeres=8, norfi=true, nogeom=true, nostats=true, conversion=ms".encode())
    conversion = read_job(JobKind.CONVERSION, rows[0].params).conversion
    request = conversion.request(Path("1110103576.metafits"))
    check_options(Options(**request.options))
    assert request.output_paths(1110103576) == [Path("1110103576.ms")]


def test_what_is_not_followed_is_said():
    job = read_job(JobKind.CONVERSION, {"obs_id": "1110103576", "noflagmissings": "true"})
    assert len(job.conversion.notes) == 1
    assert "noflagmissings" in job.conversion.notes[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("timeres=4, avg_time_res=8", "contradicts timeres=4"),
        ("norfi=true, norfi=false", "contradicts norfi=true"),
        ("flagdcchannel=true, no_flag_dc=true", "contradicts flagdcchannel=true"),
        ("phasecentrera=00h00m00s", "needs both"),
        ("custom_dec=10", "needs both"),
        ("centre=custom", "needs phase_centre_ra"),
        ("usepcentre=true, custom_ra=1, custom_dec=1", "give one"),
        ("usepcentre=true, centre=phase", "contradict"),
        ("nogeom=true, usepcentre=true", "no phase centre"),
        ("no_geometric_delay=true, centre=pointing", "no phase centre"),
        ("no_apply_amps=true", "needs apply_di_cal"),
        ("phasecentrera=25h00m00s, phasecentredec=1", "outside 0 to 360"),
        ("custom_ra=1, custom_dec=91", "outside -90 to 90"),
        ("avg_freq_res=1281", "above 1280 kHz"),
        ("timeres=nan", "not a number"),
        ("delivery=moon", "not one of"),
        ("delivery_format=files", "acacia holds archives"),
        ("offset=0", r"conversion jobs \(job_type=c\) have no parameter offset"),
        ("timeress=3", "did you mean timeres"),
        ("preprocessor=casa", "cotter, birli"),
        ("obs_id=1110103577", "contradicts obs_id=1110103576"),
    ],
)
def test_impossible_conversions(problems, text, sentence):
    (found,) = problems(f"{C}, {text}")
    assert sentence in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("offset=0", "duration is missing"),
        ("duration=0", "from 1 to"),
        ("duration=8, offset=-1", "from 0 to 5400"),
        ("duration=8, delivery=acacia", "scratch only"),
        ("duration=8, delivery_format=tar", "files only"),
        ("duration=8, from_channel=3", "go together"),
        ("duration=8, from_channel=3, to_channel=2", "backwards"),
        ("duration=8, from_channel=3, to_channel=256", "from 0 to 255"),
        ("duration=8, channel_range=true", "needs from_channel"),
    ],
)
def test_impossible_voltages(problems, text, sentence):
    (found,) = problems(f"obs_id=1323776840, job_type=v, {text}")
    assert sentence in found


@pytest.mark.parametrize("obs_id", ["", "../../etc", "111010357", "11101035760", "1110103576\u0661", "1e9"])
def test_hostile_observations(obs_id):
    with pytest.raises(InputError):
        read_job(JobKind.DOWNLOAD, {"obs_id": obs_id, "download_type": "vis"})


def test_jobs_that_make_the_same_are_equal(read):
    first, second, third = read(
        f"{C}, timeres=8, preprocessor=birli\n"
        f"{C}, avg_time_res=8.0, flag_edge_width=80, no_rfi=false, allow_resubmit=true, expiry_days=3\n"
        f"{C}, avg_time_res=8, flag_edge_width=40\n"
    )
    assert first.canonical == second.canonical != third.canonical
    assert (second.allow_resubmit, second.expiry_days) == (True, 3)
    assert (first.allow_resubmit, first.expiry_days) == (False, None)


def test_forms_of_the_released_clients():
    """As they post them, recorded."""
    posted = {
        JobKind.CONVERSION: "allow_resubmit=false&avg_freq_res=80&delivery=acacia&flag_edge_width=80&output=uvfits",
        JobKind.DOWNLOAD: "allow_resubmit=false&delivery=acacia&download_type=vis_meta",
        JobKind.VOLTAGES: "allow_resubmit=false&channel_range=true&delivery=scratch&download_type=volt&duration=8"
        "&from_channel=109&offset=0&to_channel=110",
        JobKind.BEAMFORMER: "allow_resubmit=false&delivery=acacia",
        JobKind.IMAGING: "allow_resubmit=false&avg_freq_res=80&delivery=acacia&flag_edge_width=80&output=uvfits"
        "&output_mode=fits",
    }
    for kind, form in posted.items():
        params = dict(pair.split("=") for pair in form.split("&"))
        assert read_job(kind, {**params, "obs_id": "1110103576"}).obs_id == 1110103576


def test_the_table_has_each_name_once():
    for kind in JobKind:
        names = [name for entry in NAMES if kind in entry.kinds for name in entry.names]
        assert len(names) == len(set(names))


@search(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet='c=,# "\t\n\rob_idjtyp1107', max_size=80).map(str.encode)
    )
)
def test_any_bytes_are_rows_or_problems(data):
    for strict in (False, True):
        rows, problems = read_rows(data, strict=strict)
        for row in rows:
            assert all(cell.key and cell.value and cell.column > 0 for cell in row.cells)
            with suppress(InputError):
                read_job(row.kind, row.params)
        assert all(problem.line > 0 and problem.column > 0 for problem in problems)


def test_the_documentation_has_every_name():
    page = (EXAMPLES.parents[1] / "job-files.md").read_text()
    documented = {word.replace("_", "") for word in re.findall(r"`(\w+)`", page)}
    names = {name for entry in NAMES if set("cdv") & set(entry.kinds) for name in entry.names}
    assert {name for name in names if name.replace("_", "") not in documented} == {
        "channel_range"
    }  # of clients alone
