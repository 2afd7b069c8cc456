"""Write src/mwaconvert/_core.pyi from the compiled module, or with --check tell whether it is up to date.

pybind11-stubgen reads the signatures; what it cannot know, or says at more length than readers need, is put right here:
numpy's structured arrays, fixed lengths, None as a default, plain attributes and numbers.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import subprocess
import sys
import tempfile
from inspect import cleandoc
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUB = ROOT / "src/mwaconvert/_core.pyi"
HEADER = """\
# Made by cpp/bindings/make_stubs.py (make stubs): the kernels, for type checkers and editors.
from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

"""
#: as stubgen writes them, and as the header above names them
NAMES = {
    "collections.abc.Sequence": "Sequence",
    "numpy.bool": "np.bool_",
    "numpy.dtypes.VoidDType": "np.dtype[np.void]",
    "numpy.typing.NDArray": "npt.NDArray",
    "typing.SupportsFloat | typing.SupportsIndex": "float",
    "typing.SupportsInt | typing.SupportsIndex": "int",
    "typing.overload": "overload",
}


def parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


class Plain(ast.NodeTransformer):
    """The module in the words of the header."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        name = ast.unparse(node)
        if name in NAMES:
            return parsed(NAMES[name])
        return parsed(f"np.{name.removeprefix('numpy.')}") if name.startswith("numpy.") else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        for long, short in NAMES.items():
            if "|" in long and ast.unparse(node).startswith(long):
                return parsed(short + ast.unparse(node).removeprefix(long))
        self.generic_visit(node)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        head = ast.unparse(node.value)
        if head == "npt.NDArray" and ast.unparse(node.slice) == "...":  # a C++ structure
            return parsed("npt.NDArray[np.void]")
        if head == "typing.Annotated" and isinstance(node.slice, ast.Tuple):
            items, length = node.slice.elts
            if isinstance(items, ast.Subscript) and ast.unparse(length).startswith("'FixedSize("):
                n = int(ast.unparse(length)[len("'FixedSize(") : -2])
                return parsed(f"tuple[{', '.join([ast.unparse(items.slice)] * n)}]")
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):  # a docstring
            node.value.value = cleandoc(node.value.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        plain = [*node.args.posonlyargs, *node.args.args]
        defaults = [None] * (len(plain) - len(node.args.defaults)) + node.args.defaults
        for arg, default in zip(plain + node.args.kwonlyargs, defaults + node.args.kw_defaults, strict=True):
            if arg.annotation is None:
                continue
            annotation = ast.unparse(arg.annotation)
            if annotation.startswith("list["):  # pybind11 takes any sequence
                annotation = annotation.replace("list", "Sequence", 1)
            if default is not None and ast.unparse(default) == "None" and "None" not in annotation:
                annotation += " | None"
            arg.annotation = parsed(annotation)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        settable = {
            member.name
            for member in node.body
            if isinstance(member, ast.FunctionDef)
            and any(ast.unparse(d).endswith(".setter") for d in member.decorator_list)
        }
        body: list[ast.stmt] = []
        for member in node.body:
            if not (isinstance(member, ast.FunctionDef) and member.name in settable):
                body.append(member)
            elif ast.unparse(member.decorator_list[0]) == "property" and member.returns is not None:
                body.append(ast.parse(f"{member.name}: {ast.unparse(member.returns)}").body[0])
        node.body = body
        return node


def generated() -> str:
    """The stub of the module that `import mwaconvert` finds."""
    with tempfile.TemporaryDirectory() as folder:
        stubgen = [sys.executable, "-m", "pybind11_stubgen", "mwaconvert._core", "--output-dir", folder]
        subprocess.run(
            [*stubgen, "--ignore-invalid-expressions", "mwaconvert::"], check=True, capture_output=True
        )
        module = ast.parse((Path(folder) / "mwaconvert/_core.pyi").read_text())
    not_there = "from __future__", "import ", "__all__"  # the header has the imports, the module no __all__
    parts = [ast.unparse(node) for node in Plain().visit(module).body]
    text = HEADER + "\n".join(part for part in parts[1:] if not part.startswith(not_there)) + "\n"
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"]
    return subprocess.run(command, input=text, text=True, check=True, capture_output=True, cwd=ROOT).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 where the stub is out of date"
    )
    made = generated()
    if not parser.parse_args().check:
        STUB.write_text(made)
        return 0
    there = STUB.read_text()
    if ast.dump(ast.parse(made)) == ast.dump(ast.parse(there)):
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(there.splitlines(True), made.splitlines(True), str(STUB), "the module")
    )
    print(f"{STUB.relative_to(ROOT)} is not that of the compiled module: run `make stubs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
