"""Commands that stand for Slurm's: each batch job is a process of its own, which outlives who submitted it."""

from __future__ import annotations

import sys
from pathlib import Path

_COMMANDS = """\
import json, os, pathlib, signal, subprocess, sys
HERE, name, words = pathlib.Path(__file__).parent, sys.argv[1], sys.argv[2:]
def is_up(pid):
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
def jobs():
    return [json.loads(path.read_text()) for path in sorted(HERE.glob("job*.json"))]
if name == "sbatch":
    options = dict(word.lstrip("-").partition("=")[::2] for word in words[:-1])
    number = str(100 + len(jobs()))
    with open(options["output"], "ab") as log:
        child = subprocess.Popen(["/bin/sh", words[-1]], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
    facts = {"id": number, "pid": child.pid, "name": options["job-name"], "words": words}
    (HERE / f"job{number}.json").write_text(json.dumps(facts))
    print(number)
elif name == "squeue":
    for job in jobs():
        if is_up(job["pid"]):
            print(f"{job['id']}|RUNNING|{job['name']}")
elif name == "scontrol":
    job = next(job for job in jobs() if job["id"] == words[-1])
    print("JobState=" + ("RUNNING" if is_up(job["pid"]) else "COMPLETED"))
elif name == "scancel":
    for job in jobs():
        if job["id"] == words[-1] and is_up(job["pid"]):
            os.killpg(job["pid"], signal.SIGKILL)
"""


def fake_slurm(folder: Path) -> Path:
    """Make the commands in a folder, to be put on PATH; ``job*.json`` there tell what was submitted."""
    folder.mkdir()
    (folder / "commands.py").write_text(_COMMANDS)
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/commands.py {name} "$@"\n')
        command.chmod(0o755)
    return folder
