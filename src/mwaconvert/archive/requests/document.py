"""The document of a processing request: read, written, kept byte for byte.

Two forms: ALMA's with unit set, scheduling block and executions; the VLA's with one SDM. Elements are found by
name, as the pipeline finds them; their order is that of the public example.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

from mwaconvert.archive.requests.model import (
    NAMESPACE,
    Command,
    DataBlock,
    Execution,
    ProjectStructure,
    ProjectSummary,
    Request,
    ResultsProcessing,
    Telescope,
)
from mwaconvert.archive.xml import Element, attribute, child, children, escape, read_xml, text
from mwaconvert.errors import FormatError

#: elements of ProjectSummary and ResultsProcessing, in the order of the fields; one d in Adress is right
_SUMMARY = (
    "ProposalCode",
    "Observatory",
    "Telescope",
    "ProcessingSite",
    "Operator",
    "Mode",
    "Version",
    "CreationTime",
)
_RESULTS = (
    "ArchiveResults",
    "CleanUpDisk",
    "UpdateProjectLifeCycle",
    "NotifyOperatorWhenDone",
    "PipelineOperatorAdress",
)


@dataclass(frozen=True)
class RequestDocument:
    """A request and the bytes it was read from, which are what is staged: an edit by hand survives whole."""

    data: bytes
    request: Request
    name: str

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def read_request(source: Path | bytes, name: str = "request") -> RequestDocument:
    """Read a processing request, sound or not; `check` judges it.

    Raises
    ------
    FormatError
        No such document: another root or namespace, entities, no project summary, no processing request.
    """
    if isinstance(source, Path):
        name, source = str(source), source.read_bytes()
    top = read_xml(source, name, "SciPipeRequest", NAMESPACE)
    requests = children(top, "ProcessingRequests/ProcessingRequest")
    summary = child(top, "ProjectSummary")
    if summary is None or not requests:
        missing = "ProjectSummary" if summary is None else "ProcessingRequest"
        raise FormatError(f"{name}: has no <{missing}>; expected a whole processing request")
    first = requests[0]
    data_set = child(first, "DataSet")
    if data_set is None:
        raise FormatError(f"{name}: has no <DataSet>; expected the data to process")
    is_vla = child(data_set, "SchedBlockSet") is None
    results = child(top, "ResultsProcessing")
    request = Request(
        telescope=Telescope.VLA if is_vla else Telescope.ALMA,
        summary=ProjectSummary(*(text(summary, element) for element in _SUMMARY)),
        structure=_structure(top),
        intents=read_intents(child(first, "ProcessingIntents")),
        title=text(first, "ProcessingProcedure/ProcedureTitle"),
        commands=_commands(child(first, "ProcessingProcedure")),
        blocks=_vla_blocks(data_set) if is_vla else _alma_blocks(data_set),
        results=ResultsProcessing(*(text(results, element, "false") for element in _RESULTS)),
        n_requests=len(requests),
    )
    return RequestDocument(source, request, name)


def _structure(top: Element) -> ProjectStructure | None:
    """The unit set, in the present form (AlmaStructure) or the older one without it."""
    holder = child(top, "ProjectStructure")
    if holder is None:
        return None
    inner = child(holder, "AlmaStructure")
    holder = holder if inner is None else inner
    if child(holder, "OUSStatusRef") is None:
        return None
    return ProjectStructure(
        project=attribute(holder, "ObsUnitSetRef", "entityId"),
        part_id=attribute(holder, "ObsUnitSetRef", "partId"),
        project_status=attribute(holder, "ProjectStatusRef", "entityId"),
        ous_status=attribute(holder, "OUSStatusRef", "entityId"),
        title=text(holder, "ObsUnitSetTitle"),
        kind=text(holder, "ObsUnitSetType"),
    )


def _raw_text(element: Element, path: str) -> str:
    """Text with its blanks: the pipeline does not strip values either."""
    found = child(element, path)
    return "" if found is None else "".join(found.itertext())


def read_intents(holder: Element | None) -> tuple[tuple[str, str], ...]:
    """Keyword and value of each intent; values keep their blanks, on which the reader's matching hangs."""
    if holder is None:
        return ()
    return tuple((text(i, "Keyword"), _raw_text(i, "Value")) for i in children(holder, "Intents"))


