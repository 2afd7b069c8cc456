"""What a plan decided, in words a user understands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One correction or rule: whether it is applied, and why."""

    name: str
    applied: bool
    reason: str


#: name of the step that `--rfi-array` asks for
ARRAY_RFI = "array RFI"
