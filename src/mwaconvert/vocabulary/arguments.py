"""From the words of a command line to the words click parses: names of the other programs become ours."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from mwaconvert.errors import InputError
from mwaconvert.vocabulary import values
from mwaconvert.vocabulary.options import REFUSED, TABLE, Spec, squeeze

_LONG: dict[str, Spec] = {squeeze(n): spec for spec in TABLE for n in spec.names if n.startswith("--")}
_SHORT: dict[str, Spec] = {n: spec for spec in TABLE for n in spec.names if not n.startswith("--")}
_REFUSED_LONG = {squeeze(n): why for n, why in REFUSED.items() if n.startswith("--")}


def prepare(words: Sequence[str]) -> list[str]:
    """Rewrite the words after `convert` so that every option has its canonical name.

    Understands names without dashes or with underscores, cotter's single dashes (after --like cotter),
    cotter's `-centre RA DEC`, and lists of numbers separated by blanks.

    Raises
    ------
    InputError : an option that does not exist, is not available yet, or is obsolete
    """
    cotter = _asks_for_cotter(words)
    done: list[str] = []
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word == "--":
            return [*done, word, *words[i:]]
        if not word.startswith("-") or word in ("-", "--help"):
            done.append(word)
            continue
        spec, value = _lookup(word, words[i : i + 1], cotter=cotter)
        if spec is None:
            done.append(word)
            continue
        if spec.sets == "phase_centre_deg":
            angles = words[i : i + 2] if value is None else [value, *words[i : i + 1]]
            both = values.two_angles(angles[0]) if angles else None
            done += [spec.canonical, *(both or angles)]
            i += (1 if both else 2) - (value is not None)
            continue
        done.append(spec.canonical if value is None else f"{spec.canonical}={value}")
        if spec.is_flag or value is not None:
            continue
        end = i + spec.nargs
        if spec.metavar == "LIST" and spec.listed:
            while end < len(words) and values.is_list(words[end - 1]) and values.is_list(words[end]):
                end += 1
            done.append(",".join(words[i:end]))
        else:
            done.extend(words[i:end])
        i = end
    return done


def _asks_for_cotter(words: Sequence[str]) -> bool:
    names = {squeeze(n) for spec in TABLE if spec.sets == "like" for n in spec.names}
    pairs = [
        word.split("=", 1) if "=" in word else (word, after)
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]
    return any(name.startswith("-") and squeeze(name) in names and value == "cotter" for name, value in pairs)


def _lookup(word: str, following: Sequence[str], *, cotter: bool) -> tuple[Spec | None, str | None]:
    """The option that a word names and the value after `=`; no option for what click should judge."""
    name, equals, rest = word.partition("=")
    value = rest if equals else None
    squeezed = squeeze(name)
    if not name.startswith("--"):
        if len(name) == 2:
            if cotter and name == "-h":
                raise InputError(
                    "-h is obsolete, all metadata come from the metafits file (cotter's header file)"
                )
            if name in REFUSED:
                raise InputError(f"{name}: {REFUSED[name]}")
            return _SHORT.get(name), value
        if squeezed not in _LONG and squeezed not in _REFUSED_LONG:
            if _are_short(name[1:]):
                return None, None
            raise InputError(_unknown(name))
        if not cotter:
            raise InputError(f"{name}: write -{name}, or add --like cotter to use cotter's spelling")
    if squeezed == "centre" and value is None and following and following[0].lower() not in values.CENTRES:
        squeezed = "phasecentre"
    if squeezed in _REFUSED_LONG:
        raise InputError(f"{name}: {_REFUSED_LONG[squeezed]}")
    if squeezed not in _LONG:
        raise InputError(_unknown(name))
    return _LONG[squeezed], value


def _are_short(letters: str) -> bool:
    """Whether these are options of one letter each, the last perhaps with its value: -qv, -j4."""
    for letter in letters:
        spec = _SHORT.get(f"-{letter}")
        if spec is not None and not spec.is_flag:
            return True
        if spec is None and letter != "h":
            return False
    return True


def _unknown(name: str) -> str:
    names = [n for spec in TABLE for n in spec.names if n.startswith("--")]
    close = get_close_matches(f"--{name.lstrip('-').replace('_', '-')}", names, 1, 0.75)
    return f"there is no option {name}" + (
        f"; did you mean {close[0]}?" if close else "; see mwaconvert convert --help"
    )
