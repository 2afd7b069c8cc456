"""The verb inject: parse, call the library, print."""

from __future__ import annotations

from typing import Any

import click

from mwaconvert.cli.spectra import common
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.vocabulary.spectra import Verb


@click.command(
    "inject",
    cls=common.SpectraCommand,
    params=common.parameters(Verb.INJECT),
    short_help="Add pulses to a filterbank, to see what a search finds.",
    context_settings=SETTINGS,
)
def inject(**params: Any) -> None:
    """Add pulses of random time, DM, width and strength to spectra of any format.

    S/N is that of the matched filter, in the noise that each channel has over the file. Values of 8 bits are rounded
    at random, so that weak pulses keep their strength.

    \b
    Examples:
      mwaconvert inject noise.fil --dm-range 50 500 --pulses 20
          20 pulses -> noise_injected.fil, and the truth in noise_injected.csv
    """
    asked = common.ask(Verb.INJECT, params)
    from mwaconvert.transients.products.inject import plan_inject
    from mwaconvert.transients.products.requests import InjectRequest

    assert isinstance(asked.request, InjectRequest)
    report = common.carry_out(asked, asked.request, plan_inject)
    if report is not None and not asked.quiet:
        for file in report.outputs:
            click.echo(f"{file.path}")
        common.print_notes(Verb.INJECT, report.notes)
