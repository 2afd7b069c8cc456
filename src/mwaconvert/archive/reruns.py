"""Runs again with what an analyst edited: request, flag templates, flux.csv, cont.dat, byte for byte.

Either in place, with the old working folder moved aside under a number, or as a new run beside the old one.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mwaconvert.archive.identifiers import execution_name
from mwaconvert.archive.layouts import Layout
from mwaconvert.archive.products import Kind, ProductTable, read_product_table, sha256_of
from mwaconvert.archive.requests import RequestDocument, check, read_request, read_value
from mwaconvert.archive.texts import read_text
from mwaconvert.errors import FormatError, InputError


class FlagTemplate(Enum):
    """Kinds of flag templates; the values end their names."""

    DATA = "flagtemplate.txt"
    TSYS = "flagtsystemplate.txt"
    TARGETS = "flagtargetstemplate.txt"


_FLAG_PAIR = re.compile(r"""\s*(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^\s'"]+))""")
_FLUX_HEADERS = ("ms,field,spw,I,Q,U,V,spix,uvmin,uvmax,comment", "ms,field,spw,I,Q,U,V,spix,comment")
_RANGE = re.compile(r"\s*-?[\d.]+~-?[\d.]+\s*GHz(?:\s+(?:LSRK|TOPO|SOURCE))?\s*$")


def kind_of_template(path: Path) -> FlagTemplate:
    """The kind of a flag template by its name; `InputError` for other files."""
    kind = next((kind for kind in FlagTemplate if path.name.endswith(kind.value)), None)
    if kind is None:
        names = ", ".join(kind.value for kind in FlagTemplate)
        raise InputError(f"{path}: is not a flag template; its name must end in {names}")
    return kind


def flag_template_name(kind: FlagTemplate, execution: str, pipeline: str = "") -> str:
    """The name a pipeline looks for in its working folder.

    It is that of the measurement set it flags: pipelines from 2022.2 on flag targets in ``<execution>_targets.ms``,
    older ones in the original.
    """
    year = re.match(r"(\d{4})\.(\d+)", pipeline)
    split = kind is FlagTemplate.TARGETS and year is not None and (int(year[1]), int(year[2])) >= (2022, 2)
    return f"{execution}{'_targets' if split else ''}.{kind.value}"


def check_flag_template(path: Path) -> int:
    """The number of flag commands of a template; only a missing file warns a pipeline, a bad line is skipped.

    Raises
    ------
    FormatError
        A line that is not of ``key='value'`` pairs, or a reason with a blank in it.
    """
    commands = 0
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"{path}: line {number}"
        at = 0
        while at < len(text) and not text[at:].lstrip().startswith("#"):
            pair = _FLAG_PAIR.match(text, at)
            if pair is None:
                raise FormatError(f"{where}: '{text[at:].strip()}'; expected pairs such as antenna='ea01'")
            value = next(group for group in pair.groups()[1:] if group is not None)
            if pair[1] == "reason" and re.search(r"\s", value):
                raise FormatError(f"{where}: reason='{value}' has a blank; write it with underscores")
            at = pair.end()
        commands += 1
    return commands


def check_fluxes(path: Path) -> int:
    """The number of rows of a ``flux.csv``; its header and the integer ids of field and window are checked.

    Raises
    ------
    FormatError
        Another header, a row of another length, an id that is not an integer, a flux that is not a number.
    """
    lines = read_text(path).splitlines()
    if not lines or lines[0].strip() not in _FLUX_HEADERS:
        raise FormatError(f"{path}: the header is '{lines[0] if lines else ''}'; expected {_FLUX_HEADERS[0]}")
    columns = lines[0].strip().split(",")
    for number, line in enumerate(lines[1:], 2):
        cells = line.split(",", len(columns) - 1)
        try:
            if len(cells) != len(columns):
                raise ValueError
            _ = int(cells[1]), int(cells[2]), [float(cell) for cell in cells[3:8]]
        except ValueError:
            raise FormatError(
                f"{path}: line {number}: '{line}'; expected {len(columns)} values, ids as integers"
            ) from None
    return len(lines) - 1


def check_continuum(path: Path) -> int:
    """The number of frequency ranges of a ``cont.dat``.

    Raises
    ------
    FormatError
        A range before a field and a spectral window, or a line that is not in the format.
    """
    field = window = False
    ranges = 0
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("Field:"):
            field, window = True, False
        elif text.startswith("SpectralWindow:") and field:
            window = True
        elif window and (text.split()[0] in ("Flags:", "NONE", "ALL", "ALLCONT") or _RANGE.match(text)):
            ranges += _RANGE.match(text) is not None
        else:
            raise FormatError(
                f"{path}: line {number}: '{text}'; expected Field:, SpectralWindow:, or lo~hiGHz FRAME"
            )
    return ranges


@dataclass(frozen=True)
class Edits:
    """What an analyst supplies for a rerun; None and empty where the files of the run before are used."""

    request: Path | None = None
    flag_templates: tuple[Path, ...] = ()
    fluxes: Path | None = None
    continuum: Path | None = None

    def check(self) -> None:
        """Refuse edits that a pipeline would skip silently (`FormatError`)."""
        if self.request is not None:
            document = read_request(self.request)
            check(document.request, str(self.request))
            self._check_overwrite(document)
        for template in self.flag_templates:
            kind_of_template(template)
            check_flag_template(template)
        if self.fluxes is not None:
            check_fluxes(self.fluxes)
        if self.continuum is not None:
            check_continuum(self.continuum)

    def _check_overwrite(self, document: RequestDocument) -> None:
        for command in document.request.commands:
            overwrite = dict(command.parameters).get("overwrite", "False")
            if self.flag_templates and "importdata" in command.name and read_value(overwrite):
                raise FormatError(
                    f"{document.name}: {command.name} overwrites, which empties flag templates; set overwrite to False"
                )


@dataclass(frozen=True, slots=True)
class RunInput:
    """A file a run really used, by its SHA-256."""

    kind: Kind
    path: Path
    sha256: str
    from_analyst: bool


def set_aside(folder: Path, number: int = 0) -> Path:
    """Move a working or products folder to ``old_<name>_<number>`` beside it, and give its new name.

    Parameters
    ----------
    number : by default the first that is free; with a number of its own a rerun may be repeated: what was moved before
        stays where it is

    Raises
    ------
    InputError
        There is no such folder: nothing ran here.
    """

    def named(n: int) -> Path:
        return folder.with_name(f"old_{folder.name}_{n}")

    if number and named(number).is_dir():
        return named(number)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not there; a rerun needs the run before it")
    chosen = number or 1
    while named(chosen).exists():
        chosen += 1
    return folder.rename(named(chosen))


def prepare_rerun(
    old: Layout,
    edits: Edits,
    *,
    new: Layout | None = None,
    number: int = 0,
    pipeline: str = "",
    table: ProductTable | None = None,
) -> tuple[RunInput, ...]:
    """Make the working folder of a rerun and put in it what is to be used; give the inputs by hash.

    In place, the old working and products folders are moved aside first, under `number`; with `new`, raw data are
    linked. Files of the run before are taken over where an analyst gave none: a second rerun keeps the edits of the
    first. With a number it may be repeated after any interruption.

    Raises
    ------
    InputError, FormatError
        No run before, edits that would be skipped, a template that belongs to no single execution block, no request.
    """
    edits.check()
    table = table or read_product_table()
    aside = old.working.with_name(f"old_{old.working.name}_{number}")
    source = aside if new is None and number and aside.is_dir() else old.working
    chosen = _chosen(source, edits, pipeline, table)
    if new is None:
        moved = set_aside(old.working, number)
        chosen = {
            name: (moved / path.name if path.parent == source else path, kind, own)
            for name, (path, kind, own) in chosen.items()
        }
        if old.products.is_dir() and any(old.products.iterdir()):
            set_aside(old.products, number)
    target = old if new is None else new
    target.make()
    if new is not None:
        _link_raw(old, new)
    return tuple(_place(path, target.working / name, kind, own) for name, (path, kind, own) in chosen.items())


def _chosen(
    source: Path, edits: Edits, pipeline: str, table: ProductTable
) -> dict[str, tuple[Path, Kind, bool]]:
    """What a rerun uses, by the name it gets: edits first, then files of the run before."""
    if not source.is_dir():
        raise InputError(f"{source}: is not there; a rerun needs the run before it")
    request = read_request(_the_request(source, edits, table)).request
    executions = [execution_name(execution.disk_name) for execution in request.executions]
    chosen = {
        _template_name(path, executions, pipeline): (path, Kind.FLAG_TEMPLATE, True)
        for path in edits.flag_templates
    }
    for path, kind in (
        (edits.request, Kind.REQUEST),
        (edits.fluxes, Kind.FLUXES),
        (edits.continuum, Kind.CONTINUUM),
    ):
        if path is not None:
            standard = {Kind.FLUXES: "flux.csv", Kind.CONTINUUM: "cont.dat"}
            chosen[standard.get(kind, path.name)] = (path, kind, True)
    for path in sorted(source.iterdir()):
        kind = table.kind(path.name)
        taken = kind is Kind.REQUEST and edits.request is not None
        if path.is_file() and kind in _TAKEN_OVER and not taken:
            chosen.setdefault(path.name, (path, kind, False))
    return chosen


_TAKEN_OVER = (Kind.REQUEST, Kind.FLAG_TEMPLATE, Kind.FLUXES, Kind.CONTINUUM, Kind.POSITIONS)


def _the_request(working: Path, edits: Edits, table: ProductTable) -> Path:
    if edits.request is not None:
        return edits.request
    found = [p for p in sorted(working.glob("*.xml")) if table.kind(p.name) is Kind.REQUEST]
    if len(found) != 1:
        raise InputError(
            f"{working}: has {len(found)} processing requests; expected one, or give an edited one"
        )
    return found[0]


def _template_name(path: Path, executions: Sequence[str], pipeline: str) -> str:
    """The name of a template for its execution block; a plain one fits where there is one block alone."""
    owners = [name for name in executions if path.name.startswith(name)] or list(executions)
    if len(owners) != 1:
        raise InputError(
            f"{path}: could be of any of {len(owners)} execution blocks; put the name of one before it"
        )
    return flag_template_name(kind_of_template(path), owners[0], pipeline)


def _link_raw(old: Layout, new: Layout) -> None:
    for path in sorted(old.raw.iterdir()):
        link = new.raw / path.name
        if not link.exists():
            link.symlink_to(path.resolve())


def _place(source: Path, target: Path, kind: Kind, from_analyst: bool) -> RunInput:
    """Copy a file whole or not at all."""
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)
    return RunInput(kind, target, sha256_of(target), from_analyst)


def unused_templates(log: str, inputs: Sequence[RunInput]) -> tuple[str, ...]:
    """Flag templates of a run that its log never names: the pipeline did not apply them."""
    templates = [item.path.name for item in inputs if item.kind is Kind.FLAG_TEMPLATE]
    return tuple(name for name in templates if name not in log)
