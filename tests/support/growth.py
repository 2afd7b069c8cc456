"""What processes hold while they run for hours: memory, files, threads; and whether it grows."""

import os
import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: what may come in an hour beside what a process settles to in its first minutes
MEMORY_PER_HOUR, MEMORY_AT_LEAST = 10e6, 8e6
HANDLES = 4


def processes(word):
    """(name, pid) of all whose arguments have this word: the services of a node by its configuration."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if word in words and "-I" not in words:
            runs = [w for w in words if w.endswith("processes.run")]
            found.append((words[words.index(runs[0]) + 1] if runs else "master", int(entry.name)))
    return found


def held(pid):
    """(bytes in memory, open files, threads); None if it has gone."""
    folder = Path(f"/proc/{pid}")
    try:
        memory = int((folder / "statm").read_text().split()[1]) * _PAGE
        return memory, sum(1 for _ in (folder / "fd").iterdir()), sum(1 for _ in (folder / "task").iterdir())
    except (OSError, IndexError):
        return None


class Growth(threading.Thread):
    """Looks at the processes of nodes, and at numbers of theirs, again and again."""

    def __init__(self, words, numbers, every_s):
        super().__init__(daemon=True)
        self._words, self._numbers, self._every_s = words, numbers, every_s
        self._over = threading.Event()
        self.held = defaultdict(list)  # by (name, pid): (s, bytes, files, threads)
        self.numbers = defaultdict(list)  # by name: (s, number)

    def run(self):
        while not self._over.wait(self._every_s):
            now = time.monotonic()
            for k, word in enumerate(self._words):
                for name, pid in processes(word):
                    if (found := held(pid)) is not None:
                        self.held[f"{name}{k or ''}", pid].append((now, *found))
            for name, number in self._numbers().items():
                self.numbers[name].append((now, number))

    def end(self):
        self._over.set()
        self.join()

    def table(self):
        """Lines, and what is wrong: of each process that lived long enough, from a quarter of its time on."""
        lines = [
            f"{'process':<20}{'hours':>6}{'MB':>8}{'':>8}{'MB/hour':>9}{'files':>7}{'':>5}{'threads':>9}{'':>5}"
        ]
        wrong = []
        for (name, _), rows in sorted(self.held.items()):
            settled = np.array(rows[len(rows) // 4 :])
            if len(settled) < 12:
                continue
            at, memory, files, threads = settled.T
            hours = (at[-1] - at[0]) / 3600
            rise = float(np.polyfit(at - at[0], memory, 1)[0] * (at[-1] - at[0]))
            first, last = (np.median(settled[k], axis=0)[1:] for k in (slice(0, 4), slice(-4, None)))
            lines.append(
                f"{name:<20}{hours:>6.2f}{first[0] / 1e6:>8.1f}{last[0] / 1e6:>8.1f}{rise / 1e6 / hours:>9.2f}"
                f"{first[1]:>7.0f}{last[1]:>5.0f}{first[2]:>9.0f}{last[2]:>5.0f}"
            )
            if rise > max(MEMORY_AT_LEAST, MEMORY_PER_HOUR * hours):
                wrong.append(f"{name}: {rise / 1e6:.0f} MB more in {hours:.2f} hours")
            if (
                files[-4:].min() > files[:4].max() + HANDLES
                or threads[-4:].min() > threads[:4].max() + HANDLES
            ):
                wrong.append(f"{name}: files or threads grow")
        for name, rows in sorted(self.numbers.items()):
            values = [number for _, number in rows]
            lines.append(f"{name:<20}first {values[0]:g}, most {max(values):g}, last {values[-1]:g}")
        return lines, wrong
