"""The table of the ASVO's words, both ways."""

import pytest

from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.jobs.workflows.site import local_site
from mwaconvert.services.asvo.words import KINDS, STEPS, Word, iso, meaning_of, needs_numbers, word_of


def test_every_state_and_step_has_a_word_and_the_word_leads_back(tmp_path):
    kinds = workflows(local_site([], tmp_path))
    steps = {part.name for kind in KINDS for part in kinds[kind].parts}
    assert steps <= set(STEPS)
    for state in State:
        for step in [None, *steps] if state is State.RUNNING else [None]:
            meaning = meaning_of(word_of(state, step))
            assert meaning is not None
            found, its_steps = meaning
            assert found is state
            assert step in its_steps or not its_steps


def test_every_word_leads_to_itself_or_nowhere():
    unused = set()
    for word in Word:
        meaning = meaning_of(word)
        if meaning is None:
            unused.add(word)
            continue
        state, steps = meaning
        assert {word_of(state, step) for step in steps or {None}} == {word}
    assert unused == {Word.PREPARING, Word.STAGED, Word.IMAGING}


@pytest.mark.parametrize(
    ("state", "step", "number"),
    [(State.QUEUED, None, 0), (State.RUNNING, "convert", 1), (State.COMPLETED, None, 2), (State.FAILED, None, 3),
     (State.EXPIRED, None, 4), (State.CANCELLED, None, 5)],
)  # fmt: skip
def test_numbers_of_old_clients(state, step, number):
    assert word_of(state, step).number == number


@pytest.mark.parametrize(
    ("client", "old"),
    [
        ("mantaray-clientv1.2", True),
        ("mantaray-clientv2.0", False),
        ("giant-squidv2.5.1", False),
        ("", False),
    ],
)
def test_which_clients_are_old(client, old):
    assert needs_numbers(client) is old


def test_times_always_have_microseconds():
    assert iso(1_800_000_000.0) == "2027-01-15T08:00:00.000000"
    assert iso(None) is None
