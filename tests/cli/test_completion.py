"""The verb completion: what it writes, where, and how it goes on; driven in real shells by test_shells.py."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import _VERBS, main


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/mwaconvert"),
        ("zsh", ".local/share/zsh/site-functions/_mwaconvert"),
        ("fish", ".config/fish/completions/mwaconvert.fish"),
    ],
)
def test_install(home, shell, place):
    done = CliRunner().invoke(main, ["completion", shell, "--install"])
    assert done.exit_code == 0, done.output
    assert f"_MWACONVERT_COMPLETE={shell}_complete" in (home / place).read_text()
    assert str(home / place) in done.output
    assert ("$funcstack[1] == _mwaconvert" in (home / place).read_text()) == (shell == "zsh")
    assert (
        CliRunner().invoke(main, ["completion", shell]).output.strip() == (home / place).read_text().strip()
    )


def test_every_verb_has_a_man_page(home):
    assert CliRunner().invoke(main, ["completion", "bash", "--install"]).exit_code == 0
    pages = {path.stem: path.read_text() for path in (home / ".local/share/man/man1").glob("*.1")}
    assert {f"mwaconvert-{verb}" for verb in _VERBS} < pages.keys()
    assert "mwaconvert-archive-compare" in pages
    for text in pages.values():
        assert re.search(r'^\.SH NAME\n.+ \\- \S.*\n\.SH "SYNOPSIS"', text, re.M)
        # a line that begins with a dot is a request, and these are all that a page has
        assert set(re.findall(r"^[.'](\w+)", text, re.M)) <= {"TH", "SH", "nf", "fi"}
    assert r"\-\-timeres" in pages["mwaconvert-convert"]
    assert "mwaconvert(1)" in pages["mwaconvert-convert"]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("sea", ["file,sea", "plain,search"]), ("1234", ["file,1234"]), ("--ver", ["plain,--version"])],
)
def test_the_first_word_is_a_verb_or_a_file(typed, shown):
    said = {"_MWACONVERT_COMPLETE": "bash_complete", "COMP_WORDS": f"mwaconvert {typed}", "COMP_CWORD": "1"}
    done = CliRunner().invoke(main, [], env=said, prog_name="mwaconvert")
    assert done.output.split() == shown
