"""RFI detection of whole conversions: what it is given, what becomes of it, and how well it does."""

import json

import numpy as np
import pytest
from conversion_twin import Choices, convert_slowly
from conversions import read_with_mwalib

import mwaconvert
from mwaconvert import machine
from mwaconvert.conversion import resources
from mwaconvert.conversion.pipeline import find_flags, stream_blocks
from mwaconvert.conversion.rfi import detection, images
from mwaconvert.conversion.rfi.strategy import RfiStrategy, flag_baselines
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.observation.legacy import product_table
from mwaconvert.observation.rawfiles import KIND_RICE
from mwaconvert.progress import Stage

KINDS = {
    "mwax": {
        "like": "mwax-128",
        "n_tiles": 6,
        "fine_khz": 80.0,
        "duration_s": 60.0,
        "coarse_channels": (120, 121, 123),
        "missing": ("ch=1,t=3", "ch=2,t=8"),
        "flagged_tiles": (4,),
        "rfi_fraction": 0.03,
        "noise_jy": 3.0,
        "quack_s": 4.0,
    },
    "legacy": {
        "like": "legacy-128",
        "fine_khz": 80.0,
        "duration_s": 16.0,
        "coarse_channels": (109, 110, 130),
        "missing": ("ch=1,t=2",),
        "rfi_fraction": 0.03,
        "noise_jy": 3.0,
    },
}
KINDS["compressed"] = KINDS["legacy"] | {"compress": True}  # fmt: skip


#: of the 128 that legacy data have
SOME_TILES = tuple(range(0, 128, 4))


@pytest.fixture(params=KINDS)
def noisy(request, simulated):
    """Noise and interference, integrations missing, two contiguous ranges."""
    return simulated(**KINDS[request.param])


def found_by(sim, **options):
    """What is found, (n_times, n_rows, n_chan), and the plan."""
    if sim.instrument.correlator == "legacy":
        options = {"sel_ants": SOME_TILES} | options
    plan = mwaconvert.open(sim.metafits).plan(**options)
    found = find_flags(plan, lambda _: None)
    parts = [found.mask.unpacked(slice(None), c) for c in range(len(plan.coarse))]
    cells = np.concatenate(parts, axis=2)
    assert found.rfi_cells == cells.sum()
    return cells, plan


def twin(sim, plan, rows):
    """The same from what mwalib reads and the definition of the corrections, baseline by baseline."""
    raw = read_with_mwalib(sim.metafits)
    choices = Choices(times=plan.timesteps, coarse=plan.coarse, antennas=plan.options.sel_ants)
    vis = convert_slowly(raw, sim.metafits, choices).vis.astype(np.complex64)
    there = np.repeat(raw.there[plan.timesteps][:, plan.coarse], plan.metadata.n_fine, axis=1)
    vis[~np.broadcast_to(there[:, None], vis.shape[:3])] = 0
    missing = ~there | plan.flags.times[:, None] | (plan.flags.channels != 0)
    cells = np.zeros(vis.shape[:3], bool)
    for window in plan.header.spectral_windows:
        some = window.channels
        part = np.ascontiguousarray(vis[:, rows][:, :, some].transpose(1, 0, 2, 3))
        flags = flag_baselines(part, np.ascontiguousarray(missing[:, some]), RfiStrategy())
        cells[:, rows, some] = (flags & ~missing[:, some]).transpose(1, 0, 2)
    return cells


def test_cells_found(noisy):
    cells, plan = found_by(noisy)
    a, b = plan.header.antenna1, plan.header.antenna2
    dead = plan.header.antenna_flagged
    looked_at = np.flatnonzero((a != b) & ~dead[a] & ~dead[b])[:200]
    expected = twin(noisy, plan, looked_at)
    assert np.mean(cells[:, looked_at] != expected[:, looked_at]) < 1e-5  # rounding of the corrections
    assert expected.any()
    assert not cells[:, (a == b) | dead[a] | dead[b]].any()
    assert len(plan.header.spectral_windows) == 2


