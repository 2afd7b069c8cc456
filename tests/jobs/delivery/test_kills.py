"""Packing and delivering, killed at any moment: what has its name is whole, and the next run ends as if nothing was."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mwaconvert.jobs.delivery.package import check_package
from mwaconvert.jobs.delivery.places import Folder, file_sha256

WORKER = """
import sys
from pathlib import Path
from mwaconvert.jobs.delivery.package import check_package, write_package
from mwaconvert.jobs.delivery.places import Folder

top = Path(sys.argv[1])
contents = {path.name: path for path in (top / "raw").iterdir()}
print("ready", flush=True)
for job_id in range(int(sys.argv[2])):
    attempt = top / "work"
    attempt.mkdir(exist_ok=True)
    made = write_package(attempt / f"1110103576_{job_id}_vis.tar", contents, {"job_id": job_id})
    check_package(made.path)
    folder = Folder(top / "products")
    folder.deliver(made.path, made.path.name, made.sha256)
    folder.deliver_tree(top / "raw", str(job_id))
    made.path.unlink()
"""
N_KILLS = 8


def whole(products: Path, raw: Path) -> list[str]:
    """Names of products, all of them checked."""
    names = []
    for path in products.iterdir() if products.is_dir() else ():
        if path.name.startswith("."):
            continue  # left by a killed delivery
        if path.is_dir():
            assert sorted(p.name for p in path.iterdir()) == sorted(p.name for p in raw.iterdir())
            assert all(file_sha256(p) == file_sha256(raw / p.name) for p in path.iterdir())
        else:
            check_package(path)
        names.append(path.name)
    return sorted(names)


def test_killed_at_any_moment(tmp_path):
    raw, products = tmp_path / "raw", tmp_path / "products"
    raw.mkdir()
    (raw / "1110103576.metafits").write_bytes(os.urandom(3000))
    for k in range(3):
        (raw / f"1110103576_20150310000000_gpubox{k:02d}_00.fits").write_bytes(os.urandom(2_000_000))
    moments = random.Random(12)
    for _ in range(N_KILLS):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, tmp_path, "1000"], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.3))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        whole(products, raw)
    before = set(whole(products, raw))
    subprocess.run(
        [sys.executable, "-c", WORKER, tmp_path, "3"], check=True, stdout=subprocess.DEVNULL, timeout=60
    )
    expected = {f"1110103576_{job_id}_vis.tar" for job_id in range(3)} | {"0", "1", "2"}
    assert set(whole(products, raw)) == before | expected
    Folder(products).sweep(older_than_s=-1)
    assert set(whole(products, raw)) == {path.name for path in products.iterdir()}
