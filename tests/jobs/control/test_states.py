"""The vocabulary is whole: every word has words beside it, every state can be left or is an end."""

import itertools

import pytest

from mwaconvert.jobs.control.states import ACTIVE, TERMINAL, Fault, Outcome, Role, Sending, State


@pytest.mark.parametrize("word", [*State, *Outcome, *Fault, *Sending])
def test_every_word_has_words_beside_it(word):
    assert len(word.words) > 3


def test_an_active_state_can_end_and_a_terminal_one_only_be_queued_or_expire():
    for state in ACTIVE:
        assert state.may_become(State.CANCELLED)
        assert state.may_become(State.FAILED)
    for before, after in itertools.product(TERMINAL, State):
        if before.may_become(after):
            assert after is State.QUEUED or (before, after) == (State.COMPLETED, State.EXPIRED)


def test_no_state_becomes_itself():
    assert not any(state.may_become(state) for state in State)


def test_a_role_holds_the_ones_before_it():
    assert Role.APPROVE.allows(Role.VIEW)
    assert Role.OPERATE.allows(Role.OPERATE)
    assert not Role.OPERATE.allows(Role.APPROVE)
