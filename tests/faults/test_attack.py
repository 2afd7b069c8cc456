"""The campaign itself, with one attack of each kind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mwaconvert

ATTACK = Path(__file__).with_name("attack.py")
COUNTS = [
    "--only",
    "simulate",
    "--kills",
    "1",
    "--terms",
    "1",
    "--full",
    "1",
    "--pairs",
    "1",
    "--spills",
    "1",
]


def attack(folder, *more):
    words = [sys.executable, ATTACK, *COUNTS, "--results", "attack.json", *more]
    env = os.environ | {
        "PYTHONPATH": str(Path(mwaconvert.__file__).resolve().parents[1]),
        "TMPDIR": str(folder),
    }
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_campaign_keeps_what_it_did_and_goes_on(tmp_path):
    first = attack(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    kept = json.loads((tmp_path / "attack.json").read_text())
    assert [run["attack"] for run in kept["runs"]] == ["pairs", "full", "terms", "kills"]
    assert "| SIGKILL | 1 |" in first.stdout

    again = attack(tmp_path, "--terms", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    kinds = [run["attack"] for run in json.loads((tmp_path / "attack.json").read_text())["runs"]]
    assert sorted(kinds) == ["full", "kills", "pairs", "terms", "terms"]
    assert "| SIGTERM, SIGHUP, SIGINT | 2 |" in again.stdout

    other = attack(tmp_path, "--seed", "2")
    assert other.returncode == 1
    assert "of another --seed" in other.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["attack.json"]
