"""The verb fold: parse, call the library, print."""

from __future__ import annotations

import math
from typing import Any

import click

from mwaconvert.cli.spectra import common
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.vocabulary.spectra import Verb


@click.command(
    "fold",
    cls=common.SpectraCommand,
    params=common.parameters(Verb.FOLD),
    short_help="Fold a filterbank at a period.",
    context_settings=SETTINGS,
)
def fold(**params: Any) -> None:
    """Fold spectra of any format at a period and a DM, and draw them: profile, parts of time and band, S/N against
    period and DM. The period and DM at which the pulse is strongest are told.

    \b
    Examples:
      mwaconvert fold pulsar.fil --period 0.156384 --dm 57.1
          -> pulsar_fold.png
      mwaconvert fold pulsar.fil -p 156.384ms --dm 57.1 --barycentric --bins 128 -o fold.pdf --archive fold.npz
          a period of a catalogue; the parts as arrays too
    """
    asked = common.ask(Verb.FOLD, params)
    from mwaconvert.transients.products.fold import plan_fold
    from mwaconvert.transients.products.period_requests import FoldRequest

    assert isinstance(asked.request, FoldRequest)
    report = common.carry_out(asked, asked.request, plan_fold)
    if report is None or asked.quiet:
        return
    found = report.numbers
    dm_err = "" if math.isnan(found["dm_err"]) else f" +- {found['dm_err']:.3f}"
    click.echo(
        f"P = {found['period_s']:.12g} +- {found['period_err_s']:.2g} s, DM = {found['dm']:.3f}{dm_err} pc/cm^3, "
        f"S/N = {found['snr']:.2f}, width {1e3 * found['width_s']:.4g} ms"
    )
    if "period_barycentric_s" in found:
        click.echo(f"barycentric P = {found['period_barycentric_s']:.12g} s")
    for file in report.outputs:
        click.echo(f"{file.path}")
    common.print_notes(Verb.FOLD, report.notes)
