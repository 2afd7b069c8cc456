"""Values out of a pickle that is never run: its operations are read, and only those that make plain data are known.

What is known: numbers, text, bytes, None, lists, tuples, dictionaries, and numbers and arrays of NumPy, which are made
from bytes of the file. Nothing is imported or called, and no value is larger than the file.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

_MARK = object()
#: what a file may name; nothing of it is looked up
_NAMES = {
    ("numpy", "dtype"): "dtype",
    ("numpy", "ndarray"): "ndarray",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
}
_IGNORED = {"PROTO", "FRAME"}
_LITERALS = {
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_KINDS = "biufcSU"  # of arrays that are data
_MOST_OPERATIONS = 1 << 20


class NotPlainError(ValueError):
    """A pickle that holds more than plain data, or is damaged."""


@dataclass(frozen=True)
class _Named:
    """A function or class, by its role."""

    role: str


@dataclass
class _Array:
    """An array that gets its content later."""

    value: Any = _MARK


def read_plain(raw: bytes) -> Any:
    """The value of a pickle.

    Parameters
    ----------
    raw : the pickle

    Raises
    ------
    NotPlainError : it holds anything but plain data, or is damaged

    Examples
    --------
    >>> import pickle
    >>> read_plain(pickle.dumps({"dm": [557.5], "width": np.float64(0.25)}))
    {'dm': [557.5], 'width': 0.25}
    >>> read_plain(pickle.dumps(print))
    Traceback (most recent call last):
    mwaconvert.formats.spectra.plain_pickle.NotPlainError: builtins.print is not data
    """
    try:
        return _Machine().run(raw)
    except NotPlainError:
        raise
    except Exception as error:  # whatever a damaged pickle leads to
        raise NotPlainError(" ".join(str(error).split()) or type(error).__name__) from error


class _Machine:
    """The stack of a pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, raw: bytes) -> Any:
        for n, (operation, value, _) in enumerate(pickletools.genops(raw)):
            if n > _MOST_OPERATIONS:
                raise NotPlainError("it has too many operations")
            name = operation.name
            if name == "STOP":
                return _whole(self._stack.pop())
            if name in _LITERALS:
                self._stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}.get(name, value))
            elif name not in _IGNORED:
                self._do(name, value)
        raise NotPlainError("it has no end")

    def _do(self, name: str, value: Any) -> None:
        stack = self._stack
        match name:
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE":
                stack.append({"EMPTY_LIST": [], "EMPTY_DICT": {}, "EMPTY_TUPLE": ()}[name])
            case "LIST" | "TUPLE":
                items = self._above_mark()
                stack.append(tuple(items) if name == "TUPLE" else [_whole(item) for item in items])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._last(int(name[-1]))
            case "DICT":
                stack.append(_pairs(self._above_mark()))
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self._above_mark()
                self._target(list).extend(_whole(item) for item in items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._above_mark()
                self._target(dict).update(_pairs(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[int(value)] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[int(value)])
            case "GLOBAL":
                stack.append(_named(*str(value).split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_named(module, attribute))
            case "REDUCE":
                given, function = stack.pop(), stack.pop()
                stack.append(_made(function, given))
            case "BUILD":
                state = stack.pop()
                _fill(stack, state)
            case _:
                raise NotPlainError(f"{name} is not an operation that makes data")

    def _above_mark(self) -> list[Any]:
        at = max(k for k, item in enumerate(self._stack) if item is _MARK)
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _last(self, n: int) -> None:
        items = tuple(self._stack[-n:])
        del self._stack[-n:]
        self._stack.append(items)

    def _target(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise NotPlainError("it is damaged")
        return self._stack[-1]


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_whole(key): _whole(value) for key, value in zip(items[::2], items[1::2], strict=True)}


def _whole(value: Any) -> Any:
    """A value with all that is in its tuples."""
    value = _content(value)
    return tuple(_whole(item) for item in value) if isinstance(value, tuple) else value


def _content(value: Any) -> Any:
    """What stands for an array, as the array."""
    if value is _MARK or isinstance(value, _Named) or (isinstance(value, _Array) and value.value is _MARK):
        raise NotPlainError("it is damaged")
    return value.value if isinstance(value, _Array) else value


def _named(module: str, attribute: str) -> _Named:
    role = _NAMES.get((module, attribute))
    if role is None:
        raise NotPlainError(f"{module}.{attribute} is not data")
    return _Named(role)


def _made(function: Any, given: Any) -> Any:
    """What a call would give."""
    if not isinstance(function, _Named) or not isinstance(given, tuple):
        raise NotPlainError("it calls what is not data")
    match function.role:
        case "dtype":
            kind = np.dtype(str(given[0]))
            if kind.kind not in _KINDS + "O":
                raise NotPlainError(f"{kind} is not data")
            return kind
        case "scalar":
            return _values(given[0], given[1], ()).item()
        case "frombuffer":
            raw, kind, shape, order = given
            return _ordered(kind, raw, shape, fortran=order == "F")
        case "encode":
            return str(given[0]).encode("latin-1")
        case "bytes" if given == ():
            return b""
        case "array":
            return _Array()
    raise NotPlainError("it calls what is not data")


def _values(kind: Any, raw: Any, shape: tuple[Any, ...]) -> Any:
    """An array of bytes of the file."""
    if not isinstance(kind, np.dtype) or kind.kind not in _KINDS or not isinstance(raw, bytes | bytearray):
        raise NotPlainError("an array in it is not plain")
    return np.frombuffer(raw, kind).reshape(tuple(int(n) for n in shape))


def _ordered(kind: Any, raw: Any, shape: Any, *, fortran: bool) -> Any:
    """The same in the order of C or of Fortran."""
    if not isinstance(shape, tuple):
        raise NotPlainError("it is damaged")
    return _values(kind, raw, shape[::-1]).T if fortran else _values(kind, raw, shape)


def _fill(stack: list[Any], state: Any) -> None:
    """The state of a type of numbers, or of an array."""
    target = stack[-1]
    if isinstance(target, np.dtype):
        if target.kind != "O" and state[1] in ("<", ">", "="):
            stack[-1] = target.newbyteorder(state[1])
        return
    if not isinstance(target, _Array):
        raise NotPlainError("it sets what is not data")
    _, shape, kind, fortran, held = state
    if isinstance(kind, np.dtype) and kind.kind == "O":
        if not isinstance(held, list) or len(held) != 1 or shape not in ((), (1,)):
            raise NotPlainError("an array in it holds several objects")
        target.value = held[0]
        return
    target.value = _ordered(kind, held, shape, fortran=bool(fortran))
