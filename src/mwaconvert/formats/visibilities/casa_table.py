"""CASA tables: the only module that calls arcae."""

from __future__ import annotations

import errno
import importlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import ResourceError

#: below this, a failed write is reported as a full disk (casacore does not hand on the reason)
_FULL_BYTES = 16 << 20
#: what C++ calls instead of ending the process is one for all threads
_SURVIVING = threading.Lock()
#: handlers in which a thread sleeps
_ASLEEP: list[Any] = []

T = TypeVar("T")


def require_arcae(target: Path) -> None:
    """Raise ResourceError if arcae cannot be imported."""
    try:
        importlib.import_module("arcae")
    except ImportError as error:
        raise ResourceError(
            f"{target}: measurement sets need the package arcae, which cannot be imported ({error}); "
            "install it (pip install arcae) or write a .uvfits file instead"
        ) from error


def column(
    value_type: str,
    shape: Sequence[int] = (),
    units: Sequence[str] = (),
    measure: Mapping[str, str] | None = None,
    stman: str = "StandardStMan",
    group: str = "StandardStMan",
    ndim: int | None = None,
) -> dict[str, Any]:
    """Describe a column.

    Parameters
    ----------
    value_type : casacore's name: int, double, float, complex, boolean, string
    shape : of each cell, slowest axis first; a scalar without it
    units, measure : the keywords QuantumUnits (of one measure) and MEASINFO
    stman, group : type and name of the storage manager
    ndim : of cells of which each has its own shape
    """
    description: dict[str, Any] = {
        "valueType": value_type,
        "dataManagerType": stman,
        "dataManagerGroup": group,
        "keywords": {},
    }
    if ndim is not None:
        description |= {"ndim": ndim, "option": 0, "_c_order": True}
    elif shape:
        description |= {"ndim": len(shape), "shape": list(shape), "option": 5, "_c_order": True}
    if units:
        description["keywords"]["QuantumUnits"] = list(units)
    if measure:
        description["keywords"]["MEASINFO"] = dict(measure)
    return description


def standard_columns(table: str) -> dict[str, Any]:
    """Describe the required columns of a table of a measurement set (MAIN: the main table)."""
    from arcae.lib.arrow_tables import ms_descriptor

    description: dict[str, Any] = ms_descriptor(table, complete=False)
    return description


class CasaTable:
    """A table open for writing.

    Parameters
    ----------
    path : its directory
    target : the name that messages show

    Raises
    ------
    ResourceError : it cannot be opened or, in any method, written
    """

    def __init__(self, path: Path, target: Path) -> None:
        from arcae.lib.arrow_tables import Table

        self.target = target
        self._link = _AsciiLink(path)
        self.path = self._link.path
        with refusals(target):
            self._table = Table.from_filename(str(self.path), readonly=False)

    def add_columns(self, columns: Mapping[str, Any], managers: Mapping[str, Any] | None = None) -> None:
        with refusals(self.target):
            self._table.addcols(dict(columns), dict(managers or {}))

    def add_rows(self, n: int) -> None:
        with refusals(self.target):
            self._table.addrows(n)

    def put(self, name: str, values: npt.NDArray[Any] | Sequence[Any], first_row: int = 0) -> None:
        """Put values, one for each row from `first_row` on, into a column."""
        values = np.asarray(values)
        rows = np.arange(first_row, first_row + len(values))
        with refusals(self.target):
            self._table.putcol(name, values, index=(rows,))

    def put_keywords(self, keywords: Mapping[str, Any]) -> None:
        with refusals(self.target):
            self._table.putkeywords(dict(keywords))

    def put_column_keywords(self, name: str, keywords: Mapping[str, Any]) -> None:
        with refusals(self.target):
            self._table.putcolkeywords(name, dict(keywords))

    def close(self) -> None:
        try:
            with refusals(self.target):
                _survive(self._table.close)
        finally:
            self._link.remove()


class _AsciiLink:
    """A way to a directory in plain characters: arcae hands names of sub-tables to casacore as JSON, whose
    escapes casacore does not know. In the finished table these names are relative."""

    def __init__(self, folder: Path) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None
        self.path = folder
        if not str(folder).isascii():
            self._made = tempfile.TemporaryDirectory(prefix="mwaconvert-")
            self.path = Path(self._made.name) / "table"
            self.path.symlink_to(folder.absolute())

    def remove(self) -> None:
        if self._made is not None:
            self._made.cleanup()


def create_measurement_set(
    path: Path, target: Path, columns: Mapping[str, Any], managers: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Create an empty measurement set with the required sub-tables; numbers of its storage managers by name.

    Parameters
    ----------
    path : its directory
    target : the name that messages show
    columns : of the main table, by name
    managers : storage managers: NAME, TYPE, SPEC, COLUMNS
    """
    from arcae.lib.arrow_tables import Table

    info = {f"*{i}": dict(manager) for i, manager in enumerate(managers)}
    link = _AsciiLink(path)
    try:
        with refusals(target):
            name = str(link.path)
            table = _survive(lambda: Table.ms_from_descriptor(name, "MAIN", dict(columns), info))
            numbers = {manager["NAME"]: manager["SEQNR"] for manager in table.getdminfo().values()}
            _survive(table.close)
    finally:
        link.remove()
    return numbers


def create_subtable(main: CasaTable, name: str, columns: Mapping[str, Any]) -> None:
    """Create an empty table inside the measurement set and link it by a keyword."""
    from arcae.lib.arrow_tables import Table

    path = main.path / name
    with refusals(main.target):
        _survive(lambda: Table.from_descriptor(str(path), table_desc=dict(columns)).close())
    main.put_keywords({name: f"Table: {path}"})


def _survive(call: Callable[[], T]) -> T:
    """Call what may make casacore end the whole process.

    On a full disk its tables throw in their destructors, which C++ answers with std::terminate, in a thread of
    arcae. There that thread is put to sleep for good, its table stays in memory, and the call fails here.

    Raises
    ------
    OSError : it was about to end the process
    """
    ended = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the thread that asked
            errors.append(error)
        ended.set()

    def fall_asleep() -> None:
        errors.append(OSError(errno.EIO, "casacore could not flush its table"))
        ended.set()
        threading.Event().wait()

    thread = threading.Thread(target=run, daemon=True)
    with _SURVIVING, _on_terminate(fall_asleep) as handler:
        thread.start()
        try:
            ended.wait()
        finally:  # an interrupt waits for the end, too
            ended.wait()
            if not results:
                _ASLEEP.append(handler)
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _on_terminate(function: Callable[[], None]) -> Iterator[object]:
    """Let C++ call a function instead of ending the process; nothing where its library cannot be reached."""
    import ctypes

    handler = ctypes.CFUNCTYPE(None)(function)
    try:
        set_handler = ctypes.CDLL("libstdc++.so.6")._ZSt13set_terminatePFvvE
    except (OSError, AttributeError):
        yield handler
        return
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    before = set_handler(ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield handler
    finally:
        set_handler(before)


@contextmanager
def refusals(target: Path) -> Iterator[None]:
    """Turn what arcae, the operating system and kernels that write raise into ResourceError of the target."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ResourceError) as error:
        free = shutil.disk_usage(target.parent).free
        if free < _FULL_BYTES:
            raise ResourceError(
                f"{target}: no space left on its disk ({free / 2**20:.1f} MB are free in {target.parent}); "
                "make room or choose another directory"
            ) from error
        raise ResourceError(f"{target}: the measurement set could not be written: {error}") from error
