"""Images that the fast reader leaves alone: any codec, any number type, by astropy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import Error, FormatError
from mwaconvert.formats.promises import check_promise


def decode_hdu(path: Path, hdu_number: int) -> npt.NDArray[np.float32]:
    """Decode one image HDU, scaled by its BSCALE and BZERO.

    Parameters
    ----------
    path : FITS file
    hdu_number : 0 for the primary

    Returns
    -------
    (naxis2, naxis1) in native byte order; blank integers become NaN

    Raises
    ------
    FormatError : there is no image of two axes, or it cannot be decoded
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
            promised = 8 * int(np.prod(hdus[hdu_number].shape, dtype=np.float64))
            check_promise(Path(path), f"HDU {hdu_number}", promised, Path(path).stat().st_size)
            data = hdus[hdu_number].data
    except Error:
        raise
    except Exception as error:  # a damaged codec stream raises whatever its library raises
        raise FormatError(f"{path}: HDU {hdu_number}: cannot be decoded: {error}") from error
    if not isinstance(data, np.ndarray) or data.ndim != 2:
        raise FormatError(f"{path}: HDU {hdu_number}: expected an image of 2 axes, found something else")
    return np.ascontiguousarray(data, dtype=np.float32)
