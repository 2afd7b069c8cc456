"""CASA: versions, starting it, judging how it ended, restores by its own tasks."""

from mwaconvert.archive.casa.outcome import Outcome, judge_pipeline_run, judge_restore
from mwaconvert.archive.casa.processes import CasaRun, delivery_run, request_run
from mwaconvert.archive.casa.versions import (
    CasaChoice,
    CasaVersion,
    Verdict,
    VersionTable,
    approved_casa,
    choose_casa,
    read_version_table,
)

__all__ = [
    "CasaChoice",
    "CasaRun",
    "CasaVersion",
    "Outcome",
    "Verdict",
    "VersionTable",
    "approved_casa",
    "choose_casa",
    "delivery_run",
    "judge_pipeline_run",
    "judge_restore",
    "read_version_table",
    "request_run",
]
