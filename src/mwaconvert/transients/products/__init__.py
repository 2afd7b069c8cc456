"""Transient work as work: a request becomes files and a report.

A request is a frozen set of options (`SearchRequest`, `PeriodRequest`, `FoldRequest`,
`DedisperseRequest`, `WaterfallRequest`, `InjectRequest`). `plan` decides what is
done and refuses what cannot be, without writing anything; `run` does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from mwaconvert.transients.products.period_requests import FoldRequest, PeriodRequest
from mwaconvert.transients.products.requests import (
    DedisperseRequest,
    Grouping,
    InjectRequest,
    SearchRequest,
    SpectraRequest,
    WaterfallRequest,
)

if TYPE_CHECKING:
    from mwaconvert.progress import Progress
    from mwaconvert.transients.products.dedisperse import DedispersePlan
    from mwaconvert.transients.products.fold import FoldPlan
    from mwaconvert.transients.products.inject import InjectPlan
    from mwaconvert.transients.products.periods import PeriodPlan
    from mwaconvert.transients.products.report import ProductReport
    from mwaconvert.transients.products.search import SearchPlan
    from mwaconvert.transients.products.waterfall import WaterfallPlan

__all__ = [
    "DedisperseRequest",
    "FoldRequest",
    "Grouping",
    "InjectRequest",
    "PeriodRequest",
    "SearchRequest",
    "SpectraRequest",
    "WaterfallRequest",
    "plan",
    "run",
]


Plan: TypeAlias = "SearchPlan | DedispersePlan | WaterfallPlan | InjectPlan | PeriodPlan | FoldPlan"


def plan(request: SpectraRequest) -> Plan:
    """Decide how a request is carried out: its dry run.

    Parameters
    ----------
    request : what is asked for

    Returns
    -------
    SearchPlan, DedispersePlan, WaterfallPlan, InjectPlan, PeriodPlan or FoldPlan
        `lines` say what would be done, `memory_bytes` what it takes, `run` does it

    Raises
    ------
    InputError : a value that makes no sense, or an output that exists
    FormatError : the file is damaged
    """
    match request:
        case SearchRequest():
            from mwaconvert.transients.products.search import plan_search

            return plan_search(request)
        case DedisperseRequest():
            from mwaconvert.transients.products.dedisperse import plan_dedisperse

            return plan_dedisperse(request)
        case InjectRequest():
            from mwaconvert.transients.products.inject import plan_inject

            return plan_inject(request)
        case PeriodRequest():
            from mwaconvert.transients.products.periods import plan_period

            return plan_period(request)
        case FoldRequest():
            from mwaconvert.transients.products.fold import plan_fold

            return plan_fold(request)
        case WaterfallRequest():
            from mwaconvert.transients.products.waterfall import plan_waterfall

            return plan_waterfall(request)
    raise TypeError(f"{type(request).__name__} is not a request")


def run(request: SpectraRequest, progress: Progress | None = None) -> ProductReport:
    """Carry out a request.

    Parameters
    ----------
    request : what is asked for
    progress : told how far the work is

    Returns
    -------
    ProductReport

    Raises
    ------
    InputError : a value that makes no sense, or an output that exists
    FormatError : the file is damaged
    ResourceError : it takes more memory than is allowed, or an output cannot be written

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
    >>> with FilterbankWriter(Path("noise.fil"), 1200.0 + np.arange(8), 1e-3, 8) as writer:
    ...     writer.write(np.random.default_rng(1).normal(100, 10, (8, 1000)))
    >>> report = run(DedisperseRequest(path=Path("noise.fil"), dm=10))
    >>> report.outputs[0].path.name, report.numbers["n_sub"]
    ('noise_dm10.npz', 8)
    """
    return plan(request).run(progress)
