"""Run as a script by `execute`: sets the limits of this process, then becomes the program.

A process of its own, since code between fork and exec must not run in a program with threads. It uses the
standard library alone and starts in about 15 ms.
"""

import ctypes
import json
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """`launch.py LIMITS PROGRAM ARGUMENT...`, LIMITS being JSON: parent, group, cpus, memory, cpu_s, files."""
    wanted = json.loads(sys.argv[1])
    argv = sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != wanted["parent"]:
        sys.exit("the worker died before the program began")
    if wanted["group"]:
        procs = os.open(f"{wanted['group']}/cgroup.procs", os.O_WRONLY | os.O_CREAT)
        os.write(procs, b"0")
        os.close(procs)
    if wanted["cpus"]:
        os.sched_setaffinity(0, wanted["cpus"])
    # the worker watches what is resident and names the limit; this stops what grows faster than it looks
    for kind, value in (
        (resource.RLIMIT_DATA, wanted["memory"] and 2 * wanted["memory"]),
        (resource.RLIMIT_CPU, wanted["cpu_s"]),
        (resource.RLIMIT_NOFILE, wanted["files"]),
    ):
        if value is not None:
            hard = resource.getrlimit(kind)[1]
            allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
            # at the hard limit of CPU the kernel kills without a word; at the soft one it says why
            resource.setrlimit(kind, (allowed, allowed + 2 if kind == resource.RLIMIT_CPU else allowed))
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(126 if isinstance(error, PermissionError) else 127)


if __name__ == "__main__":
    main()
