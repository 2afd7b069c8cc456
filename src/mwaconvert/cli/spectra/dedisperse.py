"""The verb dedisperse: parse, call the library, print."""

from __future__ import annotations

from typing import Any

import click

from mwaconvert.cli.spectra import common
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.vocabulary.spectra import Verb


@click.command(
    "dedisperse",
    cls=common.SpectraCommand,
    params=common.parameters(Verb.DEDISPERSE),
    short_help="Dedisperse a filterbank at one DM.",
    context_settings=SETTINGS,
)
def dedisperse(**params: Any) -> None:
    """Dedisperse a filterbank of any format at one DM and average it.

    Channels are shifted by whole samples, towards the centre of the highest one, before they are averaged. A
    .npz has the arrays of CHIME/FRB's get_wfall.py (intensity, dt, df, dm, fbottom) and a few more.

    \b
    Examples:
      mwaconvert dedisperse burst.fil --dm 475.28 --nsub 64
          a waterfall of 64 sub-bands -> burst_dm475.28.npz
      mwaconvert dedisperse burst.fil --dm 475.28 -o burst.dat
          a time series for PRESTO, with its .inf
      mwaconvert dedisperse search.fits --dm 0 --tscrunch 4 -o search.fil
          only convert and average
    """
    asked = common.ask(Verb.DEDISPERSE, params)
    from mwaconvert.transients.products.dedisperse import plan_dedisperse
    from mwaconvert.transients.products.requests import DedisperseRequest

    assert isinstance(asked.request, DedisperseRequest)
    report = common.carry_out(asked, asked.request, plan_dedisperse)
    if report is not None and not asked.quiet:
        click.echo(f"{asked.request.target}")
        common.print_notes(Verb.DEDISPERSE, report.notes)
