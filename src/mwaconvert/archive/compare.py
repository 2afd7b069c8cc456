"""Two measurement sets compared column by column: shapes, keywords, flags, weights, data within tolerances.

Both are read once, side by side, in pieces of bounded memory. Equal pieces are told by their bits; only pieces that
differ are looked at number by number. Rows of another order, as several processes write them, are matched by time,
antennas, window, field and feed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError
from mwaconvert.extras import need
from mwaconvert.progress import Progress, Stage

Array = npt.NDArray[Any]

#: columns that tell which row is which
_KEYS = (
    "DATA_DESC_ID",
    "TIME",
    "ANTENNA1",
    "ANTENNA2",
    "FEED1",
    "FEED2",
    "FIELD_ID",
    "SCAN_NUMBER",
    "ARRAY_ID",
)
#: tables that record how a set was made: told, not counted
RECORDS = ("HISTORY",)
_PIECE = 2 << 20  # bytes of a column read at once, of the size of caches; four pieces are held and used again
_FIXED_SHAPE = 4  # among casacore's options of a column
_ROWS_OF_SHAPES = 1 << 16  # rows whose shapes are asked for at once
_LONG_RUN = 16  # rows of one shape in a row that are read by themselves, else all rows of one shape together
#: bytes of a value, by casacore's name of its type; text is guessed
_BYTES = {"boolean": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "int64": 8, "float": 4} | {
    "double": 8,
    "complex": 8,
    "dcomplex": 16,
}


class DifferenceKind(Enum):
    """What differs."""

    TABLE = "table"
    ROWS = "rows"
    COLUMN = "column"
    TYPE = "type"
    SHAPE = "shape"
    KEYWORDS = "keywords"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: where, of what kind, in words.

    Of values: `n_different` of `n_values`, `n_unflagged` of them in data neither set flags, the largest absolute
    difference, and that relative to the larger value.
    """

    where: str
    kind: DifferenceKind
    words: str
    n_different: int = 0
    n_unflagged: int = 0
    n_values: int = 0
    largest: float = 0.0
    largest_relative: float = 0.0

    def __str__(self) -> str:
        return f"{self.where}: {self.words}"


@dataclass(frozen=True)
class Comparison:
    """What two measurement sets differ in. `notes` are worth knowing and no difference."""

    first: Path
    second: Path
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    n_tables: int
    n_columns: int
    n_rows: int
    n_bytes: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs beyond the tolerances."""
        return not self.differences

    def __repr__(self) -> str:
        return f"Comparison({len(self.differences)} differences in {self.n_columns} columns)"

    def to_text(self) -> str:
        """A line for each difference and note, and one for what was compared."""
        total = f"{self.n_columns} columns of {self.n_tables} tables, {self.n_rows} rows, {self.n_bytes / 1e6:.1f} MB"
        verdict = "equal" if self.equal else f"{len(self.differences)} differences"
        return "\n".join(
            [*map(str, self.differences), *(f"note: {n}" for n in self.notes), f"{verdict}: {total}"]
        )


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Numbers a and b are equal if |a - b| <= absolute + relative * max(|a|, |b|); NaN equals NaN."""

    absolute: float = 0.0
    relative: float = 0.0
    ignore_flagged: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.absolute < np.inf and 0 <= self.relative < 1):
            raise InputError(
                f"tolerances {self.absolute:g} and {self.relative:g}; expected 0 or more, relative below 1"
            )


@dataclass
class _Tally:
    """What is known so far."""

    tolerance: Tolerance
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_columns: int = 0
    n_bytes: int = 0


