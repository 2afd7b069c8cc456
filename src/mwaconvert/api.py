"""The public functions: open, plan, convert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from mwaconvert.conversion.options import OptionValues, spelled
from mwaconvert.errors import InputError

if TYPE_CHECKING:
    from mwaconvert.conversion.report.report import Report
    from mwaconvert.observation.observation import Observation


def open(metafits: str | Path, files: Sequence[str | Path] | None = None) -> Observation:
    """Open an observation: its metafits and the raw files that belong to it.

    Parameters
    ----------
    metafits : path of the metafits file
    files : raw files; None takes those of the same obsid beside the metafits. Archives are refused, as nobody would
        know when what is unpacked may go: `convert` takes them, `mwaconvert.unpacking.unpack` unpacks them

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
    from mwaconvert.observation.unpacked import is_archive

    paths = [Path(metafits), *(Path(f) for f in files or ())]
    for path in paths:
        if is_archive(path):
            raise InputError(
                f"{path}: an archive: unpack it (mwaconvert.unpacking.unpack) and open its folder; only a conversion "
                "takes archives",
                path=path,
            )
    return open_observation(paths[0], None if files is None else paths[1:])


@spelled
def convert(
    metafits: str | Path,
    output: str | Path | Sequence[str | Path],
    *,
    files: Sequence[str | Path] | None = None,
    qa: str | Path | None = None,
    **options: Unpack[OptionValues],
) -> Report:
    """Convert raw files to uvfits or a measurement set in one call.

    Parameters
    ----------
    metafits, files : as for `open`; or archives (tar, zip, gz) of them, which are unpacked for as long as it takes
    output : file or files to write; the suffix decides: .uvfits or .ms
    qa : quality picture to write, .png or .html; a notebook shows it with the report
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
    from mwaconvert.observation.unpacked import unpacked

    outputs = [output] if isinstance(output, str | Path) else list(output)
    given = [Path(metafits), *(Path(f) for f in files or ())]
    with unpacked(given) as places:
        paths = [places.get(path, path) for path in given]
        return open(paths[0], None if files is None else paths[1:]).plan(**options).run(outputs, qa=qa)
