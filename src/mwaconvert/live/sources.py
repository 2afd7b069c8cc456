"""Known sources: names, aliases and DMs, and what a candidate is a pulse of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError
from mwaconvert.live.settings import read_yaml


class Kind(Enum):
    """What a source is; the value is what is said of it."""

    PULSAR = "known pulsar"
    FRB = "known FRB"
    NEW = "new source"


@dataclass(frozen=True)
class Source:
    """A source with its DM, pc/cm^3; a new one has none."""

    kind: Kind
    name: str = ""
    dm: float = math.nan


NEW = Source(Kind.NEW)


@dataclass(frozen=True)
class Sources:
    """Known sources by name, and other names of them.

    Examples
    --------
    >>> sources_of({"pulsars": {"B0531+21": 56.8}, "aliases": {"crab": "B0531+21"}}).find("Crab").dm
    56.8
    """

    known: Mapping[str, Source] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Source | None:
        """The source of a name or alias, whatever its case; None if it is not known."""
        name = name.casefold()
        return self.known.get(self.aliases.get(name, name))


def read_sources(path: Path) -> Sources:
    """A list of sources (YAML): `pulsars` and `frbs` with DMs, `aliases` with names.

    Raises
    ------
    FormatError
    """
    return sources_of(read_yaml(path) or {}, str(path))


def sources_of(found: Any, name: str = "source list") -> Sources:
    """Of what `read_sources` found. Raises FormatError."""
    known: dict[str, Source] = {}
    if not isinstance(found, Mapping) or not all(isinstance(v or {}, Mapping) for v in found.values()):
        raise FormatError(f"{name}: expected pulsars, frbs and aliases, each with names")
    for key in found:
        if key not in ("pulsars", "frbs", "aliases"):
            raise FormatError(f"{name}: {key}: expected pulsars, frbs or aliases")
    for key, kind in (("pulsars", Kind.PULSAR), ("frbs", Kind.FRB)):
        for source, dm in (found.get(key) or {}).items():
            if isinstance(dm, bool) or not isinstance(dm, int | float) or not 0 < dm < math.inf:
                raise FormatError(f"{name}: {source}: expected a DM in pc/cm^3, found {dm!r}")
            known[str(source).casefold()] = Source(kind, str(source), float(dm))
    # names that stand for nothing, as none: 0, are of no source
    names = {str(k).casefold(): str(v).casefold() for k, v in (found.get("aliases") or {}).items() if v}
    for alias, target in names.items():
        if target not in known:
            raise FormatError(f"{name}: the alias {alias} is of {target}, which is not in the list")
    return Sources(known, names)
