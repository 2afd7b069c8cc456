"""The Python of the notebooks, a module each, for type checkers: python docs/notebook_code.py FOLDER"""

import re
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).with_name("notebooks")
_CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```", re.M | re.S)


def code(notebook: Path) -> str:
    """All cells of a notebook."""
    return "\n".join(_CELL.findall(notebook.read_text(encoding="utf-8")))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in NOTEBOOKS.glob("*.md"):
        (folder / f"notebook_{notebook.stem}.py").write_text(code(notebook), encoding="utf-8")
