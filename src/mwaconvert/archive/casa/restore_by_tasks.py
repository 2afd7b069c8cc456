"""Run by CASA's Python, of any version: python restore_by_tasks.py plan.json.

Nothing of this package is imported here. Stops at the first error and leaves an errorexit-*.txt, as a pipeline does.
"""

import json
import shutil
import sys
import tarfile
import time
import traceback
from pathlib import Path


def unpack(archive: str, folder: Path) -> None:
    """Archives were checked before: nothing in them leaves the folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(str(folder))


def restore(step: dict, flag_version: str) -> None:  # type: ignore[type-arg]
    """Copy a set, give it its last flags, apply its calibration."""
    from casatasks import applycal, flagmanager

    vis = Path(step["vis"])
    for old in (vis, vis.with_name(vis.name + ".flagversions")):
        shutil.rmtree(str(old), ignore_errors=True)
    shutil.copytree(step["source"], str(vis))
    unpack(step["tables"], vis.parent)
    unpack(step["flags"], vis.parent)
    flagmanager(vis=str(vis), mode="restore", versionname=flag_version)
    for call in step["calls"]:
        applycal(**call)


def main(path: str) -> int:
    """Restore what a plan lists; 0 if all went well."""
    plan = json.loads(Path(path).read_text())
    try:
        for step in plan["steps"]:
            restore(step, plan["flag_version"])
    except Exception:
        traceback.print_exc()
        mark = time.strftime("errorexit-%Y%m%dT%H%M%S.txt", time.gmtime())
        (Path(plan["working"]) / mark).touch()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
