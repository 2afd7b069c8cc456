"""The verb period: parse, call the library, print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.spectra import common
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.vocabulary.spectra import Verb

if TYPE_CHECKING:
    from mwaconvert.transients.periodicity.candidate import PeriodCandidate
    from mwaconvert.transients.products.period_requests import PeriodRequest
    from mwaconvert.transients.products.report import ProductReport

_SHOWN = 20


@click.command(
    "period",
    cls=common.SpectraCommand,
    params=common.parameters(Verb.PERIOD),
    short_help="Search a filterbank for periods.",
    context_settings=SETTINGS,
)
def period(**params: Any) -> None:
    """Search a filterbank, or a dedispersed series, for what repeats.

    At each DM there are two searches: spectra with sums of up to 16 harmonics, and the fast folding algorithm for long
    periods. Trials of one period, its harmonics and neighbouring DMs are one candidate, which is folded. Periods are
    those at the telescope; those at the barycentre are told where the file names telescope and direction.

    \b
    Examples:
      mwaconvert period pulsar.fil --dm-range 0 100 -o periods.csv --plots folds/
          pulsars of 1 ms to 10 s, a table and a fold of each
      mwaconvert period pulsar.dat
          a series that is dedispersed
      mwaconvert period pulsar.fil --dm-range 20 30 --method ffa --ffa-min 0.1 --period-max 30
          slow pulsars only
    """
    asked = common.ask(Verb.PERIOD, params)
    from mwaconvert.transients.products.period_requests import PeriodRequest
    from mwaconvert.transients.products.periods import plan_period

    assert isinstance(asked.request, PeriodRequest)
    for request in common.each_observation(Verb.PERIOD, asked.request, asked.quiet):
        report = common.carry_out(asked, request, plan_period)
        if report is not None and not asked.quiet:
            _print(request, report)


def _print(request: PeriodRequest, report: ProductReport) -> None:
    from mwaconvert.text import plural
    from mwaconvert.transients.periodicity.candidate import PeriodCandidate

    found = [c for c in report.candidates if isinstance(c, PeriodCandidate)]
    numbers = report.numbers
    click.echo(
        f"{plural(len(found), 'candidate')} above S/N {request.threshold:g}; {plural(numbers['n_dms'], 'DM')} from "
        f"{numbers['dm_min']:g} to {numbers['dm_max']:g}; periods from {numbers['period_min_s']:g} to "
        f"{numbers['period_max_s']:g} s"
    )
    _print_table(found[:_SHOWN])
    if len(found) > _SHOWN:
        click.echo(f"... and {len(found) - _SHOWN} more" + ("" if request.output else "; write all with -o"))
    if request.plots is not None and len(found) > request.max_plots:
        click.echo(f"note: figures of the best {request.max_plots} only; see --max-plots", err=True)
    common.print_notes(Verb.PERIOD, report.notes)


def _print_table(candidates: Sequence[PeriodCandidate]) -> None:
    if not candidates:
        return
    barycentric = not math.isnan(candidates[0].period_barycentric_s)
    head = f"{'period (s)':>26}  {'DM (pc/cm^3)':>18}  {'S/N':>6}  width (ms)  log10 FAP  found by"
    click.echo(head + ("  barycentric (s)" if barycentric else "") + "  flags")
    for c in candidates:
        row = (
            f"{c.period_s:>14.9f} +- {c.period_err_s:<8.2g} {c.dm:>9.3f} +- {c.dm_err:<6.3f} {c.snr:>6.1f}  "
            f"{1e3 * c.width_s:>10.4g}  {c.log10_fap:>9.1f}  {' '.join(c.methods):>8}"
        )
        if barycentric:
            row += f"  {c.period_barycentric_s:>15.9f}"
        click.echo(f"{row}  {' '.join(c.flags)}".rstrip())
