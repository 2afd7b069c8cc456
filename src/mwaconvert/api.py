"""The public functions: open, plan, convert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from mwaconvert.conversion.options import OptionValues, spelled

if TYPE_CHECKING:
    from mwaconvert.conversion.report.report import Report
    from mwaconvert.observation.observation import Observation


def open(metafits: str | Path, files: Sequence[str | Path] | None = None) -> Observation:
    """Open an observation: its metafits and the raw files that belong to it.

    Parameters
    ----------
    metafits : path of the metafits file
    files : raw files; None takes those of the same obsid beside the metafits

    Returns
    -------
    Observation
        what was observed; `plan(**options)` decides what to do with it

    Raises
    ------
    MetadataError, FormatError, InputError : files that cannot be read or do not belong together

    Examples
    --------
    >>> observation = mwaconvert.open("obs.metafits")
    >>> observation
    Observation(1412607288, mwax, 8 tiles, 2 coarse channels, 4 timesteps of 2 s)
    """
    from mwaconvert.observation.observation import open_observation

    return open_observation(Path(metafits), None if files is None else [Path(f) for f in files])


@spelled
def convert(
    metafits: str | Path,
    output: str | Path | Sequence[str | Path],
    *,
    files: Sequence[str | Path] | None = None,
    **options: Unpack[OptionValues],
) -> Report:
    """Convert raw files to uvfits or a measurement set in one call.

    Parameters
    ----------
    metafits, files : as for `open`
    output : file or files to write; the suffix decides: .uvfits or .ms
    **options : fields of `mwaconvert.Options`

    Returns
    -------
    Report
        what was done

    Raises
    ------
    Error : any of its classes; nothing stays under the final names

    Examples
    --------
    >>> report = mwaconvert.convert("obs.metafits", "obs.uvfits", time_res_s=4, freq_res_khz=40)
    >>> report.outputs[0].kind.words
    'a uvfits file'
    """
    outputs = [output] if isinstance(output, str | Path) else list(output)
    return open(metafits, files).plan(**options).run(outputs)
