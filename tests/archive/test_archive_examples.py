"""The examples of docstrings say what they do."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import mwaconvert.archive

MODULES = [
    name
    for _, name, is_package in pkgutil.walk_packages(mwaconvert.archive.__path__, "mwaconvert.archive.")
    if not is_package
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 8
