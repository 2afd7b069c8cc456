"""Convert with Birli: `run_birli.py METAFITS OUTPUT FILES... [-- BIRLI OPTIONS]` prints seconds and peak memory.

Birli is $BIRLI, or the one on the path, or in ~/.cargo/bin. RFI detection is off.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import not_installed, report, run


def command(
    metafits: str | Path, output: str | Path, files: Sequence[str | Path], options: Sequence[str] = ()
) -> list[str]:
    """Command line of a conversion; ends the program if there is no Birli."""
    birli = os.environ.get("BIRLI") or shutil.which("birli") or shutil.which(Path.home() / ".cargo/bin/birli")
    if birli is None:
        not_installed("Birli: apt install aoflagger-dev libcfitsio-dev && cargo install birli, or set BIRLI")
    # built without AOFlagger, it has neither RFI detection nor the option
    usage = subprocess.run([birli, "--help"], capture_output=True, text=True, check=True).stdout
    no_rfi = ["--no-rfi"] if "--no-rfi" in usage else []
    kind = "-M" if str(output).endswith(".ms") else "-u"
    words = [birli, "-m", metafits, "--no-draw-progress", *no_rfi, kind, output, *options, "--", *files]
    return [str(word) for word in words]


def main() -> None:
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    metafits, output, *files = words[:end]
    report(run(command(metafits, output, files, words[end + 1 :])))


if __name__ == "__main__":
    main()
