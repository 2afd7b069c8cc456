"""Quality assurance by people: notes with a few keys, shown in the weblog; two states that do not follow each other.

The calibration status tells whether tables may be used, the SRDP status whether the product meets its standard:
tables may be worth keeping while too much is flagged for a science-ready product.
"""

from __future__ import annotations

import gzip
import html
import os
import re
import tarfile
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path

from mwaconvert.archive.products import anonymous, write_sums
from mwaconvert.archive.times import utc
from mwaconvert.errors import FormatError, InputError
from mwaconvert.extras import need

#: name of the notes within the html folder of a weblog
NOTES = "qa_notes.html"

TEMPLATE = """\
qa_standard: SRDP Pilot <br>
qa_analyst: Your Name Here <br>
qa_status: Pass/Fail <br>
qa_comments: Add comments if needed
"""
_UNFILLED = {"Your Name Here", "Add comments if needed", ""}
_KEY = re.compile(r"\s*(qa_[a-z_]+)\s*:\s*(.*?)\s*$")
_BREAK = re.compile(r"<\s*/?\s*(?:br|p|div|li|tr|h[1-6])\b[^>]*>", re.IGNORECASE)
_LARGEST = 1 << 20  # characters of notes
#: what notes may contain when they are shown: text, tables, links; no script, style, form or frame
_TAGS = {
    *("a", "b", "blockquote", "br", "code", "dd", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "hr", "i"),
    *(
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "span",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ),
}


class CalibrationStatus(Enum):
    """What the archive says of the calibration of an execution block."""

    UNSET = ""
    CALIBRATED = "Calibrated"
    DO_NOT_CALIBRATE = "Do Not Calibrate"


class SrdpStatus(Enum):
    """Whether a product met its standard of quality."""

    UNSET = ""
    PASS = "Pass"
    FAIL = "Fail"

    @classmethod
    def of(cls, word: str) -> SrdpStatus:
        """The status of a word as people write it: pass, FAIL, null; `InputError` for any other."""
        found = {"pass": cls.PASS, "fail": cls.FAIL, "null": cls.UNSET, "": cls.UNSET}.get(
            word.strip().lower()
        )
        if found is None:
            raise InputError(f"'{word}' is no QA status; expected Pass, Fail or Null")
        return found

    @property
    def default_score(self) -> float | None:
        """The score where no one gave one: 1 for a pass, 0 for a fail."""
        return {SrdpStatus.PASS: 1.0, SrdpStatus.FAIL: 0.0}.get(self)


@dataclass(frozen=True, slots=True)
class QaNotes:
    """What an analyst wrote. `extra` are further ``qa_*`` keys; `comments` are the rest of the notes."""

    status: SrdpStatus
    analyst: str = ""
    standard: str = "SRDP Pilot"
    score: float | None = None
    comments: str = ""
    extra: tuple[tuple[str, str], ...] = ()


def read_notes(text: str, name: str = NOTES) -> QaNotes:
    """Read notes: one ``key: value`` a line, with or without markup; everything else is a comment.

    Raises
    ------
    FormatError
        A status that is neither Pass, Fail nor Null (the template's "Pass/Fail" is not filled in), no analyst for a
        decision, a score that is not a number from 0 to 1, a key given twice, over a million characters.
    """
    if len(text) > _LARGEST:
        raise FormatError(f"{name}: {len(text)} characters are too many for notes")
    values: dict[str, str] = {}
    comments: list[str] = []
    for line in _plain_lines(text):
        match = _KEY.match(line)
        if match is None:
            comments.append(line.rstrip())
        elif match[1] in values:
            raise FormatError(f"{name}: {match[1]} is given twice; keep one")
        else:
            values[match[1]] = match[2]
    try:
        status = SrdpStatus.of(values.pop("qa_status", ""))
    except InputError as error:
        raise FormatError(f"{name}: qa_status: {error}") from None
    analyst = values.pop("qa_analyst", "")
    if status is not SrdpStatus.UNSET and analyst in _UNFILLED:
        raise FormatError(f"{name}: qa_analyst is not filled in; a decision has a name")
    first = values.pop("qa_comments", "")
    comments = [*([] if first in _UNFILLED else [first]), *comments]
    return QaNotes(
        status,
        "" if analyst in _UNFILLED else analyst,
        values.pop("qa_standard", "SRDP Pilot"),
        _score(values.pop("qa_score", ""), status, name),
        "\n".join(comments).strip(),
        tuple(values.items()),
    )


def _score(word: str, status: SrdpStatus, name: str) -> float | None:
    if not word:
        return status.default_score
    try:
        score = float(word)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise FormatError(f"{name}: qa_score '{word}' is not a score; expected a number from 0 to 1")
    return score


def _plain_lines(text: str) -> list[str]:
    """Lines without markup; a break, paragraph or row of HTML ends a line, scripts are dropped whole."""
    nh3 = need("nh3", "archive", "reading QA notes")
    broken = _BREAK.sub("\n", text)
    bare = html.unescape(nh3.clean(broken, tags=set(), clean_content_tags={"script", "style"}))
    return [line for line in bare.replace("\r\n", "\n").splitlines() if line.strip()]


