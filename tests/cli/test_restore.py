"""The verb restore: one command, without a service."""

from __future__ import annotations

from pathlib import Path

import pytest
import request_samples as samples
from archive_samples import casa_python, restorable, with_sets
from click.testing import CliRunner, Result
from package_samples import ONE, package

from mwaconvert.cli.main import main


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["restore", *map(str, words)])


def test_a_package(tmp_path: Path) -> None:
    layout = with_sets(package(tmp_path / "packages"))
    casa = f"6.5.4-9={casa_python(tmp_path / 'casa')}"
    done = call(layout.root, "-d", tmp_path, "--casa", casa)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(layout.root)
    assert (layout.root / "calibrated" / f"{ONE}.ms" / "calibrated").is_file()
    assert "casa ..." in done.stderr
    again = call(layout.root, "-d", tmp_path, "--casa", casa, "-q")
    assert (again.exit_code, again.stdout) == (0, "")


def test_a_member_set_by_the_configuration_of_a_site(tmp_path: Path) -> None:
    site = restorable(tmp_path)
    config = tmp_path / "archive.toml"
    config.write_text(
        'database = "archive.db"\n[stores]\nread = ["store"]\n'
        '[casa]\n"6.5.4-9" = "casa/python"\n[areas]\ndelivered = "out"\n'
    )
    submitted = call(samples.MOUS, "--config", config, "--submit")
    assert (submitted.exit_code, submitted.stdout) == (0, "job 1\n")
    done = call(samples.MOUS.file_form, "--config", config)
    assert done.exit_code == 0, done.output
    root = Path(done.stdout.splitlines()[-1])
    assert root.is_relative_to(tmp_path / "out" / "restore.1")
    assert (root / "calibrated" / f"{ONE}.ms").is_dir()
    assert site.database == str(tmp_path / "archive.db")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "is neither a folder nor a uid"),
        (["."], "is neither a delivered package"),
        ([".", "--submit"], "name its configuration"),
        ([".", "--casa", "/no/casa"], "--casa /no/casa: /no/casa is not there"),
        ([".", "--casa", "/"], "put the version before it"),
        ([".", "-d", "no/folder"], "is not a folder; make it first"),
        (["uid://A001/X1/X2"], "is not in the catalogue"),
        ([".", "--config", "none.toml"], "cannot be read as a configuration"),
        (["uid://A001/X1/X2", "--metadata", "sqlite:///no/such.db"], "cannot be opened"),
    ],
)
def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "x is not a setting; expected areas, casa"),
        ("areas = 1", "areas must be a table"),
        ("[areas]\nother = 'x'", "areas.other is not a setting"),
        ("[stores]\nread = 'x'", "read is 'x'; expected a list of texts"),
        ("[stores]\nread = ['ftp://x']", "ftp://x: expected a path"),
        ("[casa]\n'6.5.4' = 'none'", "is not there"),
        ("[casa]\nlatest = '.'", "names no CASA version"),
        ("[mail]\nhost = 'x'\nsecurity = 'ssl'\nsender = 'a@b'", "expected one of starttls, tls, none"),
        ("[mail]\nhost = 'x'\nport = '25'\nsender = 'a@b'", "mail.port is '25'"),
        ("[mail]\nhost = 'x'", "sender is missing"),
        ("[files]\nretention = 'none.txt'", "retention: there is no file"),
        ("=", "is not a TOML file"),
    ],
)
def test_configurations_that_are_not_right(tmp_path: Path, text: str, told: str) -> None:
    config = tmp_path / "archive.toml"
    config.write_text(text)
    result = call(".", "--config", config)
    assert result.exit_code == 2
    assert told in result.stderr