def test_everything_on_request(simulated):
    sim = simulated(**KINDS["mwax"])
    cells, plan = found_by(sim, rfi_all_baselines=True)
    some, _ = found_by(sim)
    a, b = plan.header.antenna1, plan.header.antenna2
    dead = plan.header.antenna_flagged
    usual = (a != b) & ~dead[a] & ~dead[b]
    np.testing.assert_array_equal(cells[:, usual], some[:, usual])
    assert cells[:, a == b].any()
    assert cells[:, dead[a]].any()


@pytest.mark.parametrize(
    "way", ["one thread", "three threads", "little memory", "small pieces", "few files", "kept"]
)
def test_ways_to_hold_the_data_change_no_bit(noisy, way, monkeypatch):
    expected, _ = found_by(noisy)
    options = {"one thread": {"threads": 1}, "three threads": {"threads": 3}}.get(way, {})
    if way == "little memory":
        options = {"max_memory_gib": 0.26}
    if way == "small pieces":
        monkeypatch.setattr(detection, "worker_bytes", lambda *_: 0)
        monkeypatch.setattr(resources, "memory_room", lambda *_: 2 << 20)
        monkeypatch.setattr(detection, "BLOCK_BYTES", 0)
        monkeypatch.setattr(detection, "BLOCK_ROWS", 1)
        monkeypatch.setattr(images, "READ_BYTES", 1 << 16)
        options = {"threads": 1}
    if way == "few files":
        monkeypatch.setattr(images, "MOST_FILES", 1)
    if way == "kept":
        monkeypatch.setattr(images.LegacyImages, "suits", lambda *_: False)
    cells, plan = found_by(noisy, **options)
    if way == "small pieces":
        assert plan.detection.spill_in_file == (plan.observation.hdus["kind"] == KIND_RICE).any()
        assert plan.detection.rows_at_once < len(plan.detection.rows)
    np.testing.assert_array_equal(cells, expected)


def test_flags_in_a_file(noisy, monkeypatch):
    expected, _ = found_by(noisy)
    monkeypatch.setattr(resources, "mask_in_file", lambda *_: True)
    np.testing.assert_array_equal(found_by(noisy)[0], expected)


def test_what_the_mask_holds_already_has_no_say(simulated):
    sim = simulated(**KINDS["mwax"])
    plan = mwaconvert.open(sim.metafits).plan()
    first = find_flags(plan, lambda _: None).mask
    before = np.unpackbits(first.bits).sum(dtype=int)
    again = detection.detect_rfi(plan, plan.detection, first, lambda _: None)
    assert again == np.unpackbits(first.bits).sum(dtype=int) == before


def test_conversion_without_the_cells_found(simulated):
    sim = simulated(**KINDS["mwax"])
    cells, plan = found_by(sim, time_factor=4, freq_factor=2)
    choices = Choices(
        times=plan.timesteps, coarse=plan.coarse, time_factor=4, freq_factor=2, mask=cells, flagged_antennas=(4,),
        flagged_times=np.flatnonzero(plan.flags.times) + plan.timesteps.start, flagged_fine=(0, 15),
    )  # fmt: skip
    expected = convert_slowly(read_with_mwalib(sim.metafits), sim.metafits, choices)
    for block in stream_blocks(plan):
        there = np.s_[block.time_index, block.rows]
        np.testing.assert_array_equal(block.flags, np.signbit(expected.weight[there]))
        assert (abs(block.vis - expected.vis[there]) <= 3e-6 * expected.scale[there]).all()


def test_strong_interference_is_found_and_noise_is_not(simulated):
    quiet = {"like": "mwax-128", "n_tiles": 8, "fine_khz": 40.0, "duration_s": 112.0, "coarse_channels": 4}
    sim = simulated(**quiet, noise_jy=3.0, rfi_fraction=0.01)
    cells, plan = found_by(sim)
    truth = np.load(sim.rfi_mask)["mask"].reshape(cells.shape[0], 1, -1)
    crosses = plan.header.antenna1 != plan.header.antenna2
    clear = plan.flags.channels == 0
    found = cells[:, crosses][:, :, clear]
    there = np.broadcast_to(truth[..., clear], found.shape)
    assert found[there].mean() > 0.999
    assert found[~there].mean() < 0.01
    noise, _ = found_by(simulated(**quiet, noise_jy=3.0))
    assert noise[:, crosses][:, :, clear].mean() < 0.01


