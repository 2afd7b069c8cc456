"""Without RFI detection memory does not grow with the length of the observation: below 4 integrations and 300 MB."""

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, sys
import mwaconvert
metafits, last, *outputs = sys.argv[1:]
plan = mwaconvert.open(metafits).plan(threads=2, sel_time=(0, int(last)), rfi="none", overwrite=True)
performance = plan.run(outputs).performance
print(json.dumps({"peak": performance.peak_memory_bytes, "read": performance.bytes_read}))
"""


def measure(sim, n_times, *outputs):
    command = [sys.executable, "-c", MEASURE, str(sim.metafits), str(n_times - 1), *map(str, outputs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "kind", [{"like": "legacy-128"}, {"like": "legacy-128", "compress": True}, {"like": "mwax-128"}], ids=str
)
def test_peak_memory(simulated, tmp_path, kind):
    sim = simulated(**kind, fine_khz=40.0, duration_s=24.0)
    integration = 128 * 129 // 2 * 32 * 32
    short, long = (measure(sim, n, tmp_path / "a.uvfits", tmp_path / "a.ms") for n in (3, 12))
    assert long["read"] - short["read"] == 9 * integration  # 76 MB
    assert abs(long["peak"] - short["peak"]) < 4e6
    assert long["peak"] < 4 * integration + 300e6