def _commands(procedure: Element | None) -> tuple[Command, ...]:
    if procedure is None:
        return ()
    return tuple(
        Command(
            text(command, "Command"),
            tuple(
                (text(p, "Keyword"), _raw_text(p, "Value"))
                for p in children(command, "ParameterSet/Parameter")
            ),
        )
        for command in children(procedure, "ProcessingCommand")
    )


def _alma_blocks(data_set: Element) -> tuple[DataBlock, ...]:
    return tuple(
        DataBlock(
            relative_path=text(block, "RelativePath"),
            sched_block=attribute(block, "SchedBlockRef", "entityId"),
            sb_status=attribute(block, "SBStatusRef", "entityId"),
            title=text(block, "SBTitle"),
            executions=tuple(
                Execution(text(e, "AsdmRef/ExecBlockId"), text(e, "AsdmDiskName"))
                for e in children(block, "AsdmIdentifier")
            ),
        )
        for block in children(data_set, "SchedBlockSet/SchedBlockIdentifier")
    )


def _vla_blocks(data_set: Element) -> tuple[DataBlock, ...]:
    names = ["".join(holder.itertext()).strip() for holder in children(data_set, "SdmIdentifier")]
    return (DataBlock(text(data_set, "RelativePath"), tuple(Execution(name, name) for name in names)),)


@dataclass(frozen=True)
class Procedure:
    """A title and its commands, as a pipeline ships them beside its recipes."""

    title: str
    commands: tuple[Command, ...]


def read_procedure(path: Path) -> Procedure:
    """Read a procedure file of a pipeline, such as ``procedure_hifa_image.xml``.

    Raises
    ------
    FormatError
        No procedure, or a template whose sections are still to be filled in.
    """
    data = path.read_bytes()
    if b"{{" in data:
        raise FormatError(f"{path}: is a template; fill in its {{{{sections}}}} first")
    top = read_xml(data, str(path), "ProcessingProcedure", None)
    procedure = Procedure(text(top, "ProcedureTitle"), _commands(top))
    if not procedure.commands:
        raise FormatError(f"{path}: has no commands; expected a pipeline procedure")
    return procedure


def read_intents_file(path: Path) -> tuple[tuple[str, str], ...]:
    """Read an intents file of a pipeline, such as ``intents_hifa.xml``."""
    return read_intents(read_xml(path.read_bytes(), str(path), "ProcessingIntents", None))


