"""Measurement sets compared column by column; sets are written by casacore, which nobody here wrote."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mwaconvert.archive import compare
from mwaconvert.archive.compare import Comparison, DifferenceKind, Tolerance, compare_measurement_sets
from mwaconvert.errors import FormatError, InputError

tables = pytest.importorskip("casacore.tables")

N_ROWS = 60


def make(path: Path) -> Path:
    """Two windows of 4 and 8 channels, rows in turn, with a model and undefined cells."""
    description = tables.required_ms_desc()
    description.update(
        tables.maketabdesc(
            [
                tables.makearrcoldesc("DATA", 0j, ndim=2, valuetype="complex"),
                tables.makearrcoldesc("CORRECTED_DATA", 0j, ndim=2, valuetype="complex"),
                tables.makearrcoldesc("WEIGHT_SPECTRUM", 0.0, ndim=2, valuetype="float"),
            ]
        )
    )
    random = np.random.default_rng(5)
    with tables.default_ms(str(path), description) as ms:
        ms.addrows(N_ROWS)
        ms.putcol("TIME", 5e9 + np.arange(N_ROWS) // 6 * 10.0)
        ms.putcol("ANTENNA1", np.tile([0, 0, 0, 0, 1, 1], N_ROWS // 6))
        ms.putcol("ANTENNA2", np.tile([1, 1, 2, 2, 2, 2], N_ROWS // 6))
        ms.putcol("DATA_DESC_ID", np.arange(N_ROWS) % 2)
        ms.putcol("UVW", random.normal(size=(N_ROWS, 3)))
        for name in ("WEIGHT", "SIGMA"):
            ms.putcol(name, random.random((N_ROWS, 2)).astype(np.float32))
        for row in range(N_ROWS):
            shape = (4 + 4 * (row % 2), 2)
            value = (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)
            ms.putcell("DATA", row, value)
            ms.putcell("CORRECTED_DATA", row, value * 2)
            ms.putcell("FLAG", row, random.random(shape) < 0.2)
            if row != 7:
                ms.putcell("WEIGHT_SPECTRUM", row, np.ones(shape, np.float32))
    with tables.table(f"{path}::ANTENNA", readonly=False, ack=False) as antennas:
        antennas.addrows(3)
        antennas.putcol("NAME", ["ea01", "ea02", "ea03"])
        antennas.putcol("POSITION", random.normal(size=(3, 3)))
        antennas.putcol("OFFSET", np.zeros((3, 3)))
    with tables.table(f"{path}::FIELD", readonly=False, ack=False) as fields:
        fields.addrows(1)  # its directions stay unwritten
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("ms") / "a.ms")


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "b.ms"))


def main(path: Path, table: str = "") -> tables.table:
    return tables.table(f"{path}::{table}" if table else str(path), readonly=False, ack=False)


def kinds(found: Comparison) -> list[tuple[str, DifferenceKind]]:
    return [(difference.where, difference.kind) for difference in found.differences]


def test_a_copy_is_equal(original: Path, copy: Path) -> None:
    found = compare_measurement_sets(original, copy)
    assert found.equal
    assert (found.n_rows, found.n_tables) == (N_ROWS, 13)
    assert re.fullmatch(
        r"equal: \d+ columns of 13 tables, 60 rows, [\d.]+ MB", found.to_text().splitlines()[-1]
    )
    assert compare_measurement_sets(original, original).equal


@pytest.mark.parametrize("long_run", [1, 16])
@pytest.mark.parametrize("piece", [1, 200, 1000, 1 << 20])
def test_pieces_of_any_size_give_the_same(
    original: Path, copy: Path, piece: int, long_run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_LONG_RUN", long_run)
    monkeypatch.setattr(compare, "_ROWS_OF_SHAPES", 7 if piece < 1000 else 1 << 16)
    with main(copy) as ms:
        ms.putcell("DATA", 31, ms.getcell("DATA", 31) + 3)
    monkeypatch.setattr(compare, "_PIECE", piece)
    found = compare_measurement_sets(original, copy)
    assert kinds(found) == [("MAIN.DATA", DifferenceKind.VALUES)]
    assert (found.differences[0].n_different, found.differences[0].n_values) == (16, 720)
    assert found.differences[0].largest == pytest.approx(3, rel=1e-5)


def test_differences_equal_those_of_a_slow_twin(original: Path, copy: Path) -> None:
    random = np.random.default_rng(1)
    rows = [3, 8, 59]
    with main(copy) as ms:
        for row in rows:
            value = ms.getcell("CORRECTED_DATA", row)
            ms.putcell("CORRECTED_DATA", row, value * (1 + 1e-3 * random.random(value.shape)))
    n_different = n_unflagged = 0
    largest = relative = 0.0
    with main(original) as a, main(copy) as b:
        for row in range(N_ROWS):
            x, y = a.getcell("CORRECTED_DATA", row), b.getcell("CORRECTED_DATA", row)
            flags = a.getcell("FLAG", row)
            for index in np.ndindex(x.shape):
                if x[index] != y[index]:
                    n_different += 1
                    n_unflagged += not flags[index]
                    largest = max(largest, abs(x[index] - y[index]))
                    relative = max(relative, abs(x[index] - y[index]) / max(abs(x[index]), abs(y[index])))
    (found,) = compare_measurement_sets(original, copy).differences
    assert (found.n_different, found.n_unflagged) == (n_different, n_unflagged)
    assert found.largest == pytest.approx(largest)
    assert found.largest_relative == pytest.approx(relative)
    assert f"{n_different - n_unflagged} of them flagged" in str(found)


def test_tolerances(original: Path, copy: Path) -> None:
    with main(copy) as ms:
        value = ms.getcell("DATA", 2)
        ms.putcell("DATA", 2, value * (1 + 1e-5))
    assert not compare_measurement_sets(original, copy, tolerance=Tolerance(relative=1e-6)).equal
    assert compare_measurement_sets(original, copy, tolerance=Tolerance(relative=2e-5)).equal
    assert compare_measurement_sets(original, copy, tolerance=Tolerance(absolute=1e-3)).equal
    for wrong in ({"absolute": -1.0}, {"relative": 1.0}, {"absolute": float("nan")}):
        with pytest.raises(InputError, match="expected 0 or more"):
            Tolerance(**wrong)


def test_what_both_sets_flag_may_differ_if_asked(original: Path, copy: Path) -> None:
    with main(copy) as ms:
        value, flags = ms.getcell("DATA", 4), ms.getcell("FLAG", 4)
        value[flags] += 1
        ms.putcell("DATA", 4, value)
    (found,) = compare_measurement_sets(original, copy).differences
    assert (found.n_different, found.n_unflagged) == (int(flags.sum()), 0)
    assert compare_measurement_sets(original, copy, tolerance=Tolerance(ignore_flagged=True)).equal


def test_nan_and_infinity(original: Path, copy: Path, tmp_path: Path) -> None:
    with main(copy) as ms:
        value = ms.getcell("DATA", 0)
        value[0, 0], value[1, 0] = np.nan, np.inf
        ms.putcell("DATA", 0, value)
    same = Path(shutil.copytree(copy, tmp_path / "c.ms"))
    with main(same) as ms:
        value = ms.getcell("DATA", 0)
        value.view(np.uint32)[0, 0] ^= 1  # another NaN
        ms.putcell("DATA", 0, value)
    assert compare_measurement_sets(copy, same).equal
    (found,) = compare_measurement_sets(original, copy, tolerance=Tolerance(absolute=1e30)).differences
    assert found.n_different == 2
    assert found.largest == np.inf


@pytest.mark.parametrize(
    ("table", "column", "row", "value"),
    [
        ("", "FLAG_ROW", 5, True),
        ("", "UVW", 5, np.zeros(3)),
        ("", "WEIGHT", 5, np.zeros(2, np.float32)),
        ("", "EXPOSURE", 5, 1.5),
        ("ANTENNA", "NAME", 1, "ea28"),
        ("ANTENNA", "POSITION", 1, np.ones(3)),
    ],
)
def test_a_value_of_any_type(
    original: Path, copy: Path, table: str, column: str, row: int, value: object
) -> None:
    with main(copy, table) as opened:
        opened.putcell(column, row, value)
    found = compare_measurement_sets(original, copy)
    assert kinds(found) == [(f"{table or 'MAIN'}.{column}", DifferenceKind.VALUES)]


def test_flags_that_differ_are_not_excused_by_being_flags(original: Path, copy: Path) -> None:
    with main(copy) as ms:
        flags = ms.getcell("FLAG", 1)
        ms.putcell("FLAG", 1, ~flags)
    (found,) = compare_measurement_sets(original, copy, tolerance=Tolerance(ignore_flagged=True)).differences
    assert (found.where, found.n_different) == ("MAIN.FLAG", 16)


def test_shapes_and_cells_that_were_never_written(
    original: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_PIECE", 300)
    with main(copy) as ms:
        ms.putcell("DATA", 3, np.zeros((5, 2), np.complex64))
        ms.putcell("WEIGHT_SPECTRUM", 7, np.ones((8, 2), np.float32))
    found = compare_measurement_sets(original, copy)
    assert kinds(found) == [
        ("MAIN.DATA", DifferenceKind.SHAPE),
        ("MAIN.WEIGHT_SPECTRUM", DifferenceKind.SHAPE),
    ]
    assert "row 3 has the shape [8, 2] against [5, 2]" in found.to_text()
    assert "1 rows are written in one set only" in found.to_text()


def test_every_channel_is_compared_where_a_longer_row_follows_many_short_ones(
    original: Path, tmp_path: Path
) -> None:
    one, two = (Path(shutil.copytree(original, tmp_path / name)) for name in ("a.ms", "b.ms"))
    for path in (one, two):
        with main(path) as ms:
            ms.addrows(3000)
            for row in range(N_ROWS, N_ROWS + 3000):
                n_chan = 8 if row > N_ROWS + 1500 else 4
                ms.putcell("DATA", row, np.ones((n_chan, 2), np.complex64))
    with main(two) as ms:
        value = np.ones((8, 2), np.complex64)
        value[7, 1] = 2
        ms.putcell("DATA", N_ROWS + 2999, value)
    (found,) = compare_measurement_sets(one, two, columns=["DATA"]).differences
    assert found.n_different == 1


def test_columns_tables_and_keywords(original: Path, copy: Path) -> None:
    with main(copy) as ms:
        ms.removecols("CORRECTED_DATA")
        ms.putkeyword("ORIGIN", "here")
        ms.putcolkeyword("UVW", "QuantumUnits", ["km", "km", "km"])
        extra = tables.makearrcoldesc("MODEL_DATA", 0j, ndim=2, valuetype="complex")
        ms.addcols(tables.maketabdesc([extra]))
        ms.removekeyword("STATE")
    found = compare_measurement_sets(original, copy)
    assert sorted(kinds(found), key=str) == sorted(
        [
            ("MAIN", DifferenceKind.KEYWORDS),
            ("MAIN.CORRECTED_DATA", DifferenceKind.COLUMN),
            ("MAIN.MODEL_DATA", DifferenceKind.COLUMN),
            ("MAIN.UVW", DifferenceKind.KEYWORDS),
            ("STATE", DifferenceKind.TABLE),
        ],
        key=str,
    )
    assert "keywords differ: ORIGIN" in found.to_text()


def test_another_type(original: Path, copy: Path) -> None:
    with main(copy) as ms:
        ms.removecols("DATA")
        ms.addcols(tables.maketabdesc([tables.makearrcoldesc("DATA", 0j, ndim=2, valuetype="dcomplex")]))
    (found,) = compare_measurement_sets(original, copy).differences
    assert found.kind is DifferenceKind.TYPE
    assert str(found) == "MAIN.DATA: complex of 2 dimensions against dcomplex of 2 dimensions"


def test_rows_in_another_order_are_matched(original: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "b.ms"
    order = np.random.default_rng(2).permutation(N_ROWS)
    with main(original) as ms:
        ms.selectrows(order).copy(str(shuffled), deep=True).close()
    found = compare_measurement_sets(original, shuffled)
    assert found.equal
    assert "rows are in another order" in found.notes[0]
    with main(shuffled) as ms:
        ms.putcell("DATA", 10, ms.getcell("DATA", 10) * 2)
    assert kinds(compare_measurement_sets(original, shuffled)) == [("MAIN.DATA", DifferenceKind.VALUES)]


def test_rows_without_a_partner(original: Path, copy: Path) -> None:
    with main(copy) as ms:
        ms.putcell("TIME", 5, 1.0)
    (found,) = compare_measurement_sets(original, copy).differences
    assert (found.where, found.kind) == ("MAIN.TIME", DifferenceKind.ROWS)
    with main(copy) as ms:
        ms.removerows([0])
    (found,) = compare_measurement_sets(original, copy).differences
    assert "60 rows against 59" in str(found)


def test_the_history_is_told_and_not_counted(original: Path, copy: Path) -> None:
    with main(copy, "HISTORY") as history:
        history.addrows(1)
    found = compare_measurement_sets(original, copy)
    assert found.equal
    assert found.notes == ("HISTORY differs, as records of processing do; it is not counted",)


def test_some_columns_alone(original: Path, copy: Path) -> None:
    with main(copy) as ms:
        ms.putcell("UVW", 0, np.zeros(3))
    calls: list[tuple[int, int]] = []
    found = compare_measurement_sets(
        original, copy, columns=["DATA", "FLAG"], progress=lambda _, n, of: calls.append((n, of))
    )
    assert found.equal
    assert calls == [(0, 2), (1, 2), (2, 2)]
    with pytest.raises(InputError, match="neither set has a column CORRECTED"):
        compare_measurement_sets(original, copy, columns=["CORRECTED"])


def test_what_is_no_measurement_set(original: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is not a measurement set"):
        compare_measurement_sets(original, tmp_path)
    broken = Path(shutil.copytree(original, tmp_path / "b.ms"))
    (broken / "table.dat").write_bytes(b"x" * 100)
    with pytest.raises(FormatError, match="cannot be read"):
        compare_measurement_sets(original, broken)