def test_aoflagger_finds_the_same(noisy):
    pytest.importorskip("aoflagger", reason="optional: pip install mwaconvert[aoflagger]")
    options = {"sel_ants": tuple(range(10))} if noisy.instrument.correlator == "legacy" else {}
    ours, _ = found_by(noisy, **options)
    theirs, plan = found_by(noisy, rfi="aoflagger", threads=2, **options)
    assert theirs.any()
    assert np.mean(ours == theirs) >= 0.999
    assert "with its strategy for the MWA" in next(s.reason for s in plan.steps if s.name == "RFI detection")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_aoflagger_leaves_out_what_is_not_finite(simulated, monkeypatch, value):
    """A few such cells cost no good ones, as in the built-in detection."""
    pytest.importorskip("aoflagger", reason="optional: pip install mwaconvert[aoflagger]")
    sim = simulated(**KINDS["mwax"])
    read = images.MwaxImages.read

    def spoiled(self, rows, band):
        block = np.array(read(self, rows, band))
        block[:, 0, 10::40, 5::7] = value  # amplitude of XX, or its real part
        return block

    monkeypatch.setattr(images.MwaxImages, "read", spoiled)
    ours, _ = found_by(sim)
    theirs, _ = found_by(sim, rfi="aoflagger", threads=2)
    assert ours.any()
    assert np.mean(ours == theirs) >= 0.999
    assert not theirs[10::40, :, 5:16:7].any()


def test_aoflagger_strategy_that_fails(simulated, tmp_path):
    pytest.importorskip("aoflagger", reason="optional: pip install mwaconvert[aoflagger]")
    lua = tmp_path / "bad.lua"
    lua.write_text("function execute(input)\n  input:no_such_step()\nend\n")
    with pytest.raises(InputError, match=rf"AOFlagger could not use {lua}: .*no_such_step"):
        found_by(simulated(**KINDS["mwax"]), rfi="aoflagger", rfi_strategy=str(lua))


def test_aoflagger_is_not_installed(simulated, monkeypatch):
    monkeypatch.setattr("mwaconvert.conversion.rfi.aoflagger.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"not installed; pip install mwaconvert\[aoflagger\]"):
        mwaconvert.open(simulated(**KINDS["mwax"]).metafits).plan(rfi="aoflagger")


def test_strategies(simulated, tmp_path):
    sim = simulated(**KINDS["mwax"])
    usual, _ = found_by(sim)
    strategy = tmp_path / "careful.toml"
    strategy.write_text("sensitivity = 0.5\n")
    careful, plan = found_by(sim, rfi_strategy=str(strategy))
    assert careful.sum() < usual.sum()
    reason = next(step.reason for step in plan.steps if step.name == "RFI detection")
    assert "strategy careful, sensitivity 0.5" in reason
    eager, _ = found_by(sim, rfi_sensitivity=2.0)
    assert eager.sum() > usual.sum()
    np.testing.assert_array_equal(found_by(sim, rfi_sensitivity=0.5)[0], careful)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rfi": "off"}, "`rfi` is 'off'; expected builtin, aoflagger or none"),
        ({"rfi": "none", "rfi_sensitivity": 2.0}, "`rfi_sensitivity` was given, but RFI is not looked for"),
        ({"rfi": "aoflagger", "rfi_sensitivity": 2.0}, "setting of the built-in detection"),
        ({"rfi_strategy": "x.lua"}, "x.lua: Lua strategies are AOFlagger's; add `rfi=aoflagger`"),
        ({"rfi_strategy": "none.toml"}, r"none\.toml: no such RFI strategy"),
        ({"rfi": "aoflagger", "rfi_strategy": "x.toml"}, "x.toml: AOFlagger wants a Lua strategy"),
        ({"rfi": "aoflagger", "rfi_strategy": "none.lua"}, "none.lua: no such RFI strategy"),
        ({"rfi_sensitivity": 0.0}, "`rfi_sensitivity` is 0.0, but must be above 0"),
    ],
)
def test_options_that_do_not_suit(mwax, options, message):
    if options.get("rfi") == "aoflagger":
        pytest.importorskip("aoflagger", reason="optional: pip install mwaconvert[aoflagger]")
    with pytest.raises(InputError, match=message):
        mwaconvert.open(mwax.metafits).plan(**options)


