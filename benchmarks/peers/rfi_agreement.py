"""Compare the RFI detection with AOFlagger's MWA strategy: flags on simulated baselines, and time.

    python benchmarks/peers/rfi_agreement.py                      print the tables
    python benchmarks/peers/rfi_agreement.py --update docs/rfi.md write them into the documentation

AOFlagger comes from PyPI: pip install mwaconvert[aoflagger] (Linux on x86-64).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.conversion.rfi.strategy import RfiStrategy, flag_baselines

try:
    import aoflagger
except ImportError:
    sys.exit("this comparison needs AOFlagger: pip install mwaconvert[aoflagger]")

Mask = npt.NDArray[np.bool_]
COARSE_MHZ = 1.28


@dataclass(frozen=True)
class Case:
    """One kind of simulated baseline. Amplitudes are in units of the noise of a real or imaginary part."""

    name: str
    n_time: int = 112
    width_khz: int = 40
    n_coarse: int = 24
    source: float = 0.0  #: amplitude of a point source away from the phase centre
    slope: float = 1.0  #: gain at the upper end of the band over that at the lower
    ripple: bool = False  #: shape of the coarse channels left uncorrected
    mask: tuple[str, ...] = ()  #: edges, quack, blocks, timestep, scattered
    rfi: tuple[str, ...] = field(default=())

    @property
    def n_fine(self) -> int:
        """Fine channels of a coarse channel."""
        return round(1e3 * COARSE_MHZ / self.width_khz)

    @property
    def n_chan(self) -> int:
        """Fine channels."""
        return self.n_coarse * self.n_fine


EDGES = ("edges", "quack")
GAPS = ("edges", "quack", "blocks", "timestep")
ALL_RFI = ("narrow", "broad", "transient", "persistent", "tv")
FIVE_RFI = ("drifting", "steps", "lightning", "intermittent", "saturating")
CASES = [
    Case("noise", 56),
    Case("noise", 240),
    Case("noise, edges flagged", 112, mask=EDGES),
    Case("noise, 10 kHz", 56, 10, mask=EDGES),
    Case("point source, fringes", 56, source=3.0, mask=EDGES),
    Case("strong point source", 112, source=40.0, mask=EDGES),
    Case("passband slope 3:1", 112, slope=3.0, mask=EDGES),
    Case("coarse passband uncorrected", 112, ripple=True, mask=EDGES),
    Case("narrow-band RFI", 112, source=2.0, mask=EDGES, rfi=("narrow",)),
    Case("narrow-band RFI, nothing flagged", 240, rfi=("narrow",)),
    Case("broad-band RFI", 112, source=2.0, mask=EDGES, rfi=("broad",)),
    Case("transient RFI", 112, source=2.0, mask=EDGES, rfi=("transient",)),
    Case("weak persistent RFI", 112, source=2.0, mask=EDGES, rfi=("persistent",)),
    Case("weak persistent RFI", 240, mask=EDGES, rfi=("persistent",)),
    Case("digital TV", 112, mask=EDGES, rfi=("tv",)),
    Case("all RFI", 56, source=2.0, mask=EDGES, rfi=ALL_RFI),
    Case("all RFI, slope", 240, source=2.0, slope=3.0, mask=EDGES, rfi=ALL_RFI),
    Case("all RFI, 10 kHz", 56, 10, source=2.0, mask=EDGES, rfi=ALL_RFI),
    Case("all RFI, 10 kHz", 120, 10, 12, source=2.0, slope=2.0, mask=EDGES, rfi=ALL_RFI),
    Case("noise, gaps", 112, mask=GAPS),
    Case("all RFI, gaps", 112, source=2.0, mask=GAPS, rfi=ALL_RFI),
    Case("all RFI, gaps", 240, source=2.0, ripple=True, mask=GAPS, rfi=ALL_RFI),
    Case("all RFI, gaps, 10 kHz", 56, 10, mask=GAPS, rfi=ALL_RFI),
    Case("all RFI, scattered cells missing", 112, source=2.0, mask=("edges", "scattered"), rfi=ALL_RFI),
    Case("drifting carriers", 112, source=2.0, mask=EDGES, rfi=("drifting",)),
    Case("digital TV in steps", 112, source=2.0, mask=EDGES, rfi=("steps",)),
    Case("lightning", 112, source=2.0, mask=EDGES, rfi=("lightning",)),
    Case("intermittent lines", 112, source=2.0, mask=EDGES, rfi=("intermittent",)),
    Case("saturating lines", 112, source=2.0, mask=EDGES, rfi=("saturating",)),
    Case("all five of these", 240, source=2.0, mask=EDGES, rfi=FIVE_RFI),
    Case("all five of these, 10 kHz", 56, 10, 6, source=2.0, mask=EDGES, rfi=FIVE_RFI),
]


def simulate(case: Case, seed: int) -> tuple[npt.NDArray[np.complex64], Mask, Mask]:
    """A baseline: vis (n_time, n_chan, 4), mask and injected RFI (n_time, n_chan)."""
    rng = np.random.default_rng([seed, *case.name.encode(), case.n_time, case.width_khz])
    shape = (case.n_time, case.n_chan)
    t, f = np.ogrid[: shape[0], : shape[1]]
    vis = rng.normal(size=(*shape, 4, 2)) @ [1, 1j]
    fringe = np.exp(
        2j * np.pi * (rng.uniform(-0.05, 0.05) * t + rng.uniform(-0.02, 0.02) * case.width_khz / 40 * f)
    )
    vis += case.source * fringe[..., None] * [1, 0.03, 0.03, 0.9]
    truth = np.zeros(shape, np.bool_)
    for kind in case.rfi:
        for event in OTHER_EVENTS[kind](case, rng) if kind in OTHER_EVENTS else events(kind, case, rng):
            turns = rng.uniform(-0.02, 0.02)
            products = rng.uniform(0.5, 1.5, 4) * np.exp(2j * np.pi * rng.random(4))
            for amplitude, cells in event:
                vis[cells] += amplitude * np.exp(2j * np.pi * turns * t[cells[0]])[..., None] * products
                truth[cells] = True
    gain = np.linspace(1, case.slope, shape[1])
    if case.ripple:
        inside = np.abs(np.arange(case.n_fine) - case.n_fine / 2) / (case.n_fine / 2)
        gain *= np.tile(1 / (1 + inside**12) ** 1.5, case.n_coarse)
    vis *= gain[:, None]
    mask = flagged_before(case, rng)
    vis[mask & ~edge_channels(case)] = 0
    return vis.astype(np.complex64), mask, truth


#: an event of interference: amplitudes, and where
Event = list[tuple[float, tuple[slice, slice]]]


def events(kind: str, case: Case, rng: np.random.Generator) -> list[Event]:
    """Events of interference, each a rectangle of cells."""
    n_time, n_chan, per_mhz = case.n_time, case.n_chan, 1e3 / case.width_khz
    found: list[Event] = []

    def add(low: float, high: float, duration: float, channels: float) -> None:
        length, width = max(1, round(duration)), max(1, round(channels))
        start, first = rng.integers(max(1, n_time - length + 1)), rng.integers(max(1, n_chan - width + 1))
        amplitude = low * (high / low) ** rng.random()
        found.append([(amplitude, np.s_[start : start + length, first : first + width])])

    if kind == "narrow":
        for _ in range(8):
            add(2, 30, n_time * rng.uniform(0.2, 1), rng.integers(1, 3))
    elif kind == "broad":
        for _ in range(5):
            add(2, 20, rng.integers(1, 3), per_mhz * rng.uniform(1, 10))
    elif kind == "transient":
        for _ in range(60):
            add(4, 40, rng.integers(1, 5), rng.integers(1, 5))
    elif kind == "persistent":
        for _ in range(6):
            add(0.7, 1.5, n_time, rng.integers(1, 4))
    else:
        for _ in range(2):
            add(0.8, 3, n_time * rng.uniform(0.1, 0.4), 7 * per_mhz)
    return found


def strength(low: float, high: float, rng: np.random.Generator) -> float:
    """An amplitude, all logarithms alike."""
    return float(low * (high / low) ** rng.random())


def drifting_carriers(case: Case, rng: np.random.Generator) -> list[Event]:
    """Lines of one or two channels that move by up to two channels a timestep."""
    found = []
    for _ in range(4):
        amplitude, width = strength(3, 30, rng), int(rng.integers(1, 3))
        first, speed = rng.integers(case.n_chan), rng.uniform(-2, 2)
        event: Event = []
        for k in range(case.n_time):
            channel = round(first + speed * k)
            if 0 <= channel < case.n_chan:
                event.append((amplitude, np.s_[k : k + 1, channel : channel + width]))
        found.append(event)
    return found


def tv_in_steps(case: Case, rng: np.random.Generator) -> list[Event]:
    """A channel of 7 MHz whose power goes up and down in steps."""
    width = round(7e3 / case.width_khz)
    first = int(rng.integers(max(1, case.n_chan - width + 1)))
    event: Event = []
    begin = int(rng.integers(case.n_time // 4))
    while begin < case.n_time:
        end = begin + 1 + int(case.n_time * rng.uniform(0.02, 0.25))
        if rng.random() < 0.5:
            event.append((strength(0.8, 8, rng), np.s_[begin:end, first : first + width]))
        begin = end
    return [event]


def lightning(case: Case, rng: np.random.Generator) -> list[Event]:
    """Strokes of one or two timesteps over all channels, weaker at higher ones."""
    found = []
    for _ in range(4):
        amplitude, begin, length = (
            strength(3, 60, rng),
            int(rng.integers(case.n_time)),
            int(rng.integers(1, 3)),
        )
        fall = rng.uniform(0.5, 3)
        found.append(
            [
                (amplitude * (1 + c / case.n_chan) ** -fall, np.s_[begin : begin + length, c : c + 16])
                for c in range(0, case.n_chan, 16)
            ]
        )
    return found


def intermittent_lines(case: Case, rng: np.random.Generator) -> list[Event]:
    """Lines that go on and off, each at a pace of its own."""
    found = []
    for _ in range(6):
        amplitude, width = strength(2, 30, rng), int(rng.integers(1, 4))
        first, on, period = int(rng.integers(case.n_chan)), int(rng.integers(1, 9)), int(rng.integers(2, 25))
        found.append(
            [
                (amplitude, np.s_[k : k + min(on, period), first : first + width])
                for k in range(int(rng.integers(period)), case.n_time, period)
            ]
        )
    return found


def saturating_lines(case: Case, rng: np.random.Generator) -> list[Event]:
    """Lines so strong that they spill over into their neighbours, with the square of the distance less."""
    found = []
    for _ in range(2):
        amplitude, centre = strength(1e3, 1e5, rng), int(rng.integers(case.n_chan))
        begin = int(rng.integers(case.n_time))
        when = slice(begin, begin + 1 + int(case.n_time * rng.uniform(0.1, 0.6)))
        found.append(
            [
                (amplitude / (1 + abs(c - centre)) ** 2, (when, slice(c, c + 1)))
                for c in range(max(0, centre - 40), min(case.n_chan, centre + 41))
            ]
        )
    return found


OTHER_EVENTS = {
    "drifting": drifting_carriers,
    "steps": tv_in_steps,
    "lightning": lightning,
    "intermittent": intermittent_lines,
    "saturating": saturating_lines,
}


def edge_channels(case: Case) -> Mask:
    """80 kHz at either side of each coarse channel, and its centre."""
    if "edges" not in case.mask:
        return np.zeros((1, case.n_chan), np.bool_)
    fine, n_edge = np.arange(case.n_fine), 80 // case.width_khz
    flagged = (fine < n_edge) | (fine >= case.n_fine - n_edge) | (fine == case.n_fine // 2)
    return np.tile(flagged, case.n_coarse)[None]


def flagged_before(case: Case, rng: np.random.Generator) -> Mask:
    """The mask that the detection is given."""
    mask = np.zeros((case.n_time, case.n_chan), np.bool_) | edge_channels(case)
    if "quack" in case.mask:
        mask[:4] = True
    if "blocks" in case.mask:  # a coarse channel is missing for a while
        for _ in range(3):
            start, first = rng.integers(4, case.n_time), case.n_fine * rng.integers(case.n_coarse)
            mask[start : start + rng.integers(1, 17), first : first + case.n_fine] = True
    if "timestep" in case.mask:
        mask[rng.integers(4, case.n_time, 2)] = True
    if "scattered" in case.mask:
        mask |= rng.random(mask.shape) < 0.005
    return mask


class AoFlagger:
    """The wheel with its MWA strategy."""

    def __init__(self) -> None:
        self._flagger = aoflagger.AOFlagger()
        self.version = self._flagger.get_version_string()
        path = self._flagger.find_strategy_file(aoflagger.TelescopeId.MWA)
        self._strategy = self._flagger.load_strategy_file(path)

    def prepare(self, vis: npt.NDArray[np.complex64], mask: Mask) -> None:
        """Hand over a baseline."""
        self._images = self._flagger.make_image_set(*mask.shape, 8)
        for k, part in enumerate(np.moveaxis(vis.view(np.float32), 2, 0)):
            self._images.set_image_buffer(k, np.ascontiguousarray(part.T))
        self._mask = self._flagger.make_flag_mask(*mask.shape, False)
        self._mask.set_buffer(np.ascontiguousarray(mask.T))

    def run(self) -> Mask:
        """Flags (n_time, n_chan)."""
        return np.array(self._strategy.run(self._images, self._mask).get_buffer().T)


def agreement(n_baselines: int) -> tuple[list[str], list[float]]:
    """Rows of the table, and the share of equal cells of every baseline."""
    theirs_of = AoFlagger()
    strategy = RfiStrategy()
    rows = [
        "| baseline | integrations x channels | flags of RFI, AOFlagger / ours, % | equal cells, %: median, worst |"
        " found of the injected RFI, % | flagged without RFI, % |",
        "|---|---|---|---|---|---|",
    ]
    everything: list[float] = []
    for case in CASES:
        equal, flagged, found, false = [], [], [], []
        for seed in range(n_baselines):
            vis, mask, truth = simulate(case, seed)
            theirs_of.prepare(vis, mask)
            both = (theirs_of.run(), flag_baselines(vis[None], mask, strategy, 1)[0])
            equal.append(float(np.mean(both[0] == both[1])))
            flagged.append([np.mean(flags[~mask]) for flags in both])
            found.append([flags[truth & ~mask].mean() if case.rfi else np.nan for flags in both])
            false.append([flags[~truth & ~mask].mean() for flags in both])
        everything += equal

        def pair(values: list[list[float]], digits: int) -> str:
            return " / ".join(f"{100 * v:.{digits}f}" for v in np.mean(values, axis=0))

        rows.append(
            f"| {case.name} | {case.n_time} x {case.n_chan} | {pair(flagged, 3)} "
            f"| {100 * statistics.median(equal):.4f}, {100 * min(equal):.4f} "
            f"| {pair(found, 2) if case.rfi else ''} | {pair(false, 3)} |"
        )
        print(rows[-1], file=sys.stderr)
    rows.append("")
    rows.append(
        f"All {len(everything)} baselines: equal cells {100 * statistics.median(everything):.4f} % in the median, "
        f"{100 * min(everything):.4f} % in the worst. AOFlagger {theirs_of.version}."
    )
    return rows, everything


def speed(rounds: int) -> list[str]:
    """Time for 224 x 768 x 4 of either, on one core, in turn."""
    rows = ["| baseline of 224 x 768 x 4 | AOFlagger / ours, CPU time of one core |", "|---|---|"]
    theirs_of = AoFlagger()
    strategy = RfiStrategy()
    n_ours = 6
    for case in (
        Case("noise", 224),
        Case("source, edges flagged", 224, source=2.0, mask=EDGES),
        Case("all RFI, edges flagged", 224, source=2.0, mask=EDGES, rfi=ALL_RFI),
        Case("all RFI, gaps", 224, source=2.0, mask=GAPS, rfi=ALL_RFI),
    ):
        vis, mask, _ = simulate(case, 0)
        many = np.stack([vis] * n_ours)
        out = np.empty(many.shape[:3], np.bool_)
        theirs_of.prepare(vis, mask)
        ratios = []
        for _ in range(rounds):
            begin = time.process_time()
            theirs_of.run()
            middle = time.process_time()
            flag_baselines(many, mask, strategy, 1, out)
            ratios.append((middle - begin) / (time.process_time() - middle) * n_ours)
        low, median, high = np.percentile(ratios, [25, 50, 75])
        rows.append(f"| {case.name} | {median:.1f} ({low:.1f} to {high:.1f}) |")
        print(rows[-1], file=sys.stderr)
    return rows


def update(path: Path, marker: str, rows: list[str]) -> None:
    """Put rows between the lines `<!-- marker -->` and `<!-- end -->` of a file."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(f"<!-- {marker} -->\n", 1)
    after = rest.split("<!-- end -->", 1)[1]
    body = "\n".join(rows)
    path.write_text(f"{before}<!-- {marker} -->\n{body}\n<!-- end -->{after}", encoding="utf-8")


def main() -> None:
    """Print or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baselines", type=int, default=5, help="simulated for each row")
    parser.add_argument("--rounds", type=int, default=15, help="of timing; 0: none")
    parser.add_argument("--update", type=Path, metavar="FILE", help="document to write the tables into")
    options = parser.parse_args()
    tables = {}
    if options.baselines:
        tables["agreement"] = agreement(options.baselines)[0]
    if options.rounds:
        tables["speed"] = speed(options.rounds)
    for marker, rows in tables.items():
        print("\n".join(rows), end="\n\n")
        if options.update:
            update(options.update, marker, rows)


if __name__ == "__main__":
    main()
