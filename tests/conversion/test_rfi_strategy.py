"""Strategy files of the RFI detection."""

import dataclasses

import pytest

from mwaconvert.conversion.rfi.strategy import RfiStrategy, worker_bytes
from mwaconvert.errors import InputError


def test_defaults_are_named_after_what_they_reproduce():
    assert RfiStrategy().name == "aoflagger-mwa-2021"


def test_file(tmp_path):
    path = tmp_path / "careful.toml"
    path.write_text("sensitivity = 0.5\niterations = 4\ntimestep_rms = 5\n")
    strategy = RfiStrategy.from_toml(path)
    assert strategy == RfiStrategy(name="careful", sensitivity=0.5, iterations=4, timestep_rms=5)
    assert strategy.parameters().threshold == 2.0
    assert strategy.parameters().timestep_rms == 5.0


def test_every_field_reaches_the_kernels():
    for field in dataclasses.fields(RfiStrategy):
        if field.name in ("name", "sensitivity", "threshold"):
            continue
        value = {"rank_time": 0.7, "rank_freq": 0.7, "rank_missing": 0.7}.get(field.name, 5)
        parameters = RfiStrategy(**{field.name: value}).parameters()
        assert getattr(parameters, field.name) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sensitivty = 2", "unknown key sensitivty; known are name, sensitivity"),
        ("[aoflagger]\nx = 1", "unknown key aoflagger"),
        ("iterations = 2.5", "iterations = 2.5, expected a whole number"),
        ("iterations = true", "iterations = True, expected a whole number"),
        ("iterations = 0", "iterations = 0, expected 1 to"),
        ("sensitivity = 0", "sensitivity = 0, expected above 0"),
        ("threshold = 'low'", "threshold = 'low', expected a number"),
        ("threshold = nan", "threshold = nan, expected a number"),
        ("window_time = 20", "window_time = 20, expected odd"),
        ("rank_time = 1.5", "rank_time = 1.5, expected 0 to 1"),
        ("name = 3", "name = 3, expected text"),
        ("name =", "not a TOML file"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "strategy.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        RfiStrategy.from_toml(path)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no such RFI strategy"):
        RfiStrategy.from_toml(tmp_path / "none.toml")


def test_worker_memory_grows_with_the_image():
    assert worker_bytes(224, 768) > 224 * 768 * 30
