"""Names of jobs by regular expression, in a time that grows with the lengths alone, whoever wrote the expression."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from typing import Any

from mwaconvert.errors import InputError
from mwaconvert.extras import need

_LONGEST = 4096
_MEMORY = 4 << 20


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name begins as an expression says.

    The released client puts a list of names into the address as Python writes it; that stands for these names.

    Raises
    ------
    InputError : the expression is none, or too large

    Examples
    --------
    >>> names = ["hello-1", "hello-2", "say-hello"]
    >>> list(filter(matcher("hello-.*"), names)), list(filter(matcher("['hello-2']"), names))
    (['hello-1', 'hello-2'], ['hello-2'])
    """
    if len(pattern) > _LONGEST:
        raise InputError(f"a regular expression of {len(pattern)} letters; {_LONGEST} are allowed")
    names = _listed(pattern)
    if names is not None:
        return names.__contains__
    return _compiled(pattern)


def _listed(pattern: str) -> frozenset[str] | None:
    if not (pattern.startswith(("['", '["')) and pattern.endswith("]")):
        return None
    try:
        names = ast.literal_eval(pattern)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return frozenset(names)
    return None


@cache
def _engine() -> tuple[Any, Any]:
    re2 = need("re2", "service", "status by regular expression")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return re2, options


def _compiled(pattern: str) -> Callable[[str], bool]:
    re2, options = _engine()
    try:
        expression = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise InputError(f"{pattern[:80]!r} is not a regular expression: {text[:200]}") from None
    return lambda name: expression.match(name) is not None
