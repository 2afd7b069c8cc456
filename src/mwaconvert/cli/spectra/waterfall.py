"""The verb waterfall: parse, call the library, print."""

from __future__ import annotations

from typing import Any

import click

from mwaconvert.cli.spectra import common
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.vocabulary.spectra import Verb


@click.command(
    "waterfall",
    cls=common.SpectraCommand,
    params=common.parameters(Verb.WATERFALL),
    short_help="Draw waterfalls of pulses.",
    context_settings=SETTINGS,
)
def waterfall(**params: Any) -> None:
    """Draw the waterfalls of pulses, each below its profile, at a size for journals.

    Files of any format, and the .npz of `mwaconvert dedisperse` or CHIME/FRB's get_wfall.py. Masked samples are
    white. Masks by sum and variance look at the channels as they are in the file, before they are scaled.

    \b
    Examples:
      mwaconvert waterfall 145207799_wfall.npz --dm 87.81 -o 145207799_wfall.pdf
      mwaconvert waterfall a.npz b.npz c.npz --dm 87.76 --dm 87.86 --dm 87.81 --title 20200120E
          --title 20200718A --title 20201129A --label "(a)" --mask-sum 2 --mask-var 0.05 -o wfall.pdf
      mwaconvert waterfall burst.fil --dm 475.28 --nsub 84 --window 40 -o burst.png
    """
    asked = common.ask(Verb.WATERFALL, params)
    from mwaconvert.transients.products.requests import WaterfallRequest
    from mwaconvert.transients.products.waterfall import plan_waterfall

    assert isinstance(asked.request, WaterfallRequest)
    report = common.carry_out(asked, asked.request, plan_waterfall)
    if report is not None and not asked.quiet:
        click.echo(f"{asked.request.target}")
        common.print_notes(Verb.WATERFALL, report.notes)
