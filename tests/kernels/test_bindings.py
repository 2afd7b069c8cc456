"""Rules of the bindings, read from the stub, which `make lint` compares with the module."""

import ast
from pathlib import Path

import pytest

import mwaconvert
from mwaconvert import _core

STUB = ast.parse((Path(mwaconvert.__file__).parent / "_core.pyi").read_text())
FUNCTIONS = [node for node in STUB.body if isinstance(node, ast.FunctionDef)]


def test_stub_is_whole():
    there = {name for name in dir(_core) if not name.startswith("_")}
    described = {node.name for node in STUB.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    described |= {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}
    assert described == there


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda node: node.name)
def test_arguments_and_words(function):
    positional, by_name = function.args.args, function.args.kwonlyargs
    names = [arg.arg for arg in positional + by_name]
    assert len(positional) <= 6
    assert not (positional and by_name)
    assert "threads" not in names[:-1]
    text = ast.get_docstring(function)
    assert text
    assert ".hpp" not in text
    assert ".cpp" not in text
