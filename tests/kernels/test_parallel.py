"""The thread pool: several callers at once, errors, and processes that fork."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from cases import Shape, legacy_case, mwax_case

from mwaconvert import _core
from mwaconvert.errors import FormatError

SHAPE = Shape(n_time=3, n_coarse=3, n_fine=60, n_antenna=10, freq_factor=2, rotate=True, factors=True)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no affinity")
def test_available_threads():
    assert _core.available_threads() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("threads", [0, 2, 64])
def test_any_number_of_threads(threads):
    case = mwax_case(SHAPE)
    for one, other in zip(case.run(1), case.run(threads), strict=True):
        np.testing.assert_array_equal(one, other)


def together(calls):
    """Run callables in a thread each; their results, or the exceptions they raised."""
    results = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(k):
        barrier.wait()
        try:
            results[k] = calls[k]()
        except Exception as error:
            results[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_concurrent_calls():
    cases = [make(SHAPE, seed) for make in (mwax_case, legacy_case) for seed in (1, 2, 3)]
    expected = [case.run(1) for case in cases]
    for _ in range(5):
        for found, right in zip(together([lambda c=c: c.run(3) for c in cases]), expected, strict=True):
            for one, other in zip(found, right, strict=True):
                np.testing.assert_array_equal(one, other)


def test_an_error_reaches_its_own_caller_only():
    good, bad = mwax_case(SHAPE, 1), mwax_case(SHAPE, 2)
    bad.raw.handle.truncate(1000)
    expected = good.run(1)
    for _ in range(5):
        found = together([lambda: good.run(3), lambda: bad.run(3), lambda: good.run(2), lambda: bad.run(2)])
        assert [type(result) for result in found] == [tuple, FormatError, tuple, FormatError]
        for result in found[::2]:
            for one, other in zip(result, expected, strict=True):
                np.testing.assert_array_equal(one, other)


FORK = """
    import os, sys, threading
    import numpy as np
    from mwaconvert import _core

    w_m, start_hz = np.linspace(0, 999, 40).reshape(8, 5), np.linspace(1e8, 2e8, 6)

    def phasors():
        out = np.empty((8, 6, 5, 300), np.complex64)
        _core.antenna_phasors(w_m, start_hz, 1e4, False, out, 4)
        return out

    def check():
        assert np.array_equal(phasors(), expected)

    def fork(depth):
        child = os.fork()
        if child == 0:
            check()
            if depth > 1:
                fork(depth - 1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        check()

    expected = phasors()
"""

QUIET = "    fork(3)\n"

# Other threads are in the midst of calls while the main thread forks.
BUSY = """
    stop = threading.Event()

    def work():
        while not stop.is_set():
            check()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            fork(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
"""


@pytest.mark.parametrize("script", [QUIET, BUSY], ids=["quiet", "busy"])
def test_fork(script):
    warnings = ["-W", "error"] if script is QUIET else ["-W", "ignore"]  # Python warns of its own threads
    code = textwrap.dedent(FORK + script)
    done = subprocess.run(
        [sys.executable, *warnings, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
