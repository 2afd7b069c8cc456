"""What a user may choose of a file: a polarisation, and whether its weights and scales are believed."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How a file with polarisations, weights or scales is read.

    Parameters
    ----------
    pol : read this polarisation or IF only, counted from 0; None: total intensity
    use_weights, use_scales, use_offsets : of PSRFITS: apply DAT_WTS, DAT_SCL, DAT_OFFS

    Examples
    --------
    >>> Choices(pol=1, use_scales=False).given
    ['pol', 'use_scales']
    """

    pol: int | None = None
    use_weights: bool = True
    use_scales: bool = True
    use_offsets: bool = True

    @property
    def given(self) -> list[str]:
        """Names of those that are not at their default."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]