def write_notes(notes: QaNotes) -> str:
    """Notes in the form of the template, escaped; `read_notes` reads them back."""
    pairs = [
        ("qa_standard", notes.standard),
        ("qa_analyst", notes.analyst),
        ("qa_status", notes.status.value or "Null"),
        *([] if notes.score is None else [("qa_score", f"{notes.score:g}")]),
        *notes.extra,
    ]
    lines = [f"{key}: {html.escape(value)} <br>" for key, value in pairs]
    comments = "<br>\n".join(html.escape(line) for line in notes.comments.splitlines())
    return "\n".join([*lines, f"qa_comments: {comments}"]) + "\n"


def safe_html(text: str) -> str:
    """Notes as they may be shown: text in a pre element, HTML without anything that acts.

    A weblog shows its notes unescaped, so scripts, styles, forms, frames, images and links of other schemes are
    taken out here.
    """
    nh3 = need("nh3", "archive", "writing QA notes")
    if re.search(r"<[a-zA-Z!/]", text) is None:
        return f"<pre>{html.escape(html.unescape(text))}</pre>\n"
    clean: str = nh3.clean(
        text,
        tags=_TAGS,
        attributes={"a": {"href"}, "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}},
        url_schemes={"http", "https", "mailto"},
        clean_content_tags={"script", "style"},
    )
    return clean


def add_notes(weblog: Path, text: str) -> Path:
    """Write notes into an unpacked weblog, sanitised, in one step; give their path.

    Raises
    ------
    InputError
        The weblog or its html folder is a link, or is not there.
    """
    folder = weblog / "html"
    if weblog.is_symlink() or folder.is_symlink():
        raise InputError(f"{weblog}: is a link; notes are written into the weblog itself")
    if not folder.is_dir():
        raise InputError(f"{weblog}: has no folder html; expected an unpacked weblog")
    target = folder / NOTES
    part = folder / f".{NOTES}.part"
    part.write_text(safe_html(text))
    return part.replace(target)


def pack_weblog(weblog: Path, target: Path) -> Path:
    """Pack a weblog again, after notes were added; the archive is replaced in one step.

    Times and owners are left out, so the same weblog gives the same bytes.

    Raises
    ------
    InputError
        The weblog is a link or has links in it.
    """
    paths = sorted(weblog.rglob("*"))
    link = next((path for path in (weblog, *paths) if path.is_symlink()), None)
    if link is not None:
        raise InputError(f"{link}: is a link; put the file itself into the weblog")
    part = target.with_name(f".{target.name}.part")
    with part.open("wb") as raw:
        with (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            for path in paths:
                name = f"{weblog.name}/{path.relative_to(weblog)}"
                tar.add(path, name, recursive=False, filter=anonymous)
        raw.flush()
        os.fsync(raw.fileno())
    return part.replace(target)


def publish_notes(weblog: Path, archive: Path, text: str) -> Path:
    """Put notes into a weblog, pack it again and refresh the checksums beside its archive; give the archive.

    The step can be repeated: the same notes give the same bytes.
    """
    add_notes(weblog, text)
    packed = pack_weblog(weblog, archive)
    write_sums(archive.parent)
    return packed


@dataclass(frozen=True, slots=True)
class QaRecord:
    """One revision of a decision. `at` is the time of ingestion, which is the date of QA."""

    revision: int
    notes: QaNotes
    decided_by: str
    at: datetime


@dataclass(frozen=True)
class QaRecords:
    """Decisions on a run, oldest first; added, never changed."""

    rows: tuple[QaRecord, ...] = ()

    @property
    def current(self) -> QaRecord | None:
        """The decision that holds."""
        return self.rows[-1] if self.rows else None

    def decide(self, notes: QaNotes, by: str, at: datetime, *, seen: int) -> QaRecords:
        """These decisions and one more.

        Parameters
        ----------
        seen : the number of decisions the analyst saw when deciding

        Raises
        ------
        InputError
            Someone decided in between.
        """
        current = self.current
        if seen != len(self.rows):
            other = (
                "nobody"
                if current is None
                else f"{current.decided_by} ({current.notes.status.value or 'Null'})"
            )
            raise InputError(
                f"{other} decided on this run in the meantime; look at it again before you decide"
            )
        return QaRecords((*self.rows, QaRecord(len(self.rows) + 1, notes, by, utc(at))))


@dataclass(frozen=True)
class QaState:
    """The two states of an execution block or set; each is set by its own event."""

    calibration: CalibrationStatus = CalibrationStatus.UNSET
    srdp: SrdpStatus = SrdpStatus.UNSET

    def passed(self, notes: QaNotes, *, ingested: bool) -> QaState:
        """After a calibration was accepted: "Calibrated" once its products are in the archive, and not before.

        Raises
        ------
        InputError
            The ingest has not succeeded.
        """
        if not ingested:
            raise InputError("the products are not in the archive yet; it is not marked Calibrated")
        return replace(self, calibration=CalibrationStatus.CALIBRATED, srdp=notes.status)

    def failed(self, srdp: SrdpStatus = SrdpStatus.FAIL) -> QaState:
        """After a calibration was refused."""
        return QaState(CalibrationStatus.DO_NOT_CALIBRATE, srdp)
