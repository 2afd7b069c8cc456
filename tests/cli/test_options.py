"""Every option of Birli, cotter and the ASVO is accepted and lands where it must, or is refused loudly."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest

import mwaconvert
from mwaconvert.cli.convert import convert
from mwaconvert.conversion.options import Options
from mwaconvert.errors import InputError
from mwaconvert.vocabulary.arguments import prepare
from mwaconvert.vocabulary.options import REFUSED, TABLE, squeeze
from mwaconvert.vocabulary.request import PRESETS, RUN_SETTINGS, Request

#: settings that become fields of Options once all options, or the observation, are known
COMPOSED = {
    "allow_missing",
    "flag_missings",
    "time_average",
    "freq_average",
    "max_memory_percent",
    "centre",
    "phase_centre_ra",
    "phase_centre_dec",
    "provided_chan_ranges",
    "first_box",
    "box_count",
}


@pytest.fixture
def ask(monkeypatch):
    """Parse a command line as the verb convert does, up to the request."""
    asked: list[Request] = []
    monkeypatch.setattr("mwaconvert.cli.convert._run", asked.append)

    def parse(*words: str) -> Request:
        asked.clear()
        convert.main(["obs.metafits", *words], standalone_mode=False)
        return asked[0]

    return parse


# what each spelling must set: fields of Options
LANDS = [
    ("--nostats", {"statistics": False}),
    ("--flag-bad-tiles", {"flag_bad_tiles": True}),
    ("--rfi-array", {"rfi_array": True}),
    ("--no-histograms", {"statistics": False}),
    # Birli
    ("--avg-time-res 8", {"time_res_s": 8.0}),
    ("--avg-time-factor 4", {"time_factor": 4}),
    ("--avg-freq-res 40", {"freq_res_khz": 40.0}),
    ("--avg-freq-factor 2", {"freq_factor": 2}),
    ("--sel-time 2 7", {"sel_time": (2, 7)}),
    ("--sel-ants 1 2 5", {"sel_ants": (1, 2, 5)}),
    ("--no-sel-flagged-ants", {"sel_flagged_ants": False}),
    ("--no-sel-autos", {"sel_autos": False}),
    ("--sel-chan-ranges 0-11,13", {"sel_chan_ranges": ((0, 11), (13, 13))}),
    ("--phase-centre 187.5 -27.25", {"phase_centre_deg": (187.5, -27.25)}),
    ("--pointing-centre", {"pointing_centre": True}),
    ("--emulate-cotter", {"emulate_cotter": True}),
    ("--van-vleck", {"van_vleck": True}),
    ("--precomputed-flags only", {"precomputed_flags": "only"}),
    ("--noprecomputedflags", {"precomputed_flags": "ignore"}),
    ("--flagfiles x%%.mwaf", {"flag_files": Path("x%%.mwaf")}),
    ("--apply-di-cal x.bin", {"apply_solutions": Path("x.bin")}),
    ("--full-apply x.bin", {"apply_solutions": Path("x.bin")}),
    ("--apply x.bin", {"apply_solutions": Path("x.bin")}),
    ("--apply-solutions x.fits", {"apply_solutions": Path("x.fits")}),
    ("--calibrate folder", {"calibrate": Path("folder")}),
    ("--no_apply_amps", {"solution_amplitudes": False}),
    (
        "--solutions-freq linear --solutions-time linear",
        {"solutions_freq": "linear", "solutions_time": "linear"},
    ),
    ("--max-memory 12", {"max_memory_gib": 12.0}),
    ("--flag-init 4", {"flag_init_s": 4.0}),
    ("--quack-time 4", {"flag_init_s": 4.0}),
    ("--flag-init-steps 2", {"flag_init_steps": 2}),
    ("--flag-end 1.5", {"flag_end_s": 1.5}),
    ("--flag-end-steps 3", {"flag_end_steps": 3}),
    ("--flag-times 0 1 9", {"flag_times": (0, 1, 9)}),
    ("--flag-coarse-chans 0 23", {"flag_coarse_chans": (0, 23)}),
    ("--flag-edge-width 160", {"flag_edge_width_khz": 160.0}),
    ("--flag-edge-chans 2", {"flag_edge_chans": 2}),
    ("--flag-fine-chans 0 16", {"flag_fine_chans": (0, 16)}),
    ("--flag-dc", {"flag_dc": True}),
    ("--no-flag-dc", {"flag_dc": False}),
    ("--no-flag-metafits", {"flag_metafits": False}),
    ("--flag-antennas 3 4", {"flag_antennas": (3, 4)}),
    ("--flag-autos", {"flag_autos": True}),
    ("--no-cable-delay", {"cable_delay": False}),
    ("--no-geometric-delay", {"geometric_delay": False}),
    ("--no-geom", {"geometric_delay": False}),
    ("--no-digital-gains", {"digital_gains": False}),
    ("--passband-gains jake_oversampled", {"passband_gains": "jake_oversampled"}),
    ("--passband-gains none", {"passband_gains": "none"}),
    ("--pfb-gains jake", {"passband_gains": "jake"}),
    ("--no-rfi", {"rfi": "none"}),
    ("--norfi", {"rfi": "none"}),
    ("--no_rfi", {"rfi": "none"}),
    ("--rfi none", {"rfi": "none"}),
    ("--rfi aoflagger", {"rfi": "aoflagger"}),
    ("--rfi aoflagger --strategy x.lua", {"rfi": "aoflagger", "rfi_strategy": "x.lua"}),
    ("--aoflagger-strategy x.lua", {"rfi_strategy": "x.lua"}),
    ("--flag-strategy x.lua", {"rfi_strategy": "x.lua"}),
    ("--rfi-strategy x.toml", {"rfi_strategy": "x.toml"}),
    ("--rfi-sensitivity 0.5", {"rfi_sensitivity": 0.5}),
    ("--rfi-all-baselines", {"rfi_all_baselines": True}),
    # cotter, with two dashes
    ("--timeres 8", {"time_res_s": 8.0}),
    ("--freqres 40", {"freq_res_khz": 40.0}),
    ("--edgewidth 80", {"flag_edge_width_khz": 80.0}),
    ("--initflag 4", {"flag_init_s": 4.0}),
    ("--endflag 2", {"flag_end_s": 2.0}),
    ("--flagantenna 1,5-7", {"flag_antennas": (1, 5, 6, 7)}),
    ("--flagsubband 0,1", {"flag_coarse_chans": (0, 1)}),
    ("--flagdcchannels", {"flag_dc": True}),
    ("--noflagdcchannels", {"flag_dc": False}),
    ("--noautos", {"sel_autos": False}),
    ("--use-dysco", {"compress": "dysco"}),
    ("--compress dysco", {"compress": "dysco"}),
    ("--noflagautos", {"flag_autos": False}),
    ("--noantennapruning", {"sel_flagged_ants": True}),
    ("--nocablelength", {"cable_delay": False}),
    ("--nogeom", {"geometric_delay": False}),
    ("--nosbgains", {"digital_gains": False}),
    ("--sbpassband true", {"passband_gains": "none"}),
    ("--centre 12h30m00s -27d00m00s", {"phase_centre_deg": (187.5, -27.0)}),
    ("--usepcentre", {"pointing_centre": True}),
    ("--absmem 8", {"max_memory_gib": 8.0}),
    ("-j 3", {"threads": 3}),
    # ASVO, both eras, with underscores
    ("--avg_time_res 4", {"time_res_s": 4.0}),
    ("--avg_freq_res 80", {"freq_res_khz": 80.0}),
    ("--flag_edge_width 0", {"flag_edge_width_khz": 0.0}),
    ("--no_geometric_delay", {"geometric_delay": False}),
    ("--no_geometry_delay", {"geometric_delay": False}),
    ("--no_cable_delay", {"cable_delay": False}),
    ("--no_digital_gains", {"digital_gains": False}),
    ("--no_passband_gains", {"passband_gains": "none"}),
    ("--no_flag_dc", {"flag_dc": False}),
    ("--flagdcchannel", {"flag_dc": True}),
    ("--centre phase", {}),
    ("--centre=phase --nogeom", {"geometric_delay": False}),
    ("--centre pointing", {"pointing_centre": True}),
    ("--centre custom --phase_centre_ra 10 --phase_centre_dec -30", {"phase_centre_deg": (10.0, -30.0)}),
    ("--phasecentrera 00h40m00.0s --phasecentredec +10d00m00.0s", {"phase_centre_deg": (10.0, 10.0)}),
    ("--centre custom --custom_ra 10 --custom_dec -30", {"phase_centre_deg": (10.0, -30.0)}),
    # hyperdrive
    ("--time-average 8s", {"time_res_s": 8.0}),
    ("--time-average 4", {"time_factor": 4}),
    ("--output-vis-freq-average 80kHz", {"freq_res_khz": 80.0}),
    ("--freq-average 2", {"freq_factor": 2}),
    ("--tile-flags 3 Tile011", {"flag_antennas": (3,)}),
    ("--fine-chan-flags-per-coarse-chan 0 1 30 31", {"flag_fine_chans": (0, 1, 30, 31)}),
    ("--ignore-input-data-tile-flags", {"flag_metafits": False}),
    ("--no-cable-length-correction", {"cable_delay": False}),
    ("--no-geometric-correction", {"geometric_delay": False}),
    ("--pfb-flavour cotter2014", {"passband_gains": "cotter"}),
    ("--dut1 -0.25", {"dut1_s": -0.25}),
    ("--ignore-dut1", {"ignore_dut1": True}),
    ("--ignore-weights", {"ignore_weights": True}),
    ("--autos", {"sel_autos": True}),
    # ours
    ("--geometry exact", {"geometry": "exact"}),
    ("--split --overwrite", {"split": True, "overwrite": True}),
    ("--threads 2", {"threads": 2}),
    ("--timeres 500ms --freqres 0.04MHz", {"time_res_s": 0.5, "freq_res_khz": 40.0}),
    ("--max-memory 512MiB", {"max_memory_gib": 0.5}),
    ("--phase-centre 12:30:00 -00:30:00", {"phase_centre_deg": (187.5, -0.5)}),
    ("--flag-antennas Tile011,2-3", {"flag_antennas": ("Tile011", 2, 3)}),
    ("--flag-antennas 1 --flag-antennas 2,1", {"flag_antennas": (1, 2)}),
]

#: spellings that set the run instead
RUNS = [
    ("-o a.uvfits -o a.ms", {"outputs": (Path("a.uvfits"), Path("a.ms"))}),
    ("-u a.uvfits -M a.ms", {"outputs": (Path("a.uvfits"), Path("a.ms"))}),
    ("--uvfits-out a.uvfits --ms-out b.ms", {"outputs": (Path("a.uvfits"), Path("b.ms"))}),
    ("--output ms", {"outputs": (Path("ms"),)}),
    ("--conversion=uvfits", {"outputs": (Path("uvfits"),)}),
    ("", {"outputs": (Path("uvfits"),), "progress": True, "dry_run": False, "coarse": None}),
    ("--report r.json --qa p.png", {"report": Path("r.json"), "qa": Path("p.png")}),
    ("--dry-run", {"dry_run": True}),
    ("--skipwrite", {"dry_run": True}),
    ("--no-draw-progress", {"progress": False}),
    ("--no-progress-bars", {"progress": False}),
    ("-q", {"quiet": True}),
    ("-v", {"verbose": True}),
    ("--provided-chan-ranges", {"coarse": "provided"}),
    ("--sbstart 3 --sbcount 4", {"boxes": (3, 4)}),
    ("--sbcount 1", {"boxes": (1, 1)}),
]

#: options that state a fact: accepted, and said in the report
FACTS = [
    "--noflagmissings",
    "--allowmissing",
]

#: options of the other programs that must be refused
NOT_HERE = [
    "--dysco-config 8 12 TruncatedGaussian 2.5 AF",
    "--saveqs x.qs",
    "--histograms",
    "--time-chunk 4",
    "--noalign",
    "--offline-gpubox-format",
    "-a antennas.txt",
    "-i instr_config.txt",
    "--timesteps 1 2",
    "--use-all-timesteps",
    "--array-position 1 2 3",
    "--output-smallest-contiguous-band",
    "--fine-chan-flags 1",
    "--flag-raw-chans 1",
    "--metrics-out x.fits",
    "-d x",
    "--sbpassband table.txt",
    "--no-such-option",
    "-x",
]


@pytest.mark.parametrize(("words", "expected"), LANDS)
def test_lands_in_its_field(ask, words, expected):
    if words == "--tile-flags 3 Tile011":
        # a word that is not a number could be a file: names want commas
        assert ask(*words.split()).files == (Path("Tile011"),)
    assert dict(ask(*words.split()).options) == expected


@pytest.mark.parametrize(("words", "expected"), RUNS)
def test_sets_the_run(ask, words, expected):
    request = ask(*words.split())
    assert {key: getattr(request, key) for key in expected} == expected
    assert not request.options


@pytest.mark.parametrize("word", FACTS)
def test_facts_are_said(ask, word):
    request = ask(word)
    assert not request.options
    assert len(request.notes) == 1


@pytest.mark.parametrize("words", NOT_HERE)
def test_refused_with_its_name(ask, words):
    with pytest.raises((InputError, click.NoSuchOption), match=words.split(maxsplit=1)[0]):
        ask(*words.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--timeres 8 --avg-time-factor 4", "--timeres and --avg-time-factor cannot be combined"),
        ("--freqres 40 --freq-average 2", "--freqres and --freq-average cannot be combined"),
        ("--flag-edge-width 80 --flag-edge-chans 2", "cannot be combined"),
        ("--flag-init 4 --flag-init-steps 2", "cannot be combined"),
        ("--flag-end 4 --flag-end-steps 2", "cannot be combined"),
        ("--phase-centre 1 2 --pointing-centre", "cannot be combined"),
        ("--centre pointing --phase-centre 1 2", "cannot be combined"),
        ("--centre phase --phase-centre-ra 1 --phase-centre-dec 2", "cannot be combined"),
        ("--nogeom --phase-centre 1 2", "cannot be combined"),
        ("--nogeom --usepcentre", "cannot be combined"),
        ("--flag-dc --no-flag-dc", "contradict each other"),
        ("--no-sel-flagged-ants --noantennapruning", "contradict each other"),
        ("--timeres 8 --timeres 4", "given twice"),
        ("--passband-gains jake --no-passband-gains", "contradict each other"),
        ("--centre custom", "needs --phase-centre-ra and --phase-centre-dec"),
        ("--phase-centre-ra 10", "needs both"),
        ("--phase-centre 370 0", "outside 0 to 360"),
        ("--phase-centre 10 -91", "outside -90 to 90"),
        ("--phase-centre 10 5h30m", "in hours"),
        ("--phase-centre 10 5d61m", "below 60"),
        ("--phase-centre ten 5", "is not an angle"),
        ("--phase-centre nan 5", "is not an angle"),
        ("--timeres 8kHz", "not a number with an optional unit"),
        ("--timeres --freqres 40", "'--freqres' is not a number"),
        ("--timeres -8", "at least 0"),
        ("--freqres 40s", "not a number with an optional unit"),
        ("--flag-times 3-1", "runs backwards"),
        ("--flag-times one", "not a list"),
        ("--sel-time 5 2", "runs backwards"),
        ("--avg-time-factor 0", "at least 1"),
        ("--avg-time-factor 1.5", "not a whole number"),
        ("--passband-gains best", "choose from auto, none, jake"),
        ("--pfb-flavour levine", "--passband-gains: 'levine' is not a passband set"),
        ("--geometry flat", "choose from standard, exact"),
        ("--rfi on", "choose from builtin, aoflagger, none"),
        ("--rfi aoflagger --no-rfi", "contradict each other"),
        ("--rfi-strategy careful.txt", "must end in .toml, or in .lua"),
        ("--rfi-sensitivity 0", "not a number above 0"),
        ("--rfi-sensitivity abc", "--rfi-sensitivity: 'abc' is not a number .1.5."),
        ("--rfi-sensitivity nan", "--rfi-sensitivity: 'nan' is not a number"),
        ("--like cotter -nohist", "there is no option -nohist"),
        ("-qn", "there is no option -qn"),
        ("--like casa", "choose from birli, cotter"),
        ("--mem 150", "not a percentage"),
        ("--max-memory 0", "leaves nothing"),
        ("-o a.fits", "no suffix that says what to write"),
        ("-u a.ms", "must end in .uvfits"),
        ("--qa a.pdf", "must end in .png or .html"),
        ("--timres 8", "did you mean --timeres"),
        ("-timeres 8", "add --like cotter"),
        ("-nogeom", "add --like cotter"),
        ("--like cotter -h header.txt", "obsolete"),
        ("-q -v", "cannot be combined"),
        ("other.metafits -o x.ms", "several observations would write it"),
    ],
)
def test_contradictions_and_bad_values(ask, words, sentence):
    with pytest.raises(InputError, match=sentence):
        ask(*words.split())


def test_every_field_can_be_set():
    known = {field.name for field in fields(Options)}
    sets = {spec.sets for spec in TABLE}
    assert known <= sets
    assert sets <= known | RUN_SETTINGS | COMPOSED
    assert all(preset.keys() <= known for preset in PRESETS.values())


def test_names_are_unique():
    names = [squeeze(n) if n.startswith("--") else n for spec in TABLE for n in spec.names]
    names += [squeeze(n) if n.startswith("--") else n for n in REFUSED]
    assert len(set(names)) == len(names)


def test_defaults_are_no_options(ask):
    assert Options(**ask().options) == Options()


def test_cotter_preset(ask):
    request = ask("--like", "cotter", "-timeres", "8", "-freqres", "40", "-allowmissing", "-o", "a.ms")
    assert dict(request.options) == {
        "time_res_s": 8.0,
        "freq_res_khz": 40.0,
        "flag_init_s": 4.0,
        "flag_dc": True,
        "sel_flagged_ants": False,
        "emulate_cotter": True,
        "passband_gains": "cotter",
        "ignore_dut1": True,
        "ignore_weights": True,
        "split": True,
        "flag_autos": True,
    }
    assert request.coarse == "between"
    assert any("--like cotter set flag_init_s=4.0" in note for note in request.notes)


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ([], True),
        (["-norfi"], False),
        (["-noprecomputedflags"], False),
        (["-flagfiles", "x%%.mwaf"], True),
        (["--precomputed-flags", "auto"], False),
        (["--rfi-sensitivity", "2"], False),
        (["--rfi-all-baselines"], False),
    ],
)
def test_flag_files_in_place_of_detection(ask, words, instead, small):
    """cotter's -flagfiles turns its detection off, and so did flag files in the ASVO's jobs."""
    request = ask("--like", "cotter", "-o", "a.ms", *words)
    assert request.files_instead == instead
    metadata = mwaconvert.open(small).metadata
    only = request.resolve(metadata, [0]).get("precomputed_flags") == "only"
    assert only == ("-flagfiles" in words)
    assert not ask("--like", "birli").files_instead


def test_cotter_autos_follow_the_output(ask):
    assert ask("--like", "cotter").outputs == (Path("preprocessed.ms"),)
    assert ask("--like", "cotter", "-o", "a.uvfits").options["flag_autos"] is False
    assert ask("--like", "cotter", "-o", "a.ms", "-noflagautos").options["flag_autos"] is False
    with pytest.raises(InputError, match="say --flag-autos or --no-flag-autos"):
        ask("--like", "cotter", "-o", "a.ms", "-o", "a.uvfits")


def test_explicit_options_win_over_presets(ask):
    options = ask("--like=cotter", "-edgewidth", "0", "-noflagdcchannels", "--flag-init-steps", "1").options
    assert options["flag_edge_width_khz"] == 0
    assert options["flag_dc"] is False
    assert options["flag_init_steps"] == 1
    assert "flag_init_s" not in options
    options = ask("--like", "cotter", "--flag-edge-chans", "1", "--dut1", "0.1").options
    assert "flag_edge_width_khz" not in options
    assert "ignore_dut1" not in options


def test_birli_preset(ask):
    request = ask("--like", "birli", "-m", "x.metafits")
    assert dict(request.options) == {
        "precomputed_flags": "ignore",
        "rfi_all_baselines": True,
        "flag_edge_width_khz": 0.0,
        "ignore_weights": True,
        "split": True,
        "uvfits_baseline": True,
    }
    assert request.coarse == "between"
    assert (request.metafits, request.files) == (Path("x.metafits"), (Path("obs.metafits"),))
    assert ask("--like", "birli", "--provided-chan-ranges").coarse == "provided"
    assert ask("--like", "birli", "--sel-chan-ranges", "1-2").coarse is None


def test_percentage_of_memory(ask):
    whole = ask("--mem", "100").options["max_memory_gib"]
    assert ask("--mem", "25%").options["max_memory_gib"] == pytest.approx(whole / 4)


def test_lists_stop_at_words():
    words = ["--flag-times", "1", "2-3", "4,5", "a.fits", "6", "-q"]
    assert prepare(words) == ["--flag-times", "1,2-3,4,5", "a.fits", "6", "--quiet"]


def test_values_may_look_like_options():
    assert prepare(["--dut1", "-0.3", "--phase-centre", "1", "-2"]) == [
        "--dut1",
        "-0.3",
        "--phase-centre",
        "1",
        "-2",
    ]
    assert prepare(["--", "--timeres"]) == ["--", "--timeres"]


def test_raw_files_in_any_order(ask):
    request = ask("a_00.fits", "--timeres", "8", "a_01.fits")
    assert request.metafits == Path("obs.metafits")
    assert request.files == (Path("a_00.fits"), Path("a_01.fits"))


def test_output_names(ask):
    assert ask("-o", "ms", "-o", "x/b.uvfits").output_paths(123) == [Path("123.ms"), Path("x/b.uvfits")]


def test_documentation_is_current():
    docs = Path(__file__).parents[2] / "docs"
    program = f"import runpy; print(end=runpy.run_path({str(docs / 'make_options.py')!r})['options_page']())"
    # a process of its own: verbs that other tests have called have options more
    made = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, encoding="utf-8")
    assert (docs / "options.md").read_text("utf-8") == made.stdout, "run python docs/make_options.py"
