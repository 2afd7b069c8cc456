"""A plan is made once: what is described, tried dry and run is the same, whatever the machine does meanwhile."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner

import mwaconvert
from mwaconvert import machine
from mwaconvert.cli.main import main
from mwaconvert.conversion.pipeline import find_flags
from mwaconvert.conversion.rfi import detection, images
from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.simulate import simulate


@pytest.fixture
def legacy(tmp_path):
    """Legacy files, of which it depends on the memory how they are read."""
    return simulate(
        tmp_path / "raw", "legacy-128", fine_khz=40, duration_s=8, coarse_channels=1, noise_jy=3
    ).metafits


@pytest.fixture
def memory(monkeypatch):
    """Free memory that is another whenever somebody looks: much and little by turns."""
    asked = []
    sizes = itertools.cycle((64 << 30, 40 << 20))

    def free():
        asked.append(next(sizes))
        return asked[-1]

    monkeypatch.setattr(machine, "free_bytes", free)
    return asked


def decisions(plan):
    return dataclasses.asdict(plan.resources), plan.detection.describe(), plan.detection.peak_bytes


def test_memory_decides(legacy, memory):
    """Or else the tests below would show nothing: two plans in a row differ."""
    observation = mwaconvert.open(legacy)
    much, little = observation.plan(threads=1), observation.plan(threads=1)
    assert memory == [64 << 30, 40 << 20]
    assert much.detection.spill_bytes == 0 < little.detection.spill_bytes


@pytest.mark.parametrize("turn", [0, 1])
def test_run_does_what_was_described(legacy, memory, monkeypatch, tmp_path, turn):
    observation = mwaconvert.open(legacy)
    plans = [observation.plan(threads=1) for _ in range(2)]
    plan, looked = plans[turn], len(memory)
    before, described = decisions(plan), plan.describe([tmp_path / "a.uvfits"])
    carried_out = []
    detect, for_plan = detection.detect_rfi, FlagMask.for_plan.__func__

    def spied(plan, detection_plan, mask, progress):
        carried_out.append(detection_plan)
        return detect(plan, detection_plan, mask, progress)

    monkeypatch.setattr("mwaconvert.conversion.pipeline.detect_rfi", spied)
    monkeypatch.setattr(
        FlagMask,
        "for_plan",
        classmethod(lambda cls, plan: carried_out.append(plan.resources) or for_plan(cls, plan)),
    )
    kinds = []
    for kind in (images.LegacyImages, images.KeptImages):
        prepare = kind.prepare
        monkeypatch.setattr(
            kind,
            "prepare",
            lambda self, progress, prepare=prepare: kinds.append(type(self)) or prepare(self, progress),
        )
    report = plan.run(tmp_path / "a.uvfits")
    assert carried_out == [plan.resources, plan.detection]
    assert kinds == [images.LegacyImages if turn == 0 else images.KeptImages]
    assert report.performance.threads == 1
    assert plan.describe([tmp_path / "a.uvfits"]) == described
    assert decisions(plan) == before
    assert len(memory) == looked, "the machine was measured again"


def test_both_ways_find_the_same(legacy, memory):
    observation = mwaconvert.open(legacy)
    much, little = (find_flags(observation.plan(threads=1), lambda _: None).mask.bits for _ in range(2))
    assert len(memory) == 2
    assert much.any()
    np.testing.assert_array_equal(much, little)


def test_dry_run_and_run_of_one_command_measure_once(legacy, memory, tmp_path):
    """Each command makes one plan and looks once."""
    words = [
        str(legacy),
        "-o",
        str(tmp_path / "a.uvfits"),
        "--threads",
        "1",
        "--report",
        str(tmp_path / "a.json"),
    ]
    for more in (["--dry-run"], []):
        looked = len(memory)
        result = CliRunner().invoke(main, [*words, *more, "--overwrite", "-q"])
        assert result.exit_code == 0, result.output
        assert len(memory) == looked + 1
    assert json.loads((tmp_path / "a.json").read_text())["format"] == "mwaconvert report"
