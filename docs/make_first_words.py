"""Write what the commands print that new users typed into troubleshooting.md: python docs/make_first_words.py [--check]

The commands are run in a folder with a small simulated observation and a small filterbank.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.simulate import simulate

PAGE = Path(__file__).with_name("troubleshooting.md")
BEGIN, END = "<!-- begin: docs/make_first_words.py -->\n", "<!-- end -->\n"
OBS = "1412607288"
#: what new users typed, and what was wrong at first
COMMANDS = {
    "a verb with no words": [
        "mwaconvert convert", "mwaconvert info", "mwaconvert qa", "mwaconvert search", "mwaconvert dedisperse",
        "mwaconvert waterfall", "mwaconvert inject", "mwaconvert fil-info", "mwaconvert jobs run", "mwaconvert simulate",
    ],
    "a word that is none": [
        "mwaconvert cnovert", "mwaconvert serach burst.fil", "mwaconvert burst.fil", "mwaconvert out.ms",
        "mwaconvert fil_info burst.fil", f"mwaconvert {OBS}.metafits --version",
        f"mwaconvert {OBS} --dry-run -q", f"mwaconvert {OBS}.metafits --timeress 8",
    ],
    "values": [
        f"mwaconvert {OBS} --max-memory 512MB --no-rfi -q -o small.uvfits",
        f"mwaconvert {OBS} --phase-centre 1h -27 -q -o a.uvfits",
        f"mwaconvert {OBS} --phase-centre 12h30m,-27d30m -q -o b.uvfits",
        f"mwaconvert {OBS} --phase-centre=187.5,-27.5 -q -o c.uvfits",
        f"mwaconvert {OBS} -q -o d.MS",
        f"mwaconvert {OBS} -j 5000",
        "mwaconvert search burst.fil --dm-range 0 60 -j 5000",
    ],
    "a reader that leaves": [
        "set -o pipefail; mwaconvert --help | head -1", f"set -o pipefail; mwaconvert info {OBS} | head -1",
    ],
    "pictures of spectra": [
        "mwaconvert waterfall burst.fil -o e.png", "mwaconvert waterfall burst.fil --dm 9000 -o f.png",
        "mwaconvert waterfall burst.fil --dm auto -q -o g.png",
    ],
    "words of other programs": [
        "mwaconvert search burst.fil --lodm 0 --hidm 60 -o a.cand -q",
        "mwaconvert dedisperse burst.fil -dm 20 -q -o h.dat",
        "mwaconvert waterfall --fname burst.fil --dm 20 --figname i.png -q",
    ],
}  # fmt: skip


def prepare(folder: Path) -> None:
    """What the commands find."""
    simulate(folder, "mwax-128", n_tiles=4, duration_s=8, coarse_channels=1)
    rng = np.random.default_rng(1)
    freq_mhz = np.linspace(1200.0, 1500.0, 64)
    values = rng.normal(100, 10, (64, 4096)).astype(np.float32)
    delays = np.round(20 / 2.41e-4 * (freq_mhz**-2 - freq_mhz.max() ** -2) / 1e-3).astype(int)
    for channel, delay in enumerate(delays):
        values[channel, 2000 + delay : 2004 + delay] += 15
    with FilterbankWriter(folder / "burst.fil", freq_mhz, 1e-3, 32) as writer:
        writer.write(values)
    program = folder / "bin" / "mwaconvert"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mwaconvert "$@"\n')
    program.chmod(0o755)


def said(command: str, folder: Path) -> tuple[int, str]:
    """Exit code, and the line that matters: the last one of an error, else the first."""
    env = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    errors = [line for line in done.stderr.splitlines() if line]
    printed = [line for line in done.stdout.splitlines() if line]
    line = errors[-1] if errors else printed[0] if printed else "(nothing)"
    line = line.replace(f"{folder}/", "").replace(str(folder), ".").rstrip("─ ")
    return done.returncode, re.sub(r"(version )\S+", r"\1...", line)


def table() -> str:
    """Markdown."""
    lines = ["| typed | exit code | what it says |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        prepare(folder)
        for what, commands in COMMANDS.items():
            lines.append(f"| *{what}* | | |")
            for command in commands:
                code, line = said(command, folder)
                shown = command.replace("|", "\\|")
                lines.append(f"| `{shown}` | {code} | {line.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell whether the page is up to date")
    options = parser.parse_args()
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    made = f"{before}{BEGIN}{table()}{END}{rest.split(END, 1)[1]}"
    if options.check:
        sys.exit(0 if made == page else f"{PAGE}: is out of date; run python docs/make_first_words.py")
    PAGE.write_text(made)


if __name__ == "__main__":
    main()
