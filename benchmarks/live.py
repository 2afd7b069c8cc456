"""The live services in numbers: latencies of a whole node, throughput of its parts, and the search without AMBER.

    python benchmarks/live.py [--pulses 200] [--only latency|parts|poll|search|recall]

Latency: from a line in a file to the text of an IQUV event at its receiver, and to a packet for LOFAR, through a whole
node of supervised processes, while candidates are cut out. What other programs on the machine take is in the wall
clock; processor time is told beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from mwaconvert.live.searching.feeds import Band

N_CHAN, DT_S, SIGMA, K = 1536, 81.92e-6, 20.0, 4148.808
FREQ_MHZ = 1219.7 + 300 / N_CHAN * (np.arange(N_CHAN) + 0.5)


def quantiles(name: str, seconds: list[float]) -> None:
    found = np.quantile(seconds, [0, 0.5, 0.99, 1])
    print(
        f"{name:<34} n {len(seconds)}, least, median, 99 %, most: "
        + ", ".join(f"{q:.3f}" for q in found)
        + " s"
    )


def latency(pulses: int) -> None:
    from live_node import Node, Receiver, Sky, wait_for

    from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
    from mwaconvert.services.live.operator import ask
    from mwaconvert.services.live.wire.messages import Switch

    receiver = Receiver()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        banks = folder / "obs" / "out" / "filterbank"
        banks.mkdir(parents=True)
        n_chan = 128  # so that minutes of data are made quickly
        noise = np.random.default_rng(1).integers(100, 150, (n_chan, 1 << 16)).astype(np.uint8)
        freq_mhz = 1219.7 + 300 / n_chan * (np.arange(n_chan) + 0.5)
        with FilterbankWriter(banks / "CB00_00.fil", freq_mhz, DT_S, 8) as writer:
            for _ in range(4 + pulses // 6):
                writer.write(noise)
        limits = {"per_hour": 100000, "per_source_per_day": 100000, "interval": 0}
        extractor = {"extractor": {"delay": 0, "snr_min_local": 0}, "interval": 0.1}
        with Node(folder, receiver, lofar_trigger=limits, processor=extractor) as node:
            ask(node.site, Switch(way="lofar", wanted="test", who="benchmark"))
            sky = Sky(folder / "obs", start_s=time.time() - 5, duration_s=60 + 10 * pulses)
            node.ask("start_observation", payload=sky.path)
            wait_for(lambda: list((node.site.state / "chain").glob("*.jsonl")))
            to_iquv, to_lofar = [], []
            for k in range(pulses):
                n, m = len(receiver.events), len(receiver.packets)
                at_s = time.time()
                sky.pulse(dm=300.0 + 37 * (k % 60), width=10, age_s=0.1)
                wait_for(lambda n=n: len(receiver.events) > n, every_s=0.0005)
                to_iquv.append(receiver.at_s[n] - at_s)
                wait_for(lambda m=m: len(receiver.packets) > m, every_s=0.0005)
                to_lofar.append(time.time() - at_s)
                time.sleep(0.6)
            numbers = node.status()["services"]["processor"]["numbers"]
    receiver.close()
    quantiles("line to IQUV event", to_iquv)
    quantiles("line to LOFAR packet", to_lofar)
    print(f"meanwhile cut out: {numbers}")


def best_s(job, times: int = 5) -> tuple[float, float]:
    """Least wall and processor time."""
    wall, cpu = [], []
    for _ in range(times):
        a, b = time.perf_counter(), time.process_time()
        job()
        wall.append(time.perf_counter() - a)
        cpu.append(time.process_time() - b)
    return min(wall), min(cpu)


def parts() -> None:
    from mwaconvert.live.amber import ROW, AmberFiles
    from mwaconvert.live.clusters import StreamClusters
    from mwaconvert.live.searching.realtime import HEADER

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "CB00_step1.trigger"
        lines = (
            f"{i % 71} 97 {i} 10 2 {i * 1e-4:.6g} {i % 2000} {20 + i % 500 * 0.2:.6g} 3 {10 + i % 7}.5\n"
            for i in range(500_000)
        )
        path.write_text(HEADER + "".join(lines))

        def read() -> None:
            files, n = AmberFiles(Path(name), 0), 0
            while rows := files.read().rows.size:
                n += rows
            files.close()
            assert n == 500_000

        wall, cpu = best_s(read)
        print(f"lines followed and parsed: {0.5 / wall:.2f} million/s ({0.5 / cpu:.2f} by processor time)")
    chance = np.random.default_rng(1)
    for dm_high in (100, 500, 2000):
        rows = np.zeros(100_000, ROW)
        rows["time_s"], rows["dm"] = chance.uniform(10, 11, rows.size), chance.uniform(5, dm_high, rows.size)
        rows["snr"] = chance.uniform(8, 20, rows.size)
        rows["width"] = chance.choice([1, 5, 10, 25, 50, 100, 250, 500, 1000], rows.size)
        rows["beam"] = chance.integers(0, 71, rows.size)
        wall, cpu = best_s(lambda rows=rows: StreamClusters().add(rows))
        print(
            f"100 000 candidates of a second, DM 5 to {dm_high}: {wall * 1e3:.0f} ms ({cpu * 1e3:.0f} by processor time)"
        )

    synthesis(chance)


def synthesis(chance: np.random.Generator) -> None:
    """A synthesised beam of a page of 1.024 s: 1536 channels, 32 subbands of eight tied-array beams."""
    from live_twins import synthesise

    from mwaconvert import _core

    beams = chance.integers(0, 255, (8, N_CHAN, 12500)).astype(np.uint8)
    subbands = np.arange(32) // 4
    out = np.empty(beams.shape[1:], np.uint8)

    def kernel() -> None:
        for tab in range(8):
            _core.take_subbands(beams[tab], subbands, tab, out)

    wall, cpu = best_s(kernel)
    twin, _ = best_s(lambda: synthesise(beams, subbands))
    print(
        f"a synthesised beam of 1.024 s: {wall * 1e3:.1f} ms ({cpu * 1e3:.1f} by processor time); "
        f"{twin * 1e3:.1f} ms in numpy"
    )


def poll_nodes() -> None:
    """Forty masters in one process, half of which do not answer."""
    import asyncio
    import socket

    from mwaconvert.services.live.operator import poll
    from mwaconvert.services.live.wire.keys import Peer, new_key
    from mwaconvert.services.live.wire.link import serve
    from mwaconvert.services.live.wire.messages import Message, Reply, Role

    peer = Peer("status", new_key(), Role.VIEW)

    async def answering(link):
        while (message := await link.receive()) is not None:
            reply = Reply(status="Success", message={"services": {}})
            link.send(Message(sender="node", to="status", body=reply, id=message.id))

    async def job(n_silent: int) -> float:
        servers = [
            await serve("127.0.0.1", 0, "node", {"status": peer}, answering) for _ in range(40 - n_silent)
        ]
        silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_silent)]
        ports = [s.sockets[0].getsockname()[1] for s in servers] + [s.getsockname()[1] for s in silent]
        begun = time.perf_counter()
        await poll({str(port): f"127.0.0.1:{port}" for port in ports}, peer)
        took = time.perf_counter() - begun
        for s in (*servers, *silent):
            s.close()
        await asyncio.sleep(0.1)  # so that what was silent hangs up
        return took

    for n_silent in (0, 20, 40):
        print(f"40 nodes asked, {n_silent} of them silent: {asyncio.run(job(n_silent)):.2f} s")


class Noise:
    """A feed of noise, as long as one likes, in which pulses may be: (time, DM, width in samples, S/N)."""

    lost = 0

    def __init__(self, seconds: float, pulses: tuple[tuple[float, float, int, float], ...] = ()) -> None:
        self._chance = np.random.default_rng(1)
        self._piece = self._chance.normal(128, SIGMA, (N_CHAN, 1 << 15)).clip(0, 255).astype(np.uint8)
        self._n = int(seconds / DT_S)
        self._pulses = [self._made(*pulse) for pulse in pulses]

    def _made(self, at_s: float, dm: float, width: int, snr: float) -> tuple[np.ndarray, np.ndarray]:
        """First sample in each channel, and what is added there: whole numbers, of the right mean."""
        start = np.rint((at_s + K * dm * (FREQ_MHZ**-2 - FREQ_MHZ[-1] ** -2)) / DT_S).astype(int)
        height = snr * SIGMA / np.sqrt(N_CHAN * width)
        return start, np.floor(height + self._chance.random((N_CHAN, width))).astype(int)

    def band(self) -> Band:
        return Band(FREQ_MHZ, DT_S, None)

    def take(self, first: int, most: int) -> np.ndarray | None:
        """Each piece begins somewhere else, so that noise does not repeat in step."""
        n = min(most, self._n - first, 1 << 14)
        if n <= 0:
            return None
        begin = (first * 7919) % (1 << 14)
        data = self._piece[:, begin : begin + n].copy()
        for start, heights in self._pulses:
            for k in range(heights.shape[1]):
                at = start + k - first
                rows = np.flatnonzero((at >= 0) & (at < n))
                data[rows, at[rows]] = (data[rows, at[rows]] + heights[rows, k]).clip(0, 255)
        return data


def search_speed() -> None:
    from mwaconvert.live.searching.realtime import Plan, stream_search

    print("1536 channels, 81.92 us, 8 bit; two threads")
    for dm_max, width, loss in ((1638, 4, 0.02), (3000, 8, 0.05), (6757, 8, 0.05)):
        cpu = time.process_time()
        plan = Plan(dm_max=dm_max, width_min=width, loss=loss, segment_s=4.096, threads=2)
        done = stream_search(Noise(25.0), plan, idle_s=0.01, on_candidates=lambda *_: None)
        cpu = (time.process_time() - cpu) / 2
        print(
            f"DM 0 to {dm_max}, pulses of {width} samples or more, at most {done.loss:.1%} of the S/N lost: "
            f"{done.speed:.2f} s of data a second ({done.data_s / cpu:.2f} by the processor time of two cores)",
            flush=True,
        )


def recall() -> None:
    """Pulses that were put in, by S/N; and what was found that is none."""
    from mwaconvert.live.searching.realtime import Plan, stream_search

    chance = np.random.default_rng(7)
    print("20 pulses of 8 to 64 samples, DM 30 to 450, in 31 s; threshold 8")
    print(f"{'S/N put in':>10} {'found':>6} {'recall':>7} {'false':>6}")
    for snr in (8.0, 9.0, 10.0, 12.0, 15.0):
        pulses = tuple(
            (1.0 + 1.45 * k, float(chance.uniform(30, 450)), int(chance.choice([8, 16, 32, 64])), snr)
            for k in range(20)
        )
        found: list[tuple[float, float]] = []

        def take(_: int, candidates: list, found: list = found) -> None:
            found.extend((c.time_s, c.dm) for c in candidates)

        plan = Plan(dm_max=500, threshold=8.0, segment_s=4.096, threads=2)
        stream_search(Noise(31.0, pulses), plan, idle_s=0.01, on_candidates=take)
        hits = sum(any(abs(t - at) < 0.03 and abs(d - dm) < 30 for t, d in found) for at, dm, *_ in pulses)
        false = sum(not any(abs(t - at) < 0.1 for at, *_ in pulses) for t, _ in found)
        print(f"{snr:>10.0f} {hits:>6} {hits / 20:>7.0%} {false:>6}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pulses", type=int, default=200)
    parser.add_argument("--only", choices=["latency", "parts", "poll", "search", "recall"])
    given = parser.parse_args()
    jobs = {
        "latency": lambda: latency(given.pulses),
        "parts": parts,
        "poll": poll_nodes,
        "search": search_speed,
        "recall": recall,
    }
    for name, job in jobs.items():
        if given.only in (None, name):
            job()


if __name__ == "__main__":
    main()
