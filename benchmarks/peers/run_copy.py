"""Plain copies: `run_copy.py cat FILES...` reads files into /dev/null, `run_copy.py cp FROM TO` copies a file or
directory. Prints seconds and peak memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measure import report, run


def main() -> None:
    program, *paths = sys.argv[1:]
    if program == "cat":
        # the shell's redirection, as measure.run catches the output
        report(run(["sh", "-c", 'cat "$@" > /dev/null', "cat", *paths]))
    else:
        report(run(["cp", "-r", *paths]))


if __name__ == "__main__":
    main()
