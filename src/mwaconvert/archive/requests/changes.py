"""What two requests differ in, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from difflib import SequenceMatcher

from mwaconvert.archive.requests.model import Command, Request

_WORDS = {
    "proposal_code": "proposal code",
    "processing_site": "processing site",
    "creation_time": "creation time",
    "part_id": "part id",
    "project_status": "project status",
    "ous_status": "member set",
    "kind": "kind of unit set",
    "archive_results": "archiving of results",
    "clean_up_disk": "cleaning of the disk",
    "update_project_life_cycle": "update of the project life cycle",
    "notify_operator_when_done": "notice to the operator",
    "operator_address": "address of the operator",
}


def changes(old: Request, new: Request) -> tuple[str, ...]:
    """One sentence for each change from `old` to `new`; empty if both ask for the same.

    Session intents are compared as sets of execution blocks, commands in their order.
    """
    return (
        *_fields_of(old.summary, new.summary),
        *_structures(old, new),
        *_executions(old, new),
        *_sessions(old, new),
        *_intents(old, new),
        *_changed("procedure", old.title, new.title),
        *_commands(old.commands, new.commands),
        *_blocks(old, new),
        *_fields_of(old.results, new.results),
        *_changed("number of processing requests", str(old.n_requests), str(new.n_requests)),
    )


def _changed(what: str, old: str, new: str) -> Iterator[str]:
    if old != new:
        yield f"{what} changed from '{old}' to '{new}'"


def _fields_of(old: object, new: object) -> Iterator[str]:
    for item in fields(old):  # type: ignore[arg-type]
        yield from _changed(
            _WORDS.get(item.name, item.name), getattr(old, item.name), getattr(new, item.name)
        )


def _structures(old: Request, new: Request) -> Iterator[str]:
    if old.structure is None or new.structure is None:
        if old.structure is not new.structure:
            yield "unit set " + ("added" if old.structure is None else "taken away")
        return
    yield from _fields_of(old.structure, new.structure)


def _executions(old: Request, new: Request) -> Iterator[str]:
    before = {execution.uid: execution.disk_name for execution in old.executions}
    after = {execution.uid: execution.disk_name for execution in new.executions}
    yield from (f"execution block {uid} added" for uid in after if uid not in before)
    yield from (f"execution block {uid} taken away" for uid in before if uid not in after)
    for uid, name in before.items():
        yield from _changed(f"name on disk of {uid}", name, after.get(uid, name))


def _sessions(old: Request, new: Request) -> Iterator[str]:
    before, after = old.sessions, new.sessions
    for number in sorted(before.keys() | after.keys()):
        name = f"session_{number}"
        if number not in before:
            yield f"{name} added" + (" (empty)" if not after[number] else "")
        elif number not in after:
            yield f"{name} taken away"
    homes_before = {uid: n for n, uids in before.items() for uid in uids}
    homes_after = {uid: n for n, uids in after.items() for uid in uids}
    for uid, home in homes_before.items():
        if uid in homes_after and homes_after[uid] != home:
            yield f"{uid} moved from session_{home} to session_{homes_after[uid]}"
    for number, uids in after.items():
        if number in before and set(before[number]) == set(uids) and before[number] != uids:
            yield f"order within session_{number} changed"


def _intents(old: Request, new: Request) -> Iterator[str]:
    before = {k: v for k, v in old.intents if not k.startswith("SESSION_")}
    after = {k: v for k, v in new.intents if not k.startswith("SESSION_")}
    yield from (f"intent {keyword} added ('{after[keyword]}')" for keyword in after if keyword not in before)
    yield from (f"intent {keyword} taken away" for keyword in before if keyword not in after)
    for keyword, value in before.items():
        yield from _changed(f"intent {keyword}", value, after.get(keyword, value))


def _commands(old: tuple[Command, ...], new: tuple[Command, ...]) -> Iterator[str]:
    names_old, names_new = [c.name for c in old], [c.name for c in new]
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, names_old, names_new, autojunk=False).get_opcodes():
        if tag == "equal":
            for before, after in zip(old[i1:i2], new[j1:j2], strict=True):
                yield from _parameters(before, after)
            continue
        yield from (f"command {c.name} (number {i1 + n}) taken away" for n, c in enumerate(old[i1:i2], 1))
        yield from (f"command {c.name} added as number {j1 + n}" for n, c in enumerate(new[j1:j2], 1))


def _parameters(old: Command, new: Command) -> Iterator[str]:
    before, after = dict(old.parameters), dict(new.parameters)
    for keyword in before | after:
        if keyword not in before:
            yield f"{new.name}: {keyword} added ('{after[keyword]}')"
        elif keyword not in after:
            yield f"{new.name}: {keyword} taken away"
        else:
            yield from _changed(f"{new.name}: {keyword}", before[keyword], after[keyword])


def _blocks(old: Request, new: Request) -> Iterator[str]:
    yield from _changed("number of scheduling blocks", str(len(old.blocks)), str(len(new.blocks)))
    for before, after in zip(old.blocks, new.blocks, strict=False):
        yield from _changed("relative path", before.relative_path, after.relative_path)
        yield from _changed("scheduling block", before.sched_block, after.sched_block)
        yield from _changed("scheduling block status", before.sb_status, after.sb_status)
        yield from _changed("scheduling block title", before.title, after.title)
