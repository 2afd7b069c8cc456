"""What `import mwaconvert` shows: all public names, loaded at first use, without services or heavy packages."""

import doctest
import inspect
import shutil
import subprocess
import sys
from dataclasses import fields
from importlib import metadata
from typing import get_type_hints

import pytest

import mwaconvert
from mwaconvert import api
from mwaconvert.conversion.options import OptionValues
from mwaconvert.quantities import Direction, Measured


def test_all_public_names_are_listed_and_there():
    assert set(mwaconvert.__all__) <= set(dir(mwaconvert))
    for name in dir(mwaconvert):
        assert getattr(mwaconvert, name) is not None
    assert mwaconvert.asvo.__name__ == "mwaconvert.clients.asvo"


def test_the_version_is_that_of_the_distribution():
    if mwaconvert.__version__ == "0+checkout":
        pytest.skip("this is a checkout that was not installed")
    assert mwaconvert.__version__ == metadata.version("mwaconvert")


def test_the_module_is_the_command(small):
    """python -m mwaconvert, for who knows the interpreter but not its folder of programs."""
    words = [sys.executable, "-m", "mwaconvert"]
    told = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["mwaconvert,", "version", mwaconvert.__version__]
    failed = subprocess.run([*words, "nothing.metafits"], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert "nothing.metafits" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_import_loads_no_service_and_nothing_heavy():
    code = (
        "import sys, mwaconvert, mwaconvert.cli.main, mwaconvert.cli.convert\n"
        "heavy = {'numpy', 'astropy', 'dbos', 'sqlalchemy', 'fastapi', 'uvicorn', 'obstore', 'alembic', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_option_is_spelled_in_the_signatures():
    names = [field.name for field in fields(mwaconvert.Options)]
    given, held = get_type_hints(OptionValues), get_type_hints(mwaconvert.Options)
    with_units = {name for name in given if given[name] != held[name]}
    assert with_units == {name for name in held if name.endswith(("_s", "_khz", "_deg", "_gib"))}
    assert all(given[name] in (held[name] | Measured, held[name] | Direction) for name in with_units)
    for function in (mwaconvert.convert, mwaconvert.Observation.plan):
        shown = inspect.signature(function).parameters
        assert [name for name in shown if name in names] == names
        assert all(shown[field.name].default == field.default for field in fields(mwaconvert.Options))
        assert "options" not in shown


def test_objects_say_what_they_are_in_a_line(small, tmp_path):
    observation = mwaconvert.open(small)
    plan = observation.plan(rfi="none")
    report = plan.run([tmp_path / "a.uvfits"])
    for shown in (observation, plan, report):
        assert len(repr(shown)) < 200
        assert "\n" not in repr(shown)
        assert shown._repr_html_().startswith("<")
    assert repr(observation) == (
        "Observation(1412607288, mwax, 8 tiles, 2 coarse channels, 4 timesteps of 2 s)"
    )


def test_examples(small, tmp_path, monkeypatch):
    shutil.copytree(small.parent, tmp_path / "here")
    shutil.copy(small, tmp_path / "here" / "obs.metafits")
    monkeypatch.chdir(tmp_path / "here")
    found = doctest.testmod(api, extraglobs={"mwaconvert": mwaconvert})
    assert found.attempted >= 3
    assert found.failed == 0
