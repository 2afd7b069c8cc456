"""Pipeline processing requests (PPR): read, made, judged, compared, kept byte for byte."""

from mwaconvert.archive.requests.changes import changes
from mwaconvert.archive.requests.document import (
    Procedure,
    RequestDocument,
    read_intents_file,
    read_procedure,
    read_request,
    write_request,
)
from mwaconvert.archive.requests.making import (
    make_alma_request,
    make_vla_request,
    restore_first,
    restore_procedure,
    with_executions,
    with_parameter,
)
from mwaconvert.archive.requests.model import (
    Command,
    DataBlock,
    Execution,
    ProjectStructure,
    ProjectSummary,
    Purpose,
    Request,
    ResultsProcessing,
    Telescope,
    read_value,
)
from mwaconvert.archive.requests.traps import Problem, Trap, check, problems, sessions_as_read

__all__ = [
    "Command",
    "DataBlock",
    "Execution",
    "Problem",
    "Procedure",
    "ProjectStructure",
    "ProjectSummary",
    "Purpose",
    "Request",
    "RequestDocument",
    "ResultsProcessing",
    "Telescope",
    "Trap",
    "changes",
    "check",
    "make_alma_request",
    "make_vla_request",
    "problems",
    "read_intents_file",
    "read_procedure",
    "read_request",
    "read_value",
    "restore_first",
    "restore_procedure",
    "sessions_as_read",
    "with_executions",
    "with_parameter",
    "write_request",
]
