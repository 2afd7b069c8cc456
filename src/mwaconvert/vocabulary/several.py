"""Several observations in the words of one command line: which words belong to which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mwaconvert.errors import InputError

#: stands for the obsid in names of outputs
OBSID = "{obsid}"
_LEADING_OBSID = re.compile(r"(\d{10})(?!\d)")


def by_observation(words: Sequence[str]) -> list[list[str]]:
    """The words of each observation: its metafits (also as an obsid or a folder) and its raw files.

    Parameters
    ----------
    words : of a command line, without options; @FILE stands for the words in that file

    Raises
    ------
    InputError : a list that cannot be read, a raw file of none of several observations, or one observation twice

    Examples
    --------
    >>> by_observation(["1000000000.metafits", "1000000008.metafits", "1000000008_20110914_ch131_000.fits"])
    [['1000000000.metafits'], ['1000000008.metafits', '1000000008_20110914_ch131_000.fits']]
    """
    words = [each for word in words for each in _expanded(word)]
    observations = [word for word in words if _names_observation(word)]
    if len(observations) < 2:
        return [words]
    groups: dict[str, list[str]] = {}
    for word in observations:
        key = _obsid(word) or word
        if key in groups:
            raise InputError(f"{groups[key][0]} and {word} are both of observation {key}: give one")
        groups[key] = [word]
    for word in words:
        if word in observations:
            continue
        group = groups.get(_obsid(word) or "")
        if group is None:
            raise InputError(f"{word}: belongs to none of the {len(groups)} observations that were given")
        group.append(word)
    return list(groups.values())


def check_names(outputs: Sequence[Path], others: Sequence[Path | None]) -> None:
    """Refuse names that outputs of several observations would share.

    Raises
    ------
    InputError : one does not tell the observations apart
    """
    named = [path for path in outputs if str(path) not in ("uvfits", "ms")]
    for path in (*named, *(path for path in others if path is not None)):
        if OBSID not in str(path):
            raise InputError(
                f"{path}: several observations would write it; put {OBSID} where the obsid goes, such as "
                f"{OBSID}{path.suffix}"
            )


def _expanded(word: str) -> list[str]:
    if not word.startswith("@"):
        return [word]
    path = Path(word[1:])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: the list of observations cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: expected a list of observations, one a line, found bytes that are not text"
        ) from None
    found = [line.partition("#")[0].strip() for line in lines]
    if not any(found):
        raise InputError(f"{path}: the list of observations is empty")
    return [line for line in found if line]


def _names_observation(word: str) -> bool:
    name = Path(word).name.lower()
    if "metafits" in name:
        return "ppds" not in name
    if Path(word).is_dir():
        return any("metafits" in path.name for path in Path(word).iterdir())
    return re.fullmatch(r"\d{10}", name) is not None


def _obsid(word: str) -> str | None:
    found = _LEADING_OBSID.match(Path(word).name)
    return found[1] if found else None