def write_request(request: Request) -> bytes:
    """The document of a request, UTF-8, in the order of the public example; the same request, the same bytes."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<SciPipeRequest xmlns="{NAMESPACE}"',
        '    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="SciPipeRequest">',
        '  <SciPipeRequestEntity entityId="UID_UNASSIGNED" entityTypeName="SciPipeRequest" datamodelVersion="0.1"/>',
        *_plain("ProjectSummary", _SUMMARY, request.summary),
        *([] if request.structure is None else _structure_lines(request.structure)),
        "  <ProcessingRequests>",
        "    <ProcessingRequest>",
        "      <ProcessingIntents>",
        *(line for keyword, value in request.intents for line in _pair("Intents", keyword, value, 8)),
        "      </ProcessingIntents>",
        "      <ProcessingProcedure>",
        f"        <ProcedureTitle>{escape(request.title)}</ProcedureTitle>",
        *(line for command in request.commands for line in _command_lines(command)),
        "      </ProcessingProcedure>",
        *_data_lines(request),
        "    </ProcessingRequest>",
        "  </ProcessingRequests>",
        *_plain("ResultsProcessing", _RESULTS, request.results),
        "</SciPipeRequest>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _plain(holder: str, elements: tuple[str, ...], values: ProjectSummary | ResultsProcessing) -> list[str]:
    """A holder of leaves without a namespace, one for each field of `values`."""
    texts = [getattr(values, field.name) for field in fields(values)]
    leaves = [f'    <{e} xmlns="">{escape(t)}</{e}>' for e, t in zip(elements, texts, strict=True)]
    return [f"  <{holder}>", *leaves, f"  </{holder}>"]


def _pair(holder: str, keyword: str, value: str, indent: int) -> list[str]:
    pad = " " * indent
    return [
        f"{pad}<{holder}>",
        f'{pad}  <Keyword xmlns="">{escape(keyword)}</Keyword>',
        f'{pad}  <Value xmlns="">{escape(value)}</Value>',
        f"{pad}</{holder}>",
    ]


def _reference(name: str, namespace: str, kind: str, uid: str, part_id: str = "") -> str:
    part = f' partId="{escape(part_id)}"' if part_id else ""
    return f'<r:{name} xmlns:r="{namespace}" entityId="{escape(uid)}"{part} entityTypeName="{kind}"/>'


def _structure_lines(structure: ProjectStructure) -> list[str]:
    pad = " " * 6
    unit = _reference(
        "ObsUnitSetRef", "Alma/ObsPrep/ObsProject", "ObsProject", structure.project, structure.part_id
    )
    return [
        "  <ProjectStructure>",
        "    <AlmaStructure>",
        pad + unit,
        f'{pad}<ObsUnitSetTitle xmlns="">{escape(structure.title)}</ObsUnitSetTitle>',
        f'{pad}<ObsUnitSetType xmlns="">{escape(structure.kind)}</ObsUnitSetType>',
        pad
        + _reference(
            "ProjectStatusRef", "Alma/Scheduling/ProjectStatus", "ProjectStatus", structure.project_status
        ),
        pad + _reference("OUSStatusRef", "Alma/Scheduling/OUSStatus", "OUSStatus", structure.ous_status),
        "    </AlmaStructure>",
        "  </ProjectStructure>",
    ]


def _command_lines(command: Command) -> list[str]:
    pad = " " * 8
    head = [f"{pad}<ProcessingCommand>", f'{pad}  <Command xmlns="">{escape(command.name)}</Command>']
    if not command.parameters:
        return [*head, f"{pad}  <ParameterSet/>", f"{pad}</ProcessingCommand>"]
    pairs = [line for keyword, value in command.parameters for line in _pair("Parameter", keyword, value, 12)]
    return [*head, f"{pad}  <ParameterSet>", *pairs, f"{pad}  </ParameterSet>", f"{pad}</ProcessingCommand>"]


def _data_lines(request: Request) -> list[str]:
    pad = " " * 6
    if request.telescope is Telescope.VLA:
        body = [
            line
            for block in request.blocks
            for line in (
                f'{pad}  <RelativePath xmlns="">{escape(block.relative_path)}</RelativePath>',
                *(
                    f'{pad}  <SdmIdentifier xmlns="">{escape(e.disk_name)}</SdmIdentifier>'
                    for e in block.executions
                ),
            )
        ]
    else:
        blocks = [line for block in request.blocks for line in _block_lines(block)]
        body = [f"{pad}  <SchedBlockSet>", *blocks, f"{pad}  </SchedBlockSet>"]
    return [f"{pad}<DataSet>", *body, f"{pad}</DataSet>"]


def _block_lines(block: DataBlock) -> list[str]:
    pad = " " * 12
    return [
        f"{pad[:-2]}<SchedBlockIdentifier>",
        f'{pad}<RelativePath xmlns="">{escape(block.relative_path)}</RelativePath>',
        pad + _reference("SchedBlockRef", "Alma/ObsPrep/SchedBlock", "SchedBlock", block.sched_block),
        pad + _reference("SBStatusRef", "Alma/Scheduling/SBStatus", "SBStatus", block.sb_status),
        f'{pad}<SBTitle xmlns="">{escape(block.title)}</SBTitle>',
        *(line for execution in block.executions for line in execution_lines(execution, pad)),
        f"{pad[:-2]}</SchedBlockIdentifier>",
    ]


def execution_lines(execution: Execution, pad: str) -> list[str]:
    """The element of one execution block of ALMA."""
    return [
        f"{pad}<AsdmIdentifier>",
        f'{pad}  <v:AsdmRef xmlns:v="Alma/ValueTypes">',
        f"{pad}    <v:ExecBlockId>{escape(execution.uid)}</v:ExecBlockId>",
        f"{pad}  </v:AsdmRef>",
        f'{pad}  <AsdmDiskName xmlns="">{escape(execution.disk_name)}</AsdmDiskName>',
        f"{pad}</AsdmIdentifier>",
    ]
