"""The verb search: parse, call the library, print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.progress import Progress
from mwaconvert.cli.spectra import common
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.vocabulary.spectra import Asked, Verb

if TYPE_CHECKING:
    from mwaconvert.spectra.candidate import Candidate
    from mwaconvert.transients.products.report import ProductReport
    from mwaconvert.transients.products.requests import SearchRequest

_SHOWN = 20
_MEASURES = {
    "mjd_barycentric": ("barycentric MJD (TDB), at infinite frequency", ".9f"),
    "flux_density_jy": ("flux densities (Jy)", ".4g"),
    "fluence_jy_ms": ("fluences (Jy ms)", ".4g"),
}


@click.command(
    "search",
    cls=common.SpectraCommand,
    params=common.parameters(Verb.SEARCH),
    short_help="Search a filterbank for dispersed pulses.",
    context_settings=SETTINGS,
)
def search(**params: Any) -> None:
    """Search a filterbank of any format for dispersed pulses.

    Long files are searched in segments whose length follows from the data and the DMs. Times are those of the
    middle of a pulse at the centre of the highest channel.

    \b
    Examples:
      mwaconvert search burst.fil --dm-range 0 1000 -o cands.csv --plots plots/
          all pulses above S/N 7, a table and a figure of each
      mwaconvert search burst.fil --dm-range 50 60 --width-min 1 --loss 0
          exact delays, for pulses of 1 ms and longer
      mwaconvert search wide.fil --dm-range 0 1000 --downsample
          longer samples and fewer DMs where a DM smears pulses within channels anyway
      mwaconvert search beam*.fil --beams --dm-range 0 1000 -o {name}.csv
          beams of one telescope: what is in many of them is flagged
    """
    asked = common.ask(Verb.SEARCH, params)
    from mwaconvert.transients.products.requests import SearchRequest
    from mwaconvert.transients.products.search import plan_search

    assert isinstance(asked.request, SearchRequest)
    if asked.request.beams:
        _search_beams(asked, asked.request)
        return
    for request in common.each_observation(Verb.SEARCH, asked.request, asked.quiet):
        report = common.carry_out(asked, request, plan_search)
        if report is not None and not asked.quiet:
            _print(request, report)


def _search_beams(asked: Asked, request: SearchRequest) -> None:
    """Search beams of one telescope, and print what was found in each."""
    from mwaconvert.transients.products.beams import plan_beams, search_beams

    with common.spoken(Verb.SEARCH):
        plans = plan_beams(request)
        if asked.dry_run:
            for plan in plans:
                common.print_lines(plan.lines())
            return
        with Progress(enabled=not asked.quiet) as stages:
            reports = search_beams(plans, stages)
    for plan, report in zip(plans, reports, strict=True):
        if not asked.quiet:
            click.echo(f"{plan.request.path}, beam {report.numbers['beam']}:")
            _print(plan.request, report)


def _print(request: SearchRequest, report: ProductReport) -> None:
    from mwaconvert.spectra.candidate import Candidate
    from mwaconvert.text import plural

    found, numbers = [c for c in report.candidates if isinstance(c, Candidate)], report.numbers
    click.echo(
        f"{plural(len(found), 'candidate')} above S/N {request.threshold:g}; {plural(numbers['n_dms'], 'DM')} from "
        f"{numbers['dm_min']:g} to {numbers['dm_max']:g}; loss against exact delays at most "
        f"{100 * numbers['loss']:.2g} %"
    )
    _print_table(found[:_SHOWN])
    for name, (words, form) in _MEASURES.items():
        if found and name in numbers:
            click.echo(f"{words}: {', '.join(format(value, form) for value in numbers[name][:_SHOWN])}")
    if len(found) > _SHOWN:
        click.echo(f"... and {len(found) - _SHOWN} more" + ("" if request.output else "; write all with -o"))
    if request.plots is not None and len(found) > request.max_plots:
        click.echo(f"note: figures of the best {request.max_plots} only; see --max-plots", err=True)
    common.print_notes(Verb.SEARCH, report.notes)


def _print_table(candidates: Sequence[Candidate]) -> None:
    if not candidates:
        return
    click.echo(
        f"{'time (s)':>22}  {'DM (pc/cm^3)':>18}  {'S/N':>6}  {'width (ms)':>16}  detections  score  flags"
    )
    for c in candidates:
        click.echo(
            f"{c.time_s:>12.5f} +- {c.time_err_s:<7.5f} {c.dm:>9.3f} +- {c.dm_err:<7.3f} {c.snr:>6.2f}  "
            f"{1e3 * c.width_s:>8.3f} +- {1e3 * c.width_err_s:<5.2g} {c.n_detections:>9}  "
            f"{'' if math.isnan(c.score) else f'{c.score:.2f}':>5}  {' '.join(c.flags)}".rstrip()
        )