def test_too_little_memory(simulated, monkeypatch):
    monkeypatch.setattr(resources, "memory_room", lambda *_: 1 << 20)
    monkeypatch.setattr(resources, "mask_in_file", lambda *_: False)
    observation = mwaconvert.open(simulated(**KINDS["legacy"]).metafits)
    with pytest.raises(
        InputError, match=r"too little: RFI detection needs at least 0\.2\d GiB here .*`rfi=none`"
    ):
        observation.plan(threads=1)


def test_no_room_for_the_temporary_file(simulated, monkeypatch):
    sim = simulated(**KINDS["compressed"])
    monkeypatch.setattr(resources, "memory_room", lambda *_: 2 << 20)
    monkeypatch.setattr(detection, "worker_bytes", lambda *_: 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(
        ResourceError, match=r"GiB are needed for a temporary file of amplitudes, .* set TMPDIR"
    ):
        found_by(sim)


def test_files_larger_than_memory_are_read_once(simulated, monkeypatch):
    raw = mwaconvert.open(simulated(**KINDS["legacy"]).metafits)
    assert raw.plan().detection.spill_bytes == 0
    n_bytes = raw.plan().input_bytes()
    monkeypatch.setattr(machine, "free_bytes", lambda: n_bytes)
    assert raw.plan().detection.spill_bytes > 0


def test_blocks_of_legacy_files_end_where_groups_of_products_do(simulated):
    """So that what a block needs of a channel is one piece of the file."""
    plan = mwaconvert.open(simulated(**KINDS["legacy"]).metafits).plan()
    rows, blocks = images.LegacyImages.blocks(plan.metadata, plan.rows.in_file, plan.detection.rows, 700)
    np.testing.assert_array_equal(np.sort(rows), np.sort(plan.detection.rows))
    product, _ = product_table(plan.metadata)
    before = 0
    for block in blocks:
        assert (np.diff(rows[block]) > 0).all()
        assert len(rows[block]) <= 700
        here = product[plan.rows.in_file[rows[block]]]
        assert here.min() >= before
        before = here.max() + 1
    assert len(blocks) < 20


def test_progress_covers_both_passes(simulated, tmp_path):
    seen = []
    plan = mwaconvert.open(simulated(**KINDS["mwax"]).metafits).plan()
    report = plan.run(tmp_path / "a.uvfits", progress=lambda *told: seen.append(told))
    stages = list(dict.fromkeys(stage for stage, _, _ in seen))
    assert stages == [Stage.FLAGGING, Stage.CONVERTING, Stage.FINISHING]
    assert {total for stage, _, total in seen if stage is not Stage.FINISHING} == {plan.input_bytes()}
    for stage in (Stage.FLAGGING, Stage.CONVERTING):
        done = [done for which, done, _ in seen if which is stage]
        assert done == sorted(done)
        assert done[-1] == plan.input_bytes()
    counts = {rule.name: rule.cells for rule in report.flag_counts}
    assert counts["RFI"] == find_flags(plan, lambda _: None).rfi_cells > 0


def test_dry_run_says_what_it_takes(simulated):
    plan = mwaconvert.open(simulated(**KINDS["compressed"]).metafits).plan()
    assert plan.detection.spill_bytes > 0
    facts = plan.describe(["a.uvfits"])
    json.dumps(facts)
    assert facts["rfi"] == {
        "baselines": len(plan.detection.rows),
        "baselines_at_once": plan.detection.rows_at_once,
        "spill_bytes": plan.detection.spill_bytes,
        "spill_in_file": False,
    }
    assert facts["memory_bytes"] >= plan.detection.peak_bytes
    assert mwaconvert.open(simulated(**KINDS["legacy"]).metafits).plan(rfi="none").describe()["rfi"] is None
