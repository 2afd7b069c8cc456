"""Write options.md from the table of the command line: python docs/make_options.py"""

from pathlib import Path

import click

from mwaconvert.cli.main import main
from mwaconvert.vocabulary.options import GROUPS, PEERS, REFUSED, Spec
from mwaconvert.vocabulary.request import PRESETS

_OF_FILTERBANKS = ("dedisperse", "search", "waterfall", "inject", "period", "fold", "fil-info")

HEAD = """# Options of `mwaconvert convert`

Written by `docs/make_options.py` from the table of the command line. The first name is ours; the others are what
Birli, cotter, hyperdrive and the ASVO's job keys of any era call the same thing. Dashes and underscores inside a name
may be left out or exchanged: `--norfi`, `--no-rfi` and `--no_rfi` are one name. After `--like cotter`, long names
may have one dash (`-timeres 8`). An option that does not exist is an error; two that contradict each other too.

Times are in seconds and widths in kHz unless a unit follows the number (`500ms`, `0.04MHz`). Lists are `1,2,5-7`;
numbers separated by blanks belong to them too. Indices count from 0.
"""


def options_page() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for group, specs in GROUPS.items():
        parts.append(f"\n## {group}\n\n| option | also | used by | |\n|---|---|---|---|\n")
        parts += [_row(spec) for spec in specs]
    parts.append("\n## Presets\n\n`--like NAME` changes these defaults; options given explicitly win.\n\n")
    parts.append("| setting | " + " | ".join(PRESETS) + " |\n|---|" + "---|" * len(PRESETS) + "\n")
    for field in dict.fromkeys(field for preset in PRESETS.values() for field in preset):
        cells = " | ".join(str(preset.get(field, "as ours")) for preset in PRESETS.values())
        parts.append(f"| `{field}` | {cells} |\n")
    parts.append("| `flag_autos` | as ours | in measurement sets, not in uvfits |\n")
    parts.append("| flag files | none are read | where there are any, interference is not looked for |\n")
    parts.append("| coarse channels | from the first to the last that has files, gaps flagged | same |\n")
    parts.append("| output | as ours | `preprocessed.ms` |\n")
    parts.append("\n## Refused\n\n| option | why |\n|---|---|\n")
    parts += [f"| `{name}` | {why} |\n" for name, why in REFUSED.items()]
    parts.append(
        "\nCotter's `-h` (header file) prints help here; all metadata come from the metafits file.\n"
        "Of hyperdrive's passbands, `empirical` and `levine` are refused: they are tables of 40 kHz channels.\n"
    )
    parts.append(
        "\n# Options of the verbs for filterbanks\n\nFormats and examples: [transients.md](transients.md).\n"
    )
    parts += [_verb(name) for name in _OF_FILTERBANKS]
    return "".join(parts)


def _verb(name: str) -> str:
    """The options of a verb that click declares, as a table; as the command line gives them, with those of all verbs."""
    command = main.get_command(click.Context(main), name)
    rows = []
    for param in command.params:
        if isinstance(param, click.Option):
            names = ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
            value = f" {param.metavar}".replace("|", "\\|") if param.metavar and not param.is_flag else ""
            rows.append(f"| {names}{value} | {(param.help or '').replace('<', '&lt;')} |\n")
    return f"\n## `mwaconvert {command.name}`\n\n| option | |\n|---|---|\n" + "".join(rows)


def _row(spec: Spec) -> str:
    ours = [name for name in spec.names if not name.startswith("--")]
    ours.append(next(name for name in spec.names if name.startswith("--")))
    others = ", ".join(f"`{name}`" for name in spec.names if name not in ours)
    value = f" {spec.metavar}".replace("|", "\\|") if spec.metavar else ""
    peers = ", ".join(PEERS[letter] for letter in spec.peers)
    return f"| {', '.join(f'`{n}`' for n in ours)}{value} | {others} | {peers} | {spec.help.replace('<', '&lt;')} |\n"


if __name__ == "__main__":
    Path(__file__).with_name("options.md").write_text(options_page(), encoding="utf-8")