def compare_measurement_sets(
    first: Path,
    second: Path,
    *,
    tolerance: Tolerance | None = None,
    columns: Sequence[str] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Compare two measurement sets, all tables and columns.

    Parameters
    ----------
    tolerance : of floating-point and complex columns; exact by default
    columns : of the main table to compare; all by default
    progress : called with the columns of the main table done and to do

    Raises
    ------
    FormatError
        A set that cannot be read.
    InputError
        A column to compare that neither has.

    Examples
    --------
    >>> compare_measurement_sets(Path("restored.ms"), Path("delivered.ms")).equal  # doctest: +SKIP
    True
    """
    tally = _Tally(tolerance or Tolerance())
    a, b = _Table(first), _Table(second)
    missing = set(columns) - set(a.columns) - set(b.columns)
    if missing:
        raise InputError(f"{first}: neither set has a column {', '.join(sorted(missing))}")
    with ThreadPoolExecutor(2) as pool:
        _compare_tables(_Pair("MAIN", a, b, pool), tally, columns, progress)
        shared = sorted(a.subtables & b.subtables)
        for name in sorted(a.subtables ^ b.subtables):
            owner = first if name in a.subtables else second
            tally.differences.append(Difference(name, DifferenceKind.TABLE, f"only {owner} has this table"))
        for name in shared:
            before = len(tally.differences)
            _compare_tables(_Pair(name, _Table(first, name), _Table(second, name), pool), tally)
            if name in RECORDS and len(tally.differences) > before:
                tally.notes.append(f"{name} differs, as records of processing do; it is not counted")
                del tally.differences[before:]
    return Comparison(
        first,
        second,
        tuple(tally.differences),
        tuple(tally.notes),
        n_tables=1 + len(shared),
        n_columns=tally.n_columns,
        n_rows=a.n_rows,
        n_bytes=tally.n_bytes,
    )


class _Table:
    """A table of a measurement set, open to read."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path, self.name = path, name
        tables = need("arcae.lib.arrow_tables", "archive", f"{path}: reading a measurement set")
        self._arrow = need("pyarrow", "archive", f"{path}: reading a measurement set")
        if not (path / "table.dat").is_file():
            raise FormatError(f"{path}: is not a measurement set; expected a folder with a file table.dat")
        try:
            self._table = tables.Table.from_filename(f"{path}::{name}" if name else str(path), readonly=True)
            self.columns: list[str] = list(self._table.columns())
            self.n_rows = int(self._table.nrow())
            keywords = self._table.getkeywords()
        except self._arrow.ArrowException as error:
            raise FormatError(f"{path}: {name or 'the main table'} cannot be read: {error}") from None
        links = {k for k, v in keywords.items() if isinstance(v, str) and v.startswith("Table: ")}
        self.subtables = {k for k in links if (path / k / "table.dat").is_file()}
        self.keywords = {k: v for k, v in keywords.items() if k not in links}

    def description(self, column: str) -> dict[str, Any]:
        """Type and dimensions of a column; how it is stored does not count."""
        found = self._table.getcoldesc(column)
        return {key: found.get(key) for key in ("valueType", "ndim")}

    def column_keywords(self, column: str) -> dict[str, Any]:
        return dict(self._table.getcolkeywords(column))

    def fixed_shape(self, column: str) -> tuple[int, ...] | None:
        """The shape all rows of a column must have by its description; None if each has its own."""
        found = self._table.getcoldesc(column)
        if found.get("ndim") is None:
            return ()
        is_fixed = bool(int(found.get("option", 0)) & _FIXED_SHAPE)
        return tuple(int(n) for n in found["shape"]) if is_fixed and found.get("shape") is not None else None

    def shapes(self, column: str, rows: Array) -> tuple[Array, Array]:
        """Which rows are written, and their shapes, (written rows, dimensions); -1 where a row has fewer."""
        try:
            found = self._table.row_shapes(column, (rows,))
        except self._arrow.ArrowException:
            return self._shapes_one_by_one(column, rows)
        valid = np.asarray(found.is_valid().to_numpy(zero_copy_only=False), bool)
        n_valid = int(valid.sum())
        flat = np.asarray(found.drop_null().flatten())
        return valid, flat.reshape(n_valid, -1) if n_valid else np.empty((0, 0), np.int64)

    def _shapes_one_by_one(self, column: str, rows: Array) -> tuple[Array, Array]:
        """The same where rows differ in their number of dimensions or are not written, which arcae refuses."""
        shapes: list[list[int] | None] = []
        for row in rows:
            try:
                shapes += self._table.row_shapes(column, (np.array([row]),)).to_pylist()
            except self._arrow.ArrowException:
                shapes.append(None)
        valid = np.array([shape is not None for shape in shapes], bool)
        written = [shape for shape in shapes if shape is not None]
        n_dim = max(map(len, written), default=0)
        return valid, np.array([s + [-1] * (n_dim - len(s)) for s in written], np.int64).reshape(
            len(written), n_dim
        )

    def read(self, column: str, rows: Array, into: Array | None = None) -> Array:
        """Rows of a column that have one shape."""
        return np.asarray(self._table.getcol(column, index=(rows,), result=into))

    def try_read(self, column: str, rows: Array, into: Array | None = None) -> Array | str:
        """Rows of a column, or in words why they cannot be read: rows that were never written."""
        try:
            return self.read(column, rows, into)
        except (self._arrow.ArrowException, TypeError) as error:
            return str(error)


@dataclass
class _Pair:
    """One table of both sets, and the rows of the second that belong to those of the first."""

    name: str
    a: _Table
    b: _Table
    pool: ThreadPoolExecutor
    order: Array | None = None
    same: frozenset[str] = frozenset()  # columns found equal while rows were matched


def _compare_tables(
    pair: _Pair,
    tally: _Tally,
    columns: Sequence[str] = (),
    progress: Progress | None = None,
) -> None:
    a, b = pair.a, pair.b
    if not _same(a.keywords, b.keywords):
        words = ", ".join(
            sorted(k for k in a.keywords | b.keywords if not _same(a.keywords.get(k), b.keywords.get(k)))
        )
        tally.differences.append(Difference(pair.name, DifferenceKind.KEYWORDS, f"keywords differ: {words}"))
    wanted = list(columns) or sorted(set(a.columns) | set(b.columns))
    for column in wanted:
        if column not in a.columns or column not in b.columns:
            owner = a.path if column in a.columns else b.path
            words = f"only {owner} has this column"
            tally.differences.append(Difference(f"{pair.name}.{column}", DifferenceKind.COLUMN, words))
    if a.n_rows != b.n_rows:
        words = f"{a.n_rows} rows against {b.n_rows}; values are not compared"
        tally.differences.append(Difference(pair.name, DifferenceKind.ROWS, words))
        return
    shared = [column for column in wanted if column in a.columns and column in b.columns]
    if not _match_rows(pair, tally):
        return
    for done, column in enumerate(shared):
        if progress is not None:
            progress(Stage.COMPARING, done, len(shared))
        _compare_columns(pair, column, tally)
    if progress is not None:
        progress(Stage.COMPARING, len(shared), len(shared))


def _match_rows(pair: _Pair, tally: _Tally) -> bool:
    """Find which row of the second set belongs to each of the first; False, and a difference, if there is none."""
    keys = [key for key in _KEYS if key in pair.a.columns and key in pair.b.columns]
    if "ANTENNA1" not in keys or pair.a.n_rows == 0:
        return True
    rows = np.arange(pair.a.n_rows)
    reads = [
        (pair.pool.submit(pair.a.read, key, rows), pair.pool.submit(pair.b.read, key, rows)) for key in keys
    ]
    first, second = [one.result() for one, _ in reads], [two.result() for _, two in reads]
    if all(np.array_equal(x, y) for x, y in zip(first, second, strict=True)):
        pair.same = frozenset(keys)
        tally.n_bytes += sum(x.nbytes + y.nbytes for x, y in zip(first, second, strict=True))
        return True
    order_a, order_b = np.lexsort(first[::-1]), np.lexsort(second[::-1])
    for key, x, y in zip(keys, first, second, strict=True):
        n_different = int((x[order_a] != y[order_b]).sum())
        if n_different:
            words = f"{n_different} rows have no partner in the other set; values are not compared"
            tally.differences.append(Difference(f"{pair.name}.{key}", DifferenceKind.ROWS, words))
            return False
    pair.order = np.empty_like(order_b)
    pair.order[order_a] = order_b
    tally.notes.append(f"{pair.name}: rows are in another order; they were matched by {', '.join(keys)}")
    return True


def _compare_columns(pair: _Pair, column: str, tally: _Tally) -> None:
    where = f"{pair.name}.{column}"
    tally.n_columns += 1
    one, two = pair.a.description(column), pair.b.description(column)
    if one != two:
        words = f"{_type_words(one)} against {_type_words(two)}"
        tally.differences.append(Difference(where, DifferenceKind.TYPE, words))
        return
    keys_a, keys_b = pair.a.column_keywords(column), pair.b.column_keywords(column)
    if not _same(keys_a, keys_b):
        words = ", ".join(sorted(k for k in keys_a | keys_b if not _same(keys_a.get(k), keys_b.get(k))))
        tally.differences.append(Difference(where, DifferenceKind.KEYWORDS, f"keywords differ: {words}"))
    if pair.a.n_rows and column not in pair.same:
        _Values(pair, column, tally).compare()


def _type_words(description: dict[str, Any]) -> str:
    ndim = description["ndim"]
    return f"{description['valueType']} " + ("scalars" if ndim is None else f"of {ndim} dimensions")


def _same(a: object, b: object) -> bool:
    """Whether keywords are equal; they nest."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return np.array_equal(np.asarray(a, object), np.asarray(b, object))


@dataclass(frozen=True)
class _Piece:
    """Rows of one shape: of the first set and of the second."""

    rows_a: Array
    rows_b: Array
    shape: tuple[int, ...]


class _Reader:
    """Reads pieces of one column of one set into memory that is used again: fresh memory costs more than reading.

    The shape must be that of the rows: arcae cuts rows short, without a word, to the memory it is given.
    """

    def __init__(self, table: _Table, column: str) -> None:
        self._table, self._column = table, column
        self._held: dict[tuple[int, ...], Array] = {}

    def read(self, rows: Array, shape: tuple[int, ...]) -> Array | str:
        """Rows, or in words why they cannot be read; what was read before of this shape is gone."""
        held = self._held.get(shape)
        if held is not None and len(held) >= len(rows):
            return self._table.try_read(self._column, rows, held[: len(rows)])
        found = self._table.try_read(self._column, rows)
        if not isinstance(found, str) and found.dtype != object and found.shape[1:] == shape:
            self._held[shape] = found
        return found

    def give_up(self, shape: tuple[int, ...]) -> None:
        """Leave what was read of a shape to whoever has it."""
        self._held.pop(shape, None)


@dataclass
class _Checked:
    """What a batch of pieces had: counts, and the pieces whose bits differ, as they were read."""

    n_values: int = 0
    n_bytes: int = 0
    unequal: list[tuple[_Piece, Array | str, Array | str]] = field(default_factory=list)


class _Values:
    """The values of one column of both sets, piece by piece."""

    def __init__(self, pair: _Pair, column: str, tally: _Tally) -> None:
        self._pair, self._column, self._tally = pair, column, tally
        self._where = f"{pair.name}.{column}"
        self._value_bytes = _BYTES.get(str(pair.a.description(column)["valueType"]), 64)
        self._spare: list[tuple[_Reader, _Reader]] = []
        self._n_different = self._n_unflagged = self._n_values = 0
        self._largest = self._relative = 0.0

    def compare(self) -> None:
        """Compare all rows; differences go to the tally."""
        self._run()
        if self._n_different:
            of = f"{self._n_different} of {self._n_values} values differ"
            flagged = self._n_different - self._n_unflagged
            extent = (
                f", by up to {self._largest:.3g} ({self._relative:.3g} relative)" if self._largest else ""
            )
            words = of + (f", {flagged} of them flagged" if flagged else "") + extent
            self._tally.differences.append(
                Difference(
                    self._where,
                    DifferenceKind.VALUES,
                    words,
                    self._n_different,
                    self._n_unflagged,
                    self._n_values,
                    self._largest,
                    self._relative,
                )
            )

    def _run(self) -> None:
        """Batches are read and compared by two threads; what differs is looked at here, in the order of rows."""
        waiting: deque[Future[_Checked]] = deque()
        for batch in self._batches():
            waiting.append(self._pair.pool.submit(self._check, batch))
            if len(waiting) > 2:
                self._take(waiting.popleft().result())
        while waiting:
            self._take(waiting.popleft().result())

    def _batches(self) -> Iterator[list[_Piece]]:
        """Pieces of together about the bytes of one: handing over costs as much as reading a small one."""
        batch: list[_Piece] = []
        room = 0
        for piece in self._pieces():
            batch.append(piece)
            room += len(piece.rows_a) * self._row_bytes(piece.shape)
            if 2 * room > _PIECE:
                yield batch
                batch, room = [], 0
        if batch:
            yield batch

    def _check(self, batch: list[_Piece]) -> _Checked:
        """Read pieces of both sets and compare their bits; runs in a thread."""
        try:
            first, second = self._spare.pop()
        except IndexError:
            first, second = (_Reader(table, self._column) for table in (self._pair.a, self._pair.b))
        found = _Checked()
        for piece in batch:
            a, b = first.read(piece.rows_a, piece.shape), second.read(piece.rows_b, piece.shape)
            if isinstance(a, str) or isinstance(b, str) or a.shape != b.shape or not _equal_bits(a, b):
                found.unequal.append((piece, a, b))
                first.give_up(piece.shape)
                second.give_up(piece.shape)
            else:
                found.n_values += a.size
                found.n_bytes += a.nbytes + b.nbytes
        self._spare.append((first, second))
        return found

    def _take(self, checked: _Checked) -> None:
        self._n_values += checked.n_values
        self._tally.n_bytes += checked.n_bytes
        for piece, a, b in checked.unequal:
            self._judge(piece, a, b)

    def _pieces(self) -> Iterator[_Piece]:
        """Rows of one shape at a time, each piece of about the same number of bytes."""
        pair, column = self._pair, self._column
        shape_a, shape_b = pair.a.fixed_shape(column), pair.b.fixed_shape(column)
        rows = np.arange(pair.a.n_rows)
        other = rows if pair.order is None else pair.order
        if shape_a is not None and shape_b is not None:
            yield from self._split(rows, other, shape_a)
            return
        for first in range(0, pair.a.n_rows, _ROWS_OF_SHAPES):
            part = slice(first, first + _ROWS_OF_SHAPES)
            yield from self._of_one_shape(rows[part], other[part])

    def _row_bytes(self, shape: tuple[int, ...]) -> int:
        return self._value_bytes * int(np.prod(np.maximum(shape, 1), dtype=np.int64))

    def _split(self, rows: Array, other: Array, shape: tuple[int, ...]) -> Iterator[_Piece]:
        step = max(1, _PIECE // self._row_bytes(shape))
        for start in range(0, len(rows), step):
            yield _Piece(rows[start : start + step], other[start : start + step], shape)

    def _of_one_shape(self, rows: Array, other: Array) -> Iterator[_Piece]:
        column = self._column
        one = self._pair.pool.submit(self._pair.a.shapes, column, rows)
        two = self._pair.pool.submit(self._pair.b.shapes, column, other)
        (valid_a, shapes_a), (valid_b, shapes_b) = one.result(), two.result()
        if not np.array_equal(valid_a, valid_b):
            n_rows = int((valid_a != valid_b).sum())
            self._shape_difference(f"{n_rows} rows are written in one set only")
            return
        if shapes_a.shape != shapes_b.shape or not np.array_equal(shapes_a, shapes_b):
            bad = int(np.flatnonzero((shapes_a != shapes_b).any(axis=1))[0])
            self._shape_difference(
                f"row {rows[valid_a][bad]} has the shape {shapes_a[bad].tolist()} against {shapes_b[bad].tolist()}"
            )
            return
        rows, other = rows[valid_a], other[valid_b]
        if len(rows) and (shapes_a == shapes_a[:1]).all():
            yield from self._split(rows, other, tuple(shapes_a[0].tolist()))
        elif len(rows):
            starts = np.flatnonzero((shapes_a[1:] != shapes_a[:-1]).any(axis=1)) + 1
            if len(rows) >= _LONG_RUN * len(starts):
                parts = np.split(np.arange(len(rows)), starts)
            else:
                _, group = np.unique(shapes_a, axis=0, return_inverse=True)
                parts = [np.flatnonzero(group.reshape(-1) == n) for n in range(int(group.max()) + 1)]
            for part in parts:
                yield from self._split(rows[part], other[part], tuple(shapes_a[part[0]].tolist()))

    def _shape_difference(self, words: str) -> None:
        """Told once for a column."""
        last = self._tally.differences[-1] if self._tally.differences else None
        if last is None or (last.where, last.kind) != (self._where, DifferenceKind.SHAPE):
            self._tally.differences.append(Difference(self._where, DifferenceKind.SHAPE, words))

    def _judge(self, piece: _Piece, a: Array | str, b: Array | str) -> None:
        if isinstance(a, str) or isinstance(b, str):
            self._unreadable(a, b)
            return
        self._tally.n_bytes += a.nbytes + b.nbytes
        self._n_values += a.size
        if a.shape != b.shape:
            self._shape_difference(f"{list(a.shape[1:])} against {list(b.shape[1:])}")
            return
        if _equal_bits(a, b):
            return
        differs, size, relative = _different(a, b, self._tally.tolerance)
        if not differs.any():
            return
        flagged = self._flagged(piece, a.shape)
        unflagged = differs if flagged is None else differs & ~flagged
        counted = unflagged if self._tally.tolerance.ignore_flagged else differs
        self._n_different += int(counted.sum())
        self._n_unflagged += int(unflagged.sum())
        if counted.any() and size is not None:
            self._largest = max(self._largest, float(np.max(size, where=counted, initial=0.0)))
            self._relative = max(self._relative, float(np.max(relative, where=counted, initial=0.0)))

    def _unreadable(self, a: Array | str, b: Array | str) -> None:
        """Rows never written in both sets are equal; in one of them, a difference."""
        if isinstance(a, str) and isinstance(b, str):
            note = f"{self._where}: rows not written in either set"
            if note not in self._tally.notes:
                self._tally.notes.append(note)
            return
        bad, words = (self._pair.a, a) if isinstance(a, str) else (self._pair.b, b)
        self._shape_difference(f"rows of {bad.path} cannot be read: {words}")

    def _flagged(self, piece: _Piece, shape: tuple[int, ...]) -> Array | None:
        """Where both sets flag the data, for columns of the shape of the flags; None for others."""
        pair = self._pair
        if (
            self._column in ("FLAG", "FLAG_ROW")
            or "FLAG" not in pair.a.columns
            or "FLAG" not in pair.b.columns
        ):
            return None
        one, two = pair.a.try_read("FLAG", piece.rows_a), pair.b.try_read("FLAG", piece.rows_b)
        if isinstance(one, str) or isinstance(two, str):
            return None
        return (one != 0) & (two != 0) if one.shape == two.shape == shape else None


def _equal_bits(a: Array, b: Array) -> bool:
    """Whether two arrays hold the same bits, by the widest words that fit."""
    if a.dtype != b.dtype:
        return False
    if a.dtype == object:
        return bool(np.array_equal(a, b))
    flat_a, flat_b = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    whole = flat_a.size // 8 * 8
    words = np.array_equal(flat_a[:whole].view(np.uint64), flat_b[:whole].view(np.uint64))
    return words and np.array_equal(flat_a[whole:], flat_b[whole:])


def _different(a: Array, b: Array, tolerance: Tolerance) -> tuple[Array, Array | None, Array | float]:
    """Where two arrays differ; for numbers also by how much, absolutely and relative to the larger value."""
    if a.dtype.kind not in "fc":
        differs = np.asarray(a != b, bool)
        if a.dtype.kind in "iu" and a.dtype != np.uint8:
            size = np.abs(a.astype(np.float64) - b.astype(np.float64))
            larger = np.maximum(np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))
            return differs, size, np.divide(size, larger, out=np.zeros_like(size), where=larger > 0)
        return differs, None, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(a - b)
        larger = np.maximum(np.abs(a), np.abs(b))
        close = (
            (a == b)
            | (size <= tolerance.absolute + tolerance.relative * larger)
            | (np.isnan(a) & np.isnan(b))
        )
    size = np.where(np.isfinite(size), size, np.inf)
    relative = np.divide(size, larger, out=np.zeros_like(size), where=(larger > 0) & np.isfinite(larger))
    return ~close, size, relative
