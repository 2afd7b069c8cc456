"""Names of earlier releases: they still work, with a warning, and go with the next release.

Each was one of several names for the same thing: `nchan` is `n_chan`, `nsamp` is `n_times`, `freqs` is `freq_mhz`,
`dt` is `dt_s`, `df` is `df_mhz`, `nsub` is `n_sub`, `nthreads` is `threads`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

#: old names and what took their place
RENAMED = {
    "nchan": "n_chan",
    "nsamp": "n_times",
    "freqs": "freq_mhz",
    "dt": "dt_s",
    "df": "df_mhz",
    "nsub": "n_sub",
    "nthreads": "threads",
}

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Class = TypeVar("_Class", bound=type)


def old_keywords(*names: str) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Let a function take keywords by their old names too.

    Parameters
    ----------
    names : of `RENAMED`

    Examples
    --------
    >>> @old_keywords("nthreads")
    ... def work(threads: int = 0) -> int:
    ...     return threads
    >>> work(threads=2)
    2
    """

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @functools.wraps(function)
        def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            if any(name in kwargs for name in names):
                kwargs = _renamed(function.__qualname__, names, kwargs)
            return function(*args, **kwargs)

        return call

    return decorate


def old_names(*names: str) -> Callable[[_Class], _Class]:
    """Let a class be made with keywords, and its attributes be read, by their old names too.

    Parameters
    ----------
    names : of `RENAMED`
    """

    def decorate(cls: _Class) -> _Class:
        for name in names:
            setattr(cls, name, _attribute(name))
        init: Any = cls.__init__  # type: ignore[misc]
        cls.__init__ = old_keywords(*names)(init)  # type: ignore[misc]
        return cls

    return decorate


def warn_renamed(old: str, new: str, depth: int = 3) -> None:
    """Warn the caller's caller that a name has changed."""
    warnings.warn(f"{old} is now {new}: the old name goes with the next release", DeprecationWarning, depth)


def _renamed(owner: str, names: tuple[str, ...], kwargs: Any) -> Any:
    """Keywords by their new names."""
    out = dict(kwargs)
    for name in names:
        if name in out:
            new = RENAMED[name]
            if new in out:
                raise TypeError(f"{owner}: {name} and {new} are the same: give {new}")
            warn_renamed(f"{owner}: {name}", new, depth=4)
            out[new] = out.pop(name)
    return out


def _attribute(name: str) -> property:
    new = RENAMED[name]

    def read(self: Any) -> Any:
        warn_renamed(f"{type(self).__name__}.{name}", new)
        return getattr(self, new)

    read.__doc__ = f"The old name of `{new}`."
    return property(read)
