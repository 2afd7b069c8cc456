"""live decide and test-trigger: what candidates of ARTS would trigger, and a test of each way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.errors import InputError, ResourceError

if TYPE_CHECKING:
    from mwaconvert.live.criteria import Decision
    from mwaconvert.live.drill import Drill
    from mwaconvert.live.replay import Replay

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
#: exit code beside those of all verbs
NO_ANSWER = 1


@click.command(context_settings=SETTINGS)
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option(
    "--parset", required=True, type=_FILE, metavar="FILE", help="Configuration of a node or the master."
)
@click.option("--config", type=_FILE, metavar="FILE", help="Settings (YAML) that differ from the defaults.")
@click.option("--sources", "source_list", type=_FILE, metavar="FILE", help="Known sources (YAML).")
@click.option(
    "--galactic-dm",
    type=click.FloatRange(min=0),
    metavar="DM",
    help="Of the whole Galaxy in this direction. Without it nothing is taken for a new source.",
)
@click.option("--like", type=click.Choice(["darc"]), help="Cluster as DARC does, in boxes of time and DM.")
@click.option("--json", "as_json", is_flag=True, help="Print records as JSON, not a table.")
@verbose
def decide(
    files: tuple[Path, ...],
    parset: Path,
    config: Path | None,
    source_list: Path | None,
    galactic_dm: float | None,
    like: str | None,
    as_json: bool,
) -> None:
    """Judge files of candidates, CB00_step1.trigger and so on, as if they came in now; nothing is sent."""
    from mwaconvert.live.observation import read_observation
    from mwaconvert.live.replay import replay
    from mwaconvert.live.settings import Settings, read_settings
    from mwaconvert.live.sources import Sources, read_sources
    from mwaconvert.text import json_text, plain

    done = replay(
        files,
        read_observation(parset),
        read_settings(config) if config else Settings(),
        read_sources(source_list) if source_list else Sources(),
        galactic_dm,
        boxes=like is not None,
    )
    click.echo(json_text(plain(done.facts())) if as_json else "\n".join(_table(done)))


def _table(done: Replay) -> list[str]:
    from mwaconvert.live.criteria import Way
    from mwaconvert.live.gate import Admission
    from mwaconvert.text import plural

    lines = [
        f"{'arrival (UTC)':<23}{'CB':>3}{'SB':>4}{'DM':>9}{'S/N':>7}{'width':>7}{'members':>9}  source        "
        "IQUV            LOFAR           VOEvent"
    ]
    lines += [_row(decision) for decision in done.decisions]
    lines.append("")
    lines.append(f"{plural(done.n_rows, 'candidate')}, {plural(done.bad.count, 'bad line')}")
    lines += [f"  {example}" for example in done.bad.examples]
    if done.storms:
        lines.append(f"{plural(done.storms, 'storm')} of interference, {done.left_out} candidates left out")
    for way in Way:
        counts = Counter(decision.verdicts[way].reason for decision in done.decisions)
        lines.append(f"{way.value}:")
        lines += [f"  {n:>6}  {reason.value}" for reason, n in counts.most_common()]
    for out in done.outgoing:
        word = "would be sent" if out.admission is Admission.SEND else out.admission.value
        lines.append(f"{out.way.value}, {word}:")
        lines += [f"  {line}" for line in out.what.splitlines()]
    return lines


def _row(decision: Decision) -> str:
    from mwaconvert.text import utc_text

    cluster = decision.cluster
    verdicts = "".join(f"{v.reason.name.lower():<16}" for v in decision.verdicts.values())
    return (
        f"{utc_text(decision.arrival_s):<23}{decision.beam:>3}{cluster.beam:>4}{cluster.dm:>9.2f}{cluster.snr:>7.1f}"
        f"{cluster.width:>7}{cluster.n_members:>9}  {decision.source.name or 'new':<14}{verdicts}"
    ).rstrip()


@click.command("test-trigger", context_settings=SETTINGS)
@click.option("--voevent", metavar="HOST:PORT", help="A broker of VOEvents: its port for authors.")
@click.option("--lofar", metavar="HOST:PORT", help="The host that freezes LOFAR's buffers (UDP).")
@click.option("--dada", metavar="HOST:PORT", help="dada_dbevent; it dumps what it is sent, a test or not.")
@click.option("--kafka", metavar="HOST:PORT/TOPIC", help="A broker of Kafka and a topic of VOEvents.")
@click.option(
    "--kafka-options", type=_FILE, metavar="FILE", help="Options of librdkafka (YAML): TLS and the secret."
)
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 60), default=5.0, show_default=True)
@verbose
@click.pass_context
def test_trigger(
    context: click.Context,
    voevent: str | None,
    lofar: str | None,
    dada: str | None,
    kafka: str | None,
    kafka_options: Path | None,
    timeout_s: float,
) -> None:
    """Send one event marked as a test, and print it and the answer; exit code 1 without an answer."""
    import time
    from functools import partial

    from mwaconvert.live.drill import Target, drill, drill_kafka
    from mwaconvert.live.settings import host_port

    jobs: list[tuple[str, Callable[..., Drill]]] = []
    for target, where in ((Target.VOEVENT, voevent), (Target.LOFAR, lofar), (Target.DADA, dada)):
        if where is not None:
            jobs.append((f"{target.value} to {where}", partial(drill, target, *host_port(where))))
    if kafka is not None:
        servers, _, topic = kafka.partition("/")
        for server in servers.split(","):
            host_port(server)
        if not topic:
            raise InputError(f"--kafka {kafka}: expected HOST:PORT/TOPIC")
        jobs.append((f"Kafka to {kafka}", partial(drill_kafka, servers, topic, kafka_options)))
    if not jobs:
        raise InputError(
            "expected --voevent, --lofar or --dada with HOST:PORT, or --kafka with HOST:PORT/TOPIC"
        )
    answered = [_tried(what, partial(job, now_s=time.time(), timeout_s=timeout_s)) for what, job in jobs]
    context.exit(0 if all(answered) else NO_ANSWER)


def _tried(what: str, job: Callable[[], Drill]) -> bool:
    """Whether there was an answer; printed with what was sent."""
    try:
        done = job()
    except ResourceError as error:
        click.echo(f"answer      none: {error}")
        return False
    click.echo(f"sent        {what}")
    click.echo("\n".join(f"            {line}" for line in done.sent.splitlines()))
    click.echo(f"answer      {done.answer}")
    return done.answered


@click.command(context_settings=SETTINGS)
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--parset", required=True, type=_FILE, metavar="FILE", help="Configuration of the node.")
@click.option(
    "--filterbanks",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Folder of CB00_00.fil and so on.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of lists, counts and figures.",
)
@click.option("--config", type=_FILE, metavar="FILE", help="Settings (YAML) that differ from the defaults.")
@click.option(
    "--galactic-dm", type=click.FloatRange(min=0), metavar="DM", help="Figures show what is beyond it."
)
@verbose
def reprocess(
    files: tuple[Path, ...],
    parset: Path,
    filterbanks: Path,
    output: Path,
    config: Path | None,
    galactic_dm: float | None,
) -> None:
    """Cluster files of candidates of one beam, cut all out of filterbanks, judge and draw them, after the fact."""
    from dataclasses import replace

    from mwaconvert.live.observation import read_observation
    from mwaconvert.live.processing.cutter import reprocess as again
    from mwaconvert.live.settings import Settings, read_settings

    observation = replace(read_observation(parset), output_dir=output)
    settings = read_settings(config) if config else Settings()
    done = again(files, observation, settings, filterbanks, output, galactic_dm)
    click.echo(f"{'p':>5}{'S/N':>8}{'DM':>10}{'time_s':>12}{'width':>7}{'SB':>4}")
    for f in done.found:
        click.echo(f"{f.p:>5.2f}{f.snr:>8.2f}{f.dm:>10.2f}{f.time_s:>12.4f}{f.width:>7}{f.synthesised:>4}")
    for why, n in done.refused.items():
        click.echo(f"{n} left out: {why}")
    for note in done.notes:
        click.echo(note, err=True)
