"""How long jobs take, about."""

import pytest

from mwaconvert.jobs.control.limits import NO_LIMIT, Capacity, Usage, refusal
from mwaconvert.jobs.control.work import NO_QUOTAS, Estimate
from mwaconvert.jobs.workflows import timing
from mwaconvert.text import about_text, took_text


def test_a_conversion_takes_longer_the_more_there_is_to_do():
    gigabyte = 10**9
    small = timing.conversion_s(gigabyte, gigabyte // 10, detects_rfi=False, threads=2)
    assert timing.conversion_s(0, 0, detects_rfi=True, threads=1) < small
    assert small < timing.conversion_s(gigabyte, gigabyte // 10, detects_rfi=True, threads=2)
    assert small < timing.conversion_s(gigabyte, gigabyte, detects_rfi=False, threads=2)
    assert small < timing.conversion_s(gigabyte, gigabyte // 10, detects_rfi=False, threads=1)


def test_the_work_of_the_readme():
    """2.1 GB of an MWAX observation with detection, 2 threads, from memory: 1.7 s; from a disk it is read twice."""
    assert 1.7 < timing.conversion_s(2_100_000_000, 51_200_000, detects_rfi=True, threads=2) < 30


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "about 1 s"), (80, "about 80 s"), (200, "about 3 min"), (7300, "about 2 h"), (4e5, "about 5 d")],
)
def test_words(seconds, text):
    assert about_text(seconds) == text


def test_took():
    assert [took_text(s) for s in (None, 0.41, 12, 185, 7440, 266400)] == [
        "", "0.4 s", "12 s", "3 min 5 s", "2 h 4 min", "3 d 2 h",
    ]  # fmt: skip


def test_a_job_that_would_take_too_long_is_refused_with_the_numbers():
    needs = Estimate(time_s=100_000)
    assert refusal(needs, Usage(), NO_QUOTAS, NO_LIMIT) is None
    said = refusal(needs, Usage(), NO_QUOTAS, Capacity(time_s=36_000))
    assert said == "the job needs about 27.8 hours, more than the 10 hours that a job may take"
