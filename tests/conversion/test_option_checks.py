"""Options of the library: what they may be, what contradicts itself, and what would have nothing to do."""

import ast
import logging
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import mwaconvert
from mwaconvert.cli.main import main
from mwaconvert.conversion.options import Options, check_options
from mwaconvert.errors import InputError
from mwaconvert.vocabulary.options import in_words


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("precomputed_flags", "foo", "expected auto, only or ignore"),
        ("solutions_time", "cubic", "expected nearest or linear"),
        ("solutions_freq", "cubic", "expected nearest or linear"),
        ("geometry", "foo", "expected standard or exact"),
        ("passband_gains", "foo", "expected auto, none, jake, jake_oversampled or cotter"),
        ("passband_gains", None, "expected auto, none, jake, jake_oversampled or cotter"),
        ("rfi", ["none"], "expected builtin, aoflagger or none"),
        ("flag_antennas", ["Tile011"], "expected a list, each of it a whole number"),
        ("flag_antennas", "3", "expected a list, each of it a whole number"),
        ("flag_times", 3, "expected a list, each of it a whole number"),
        ("flag_times", [-1], "must not be negative"),
        ("sel_time", [1, 2, 3], "expected 2 values, each of them a whole number or None"),
        (
            "sel_chan_ranges",
            [1, 2],
            "expected a list, each of it 2 values, each of them a whole number or None",
        ),
        ("phase_centre_deg", "0 -27", "expected 2 values, each of them a number or None"),
        ("phase_centre_deg", (0, float("nan")), "expected a finite number"),
        ("phase_centre_deg", (0, -91), "Dec from -90 to 90 degrees"),
        ("max_memory_gib", float("nan"), "expected a finite number"),
        ("max_memory_gib", 0, "must be above 0"),
        ("rfi_sensitivity", -1.0, "must not be negative"),
        ("time_res_s", "8", "expected a number or None"),
        ("time_factor", 2.5, "expected a whole number or None"),
        ("threads", -1, "must not be negative"),
        ("threads", True, "expected a whole number"),
        ("dut1_s", float("inf"), "expected a finite number"),
        ("flag_autos", "no", "expected True or False"),
        ("apply_solutions", 3, "expected a file name or None"),
    ],
)
def test_values_are_checked(small, name, value, message):
    with pytest.raises(InputError, match=rf"^`{name}` is .*{message}|^phase centre: .*{message}"):
        mwaconvert.open(small).plan(**{name: value})


def test_what_is_meant_is_taken():
    """Lists, arrays and numpy's numbers; names of files as text."""
    check_options(Options())
    check_options(
        Options(
            flag_antennas=[1, 2],
            sel_ants=np.arange(3),
            time_factor=np.int64(2),
            freq_res_khz=np.float32(40),
            phase_centre_deg=(0, -27),
            dut1_s=-0.2,
            sel_chan_ranges=[(0, 1)],
            apply_solutions="a.bin",
            solutions_freq="linear",
            solution_amplitudes=False,
            rfi_strategy="a.toml",
            rfi_all_baselines=True,
        )
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"solutions_freq": "linear"},
            "`solutions_freq` was given, but no calibration solutions are applied",
        ),
        (
            {"solutions_time": "linear"},
            "`solutions_time` was given, but no calibration solutions are applied",
        ),
        (
            {"solution_amplitudes": False},
            "`solution_amplitudes=False` was given, but no calibration solutions",
        ),
        ({"rfi": "none", "rfi_all_baselines": True}, r"`rfi_all_baselines=True` was given, but .*`rfi=none`"),
        *(
            (
                {"precomputed_flags": "only", name: value},
                rf"`{name}(=True)?` was given, but .*`precomputed_flags=only`",
            )
            for name, value in (
                ("rfi_strategy", "nothere.toml"),
                ("rfi_sensitivity", 2.0),
                ("rfi_all_baselines", True),
            )
        ),
        ({"precomputed_flags": "only", "rfi": "aoflagger"}, "`rfi=aoflagger` and `precomputed_flags=only`"),
        ({"apply_solutions": "a", "calibrate": "b"}, "`apply_solutions` and `calibrate` were both given"),
    ],
)
def test_what_would_have_nothing_to_do(options, message):
    with pytest.raises(InputError, match=message):
        check_options(Options(**options))


def test_fields_of_the_message_exist():
    """Whoever renames a field is told."""
    from mwaconvert.conversion import options

    known = {field.name for field in fields(Options)}
    assert known >= options._ABOVE_0 | options._SIGNED
    assert known >= {name for _, first, second in options._PAIRS for name in (first, second)}


def test_birli_without_detection(small, tmp_path):
    out = tmp_path / "a.uvfits"
    words = [str(small), "--like", "birli", "--no-rfi", "-o", str(out), "-q"]
    result = CliRunner().invoke(main, words)
    logging.captureWarnings(False)
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, [*words[:-1], "--rfi-all-baselines", "--overwrite"])
    logging.captureWarnings(False)
    assert result.exit_code == 2
    assert "--rfi-all-baselines was given, but RFI is not looked for (--no-rfi)" in result.output


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_memory_gib": 0.01}, "max_memory_gib"),
        ({"threads": -1}, "threads"),
        ({"rfi": "none", "rfi_sensitivity": 2.0}, "rfi_sensitivity"),
        ({"calibrate": "nowhere"}, "calibrate"),
        ({"van_vleck": True}, "van_vleck"),
    ],
)
def test_errors_name_the_field(small, options, field):
    """A face, which knows it by another name, needs more than a sentence."""
    with pytest.raises(InputError) as caught:
        mwaconvert.open(small).plan(**options)
    assert caught.value.option == field
    assert f"`{field}" in str(caught.value)


def library_sentences():
    """Texts of the library, without those that documents it."""
    root = Path(mwaconvert.__file__).parent
    for folder in ("conversion", "formats/visibilities", "observation", "visibilities", "qa"):
        for path in (root / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            documents = {
                id(node.body[0].value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and node.body
                and isinstance(node.body[0], ast.Expr)
            }
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and id(node) not in documents
                ):
                    yield path.name, node.value


def test_library_knows_no_command_line():
    said = [(name, text) for name, text in library_sentences() if re.search(r"(?<![-\w])--[a-z]", text)]
    assert said == []


def test_fields_in_sentences_exist():
    known = {field.name for field in fields(Options)}
    named = {field for _, text in library_sentences() for field in re.findall(r"`(\w+)(?:=[^`]*)?`", text)}
    assert len(named) > 10
    assert named <= known


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("`max_memory_gib=0.5` GiB is too little", "--max-memory 0.5 GiB is too little"),
        ("skipped: `cable_delay=False`", "skipped: --no-cable-delay"),
        ("without it: `rfi=none`", "without it: --no-rfi"),
        ("add `rfi=aoflagger`", "add --rfi aoflagger"),
        ("or pass `overwrite`", "or pass --overwrite"),
        ("`rfi_all_baselines=True` was given", "--rfi-all-baselines was given"),
        ("`calibrate=a b`: no such folder", "--calibrate a b: no such folder"),
        ("`nothing_known` stays", "`nothing_known` stays"),
    ],
)
def test_command_line_says_it_in_its_words(sentence, words):
    assert in_words(sentence) == words
