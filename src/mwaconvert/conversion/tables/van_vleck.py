"""Van Vleck correction: whether it is done, and the number of samples that its kernel must know."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from mwaconvert.conversion.options import Options
from mwaconvert.conversion.steps import State, Step, StepKind, unasked
from mwaconvert.errors import InputError
from mwaconvert.observation.observation import Observation

#: obsid of the first observation whose files say their scale (October 2014)
FIRST_SCALED_OBSID = 1096160568
SCALE_BEFORE = 0.25


def decide_van_vleck(observation: Observation, options: Options) -> tuple[float, Step]:
    """Samples of a visibility for the correction (0: none), and what is said about it.

    A visibility is the sum over 2 * width * time products of samples, times the scale of the correlator: key
    SCALEFAC of the first image, else BSCALE.

    Raises
    ------
    InputError : asked for with data that need none, or files that do not agree on the scale
    """
    kind = StepKind.VAN_VLECK
    meta = observation.metadata
    if meta.correlator != "legacy":
        if options.van_vleck:
            raise InputError(
                "`van_vleck` corrects the coarse quantiser of the legacy correlator; these are MWAX data, "
                "which need no such correction: leave the option out",
                option="van_vleck",
            )
        return 0.0, Step(kind, State.IDLE, "the MWAX correlator needs none")
    if not options.van_vleck:
        return 0.0, unasked(kind)
    scale, origin = _scale(observation)
    samples = 2 * meta.fine_width_hz * meta.int_time_s * scale
    return samples, Step(
        kind,
        State.APPLIED,
        f"15-level quantiser, {2 * meta.fine_width_hz * meta.int_time_s:g} samples a visibility, scale {scale:g} "
        f"({origin}); inputs with an rms below half a level are left as they are",
    )


def _scale(observation: Observation) -> tuple[float, str]:
    found: dict[tuple[float, str] | None, str] = {}
    for index, file in enumerate(observation.files):
        images = observation.hdus[observation.hdus["file"] == index]
        cards = _first_image_cards(file.path, int(images["data_offset"].min()))
        key = next((k for k in ("SCALEFAC", "BSCALE") if k in cards), None)
        found.setdefault(None if key is None else (cards[key], key), str(file.path))
    if len(found) > 1:
        (first, one), (second, other) = list(found.items())[:2]
        words = [f"{v[1]}={v[0]:g}" if v else "none" for v in (first, second)]
        raise InputError(
            f"Van Vleck correction: the scale of the visibilities must be one for all files, but {one} has "
            f"{words[0]} and {other} {words[1]}"
        )
    (known,) = found
    if known is not None and np.isfinite(known[0]) and known[0] > 0:
        return known[0], f"{known[1]} of the files"
    if observation.metadata.obsid < FIRST_SCALED_OBSID:
        return SCALE_BEFORE, "files of this age do not say it"
    return 1.0, "assumed: the files do not say it"


def _first_image_cards(path: Path, data_offset: int) -> dict[str, float]:
    """Numbers in the header of the first image. astropy would take longer to import than to read them."""
    with path.open("rb") as file:
        headers = file.read(data_offset).decode("ascii", "replace")
    cards = [headers[k : k + 80] for k in range(headers.rfind("XTENSION"), len(headers), 80)]
    numbers = {}
    for card in cards:
        value = re.match(r"=\s*([-+0-9.DEde]+)", card[8:])
        if value:
            with suppress(ValueError):
                numbers[card[:8].strip()] = float(value[1].upper().replace("D", "E"))
    return numbers
