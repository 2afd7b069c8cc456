"""Dedispersion and search beside numpy, scipy and memcpy, as ratios within one run.

    python benchmarks/transients.py [--threads N] [--trials N] [low] [apertif] [narrow] [chime] [coherent]

Wall time of the best of a few repetitions; other work on the machine disturbs it, ratios less than times. The bars are
those of the project's plan, on two threads.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import erf
from pathlib import Path

import numpy as np

from mwaconvert import _core, transients
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm, delay_samples
from mwaconvert.spectra.voltages import Voltages
from mwaconvert.transients.clean.cleaning import clean
from mwaconvert.transients.search import search
from mwaconvert.transients.trials.subbands import plan_subbands
from mwaconvert.transients.trials.tree import plan_tree

SIGMA, MEAN = 12.0, 100.0


@dataclass(frozen=True)
class Workload:
    """A band, its trials, and one pulse of matched S/N 30."""

    n_chan: int
    f_hi: float  #: MHz, upper edge
    bw: float  #: MHz
    tsamp: float  #: s
    n_times: int
    dm_max: float
    ndm: int
    k_true: int  #: trial of the pulse
    fwhm: float  #: s
    t0: float  #: s
    loss: float  #: that is asked for
    snr: float = 30.0

    @property
    def freq_mhz(self) -> np.ndarray:
        """Centres, ascending."""
        df_mhz = self.bw / self.n_chan
        return (self.f_hi - df_mhz * (np.arange(self.n_chan) + 0.5))[::-1]

    @property
    def dms(self) -> np.ndarray:
        return np.linspace(0.0, self.dm_max, self.ndm)

    @property
    def per_dm(self) -> np.ndarray:
        return delay_per_dm(self.freq_mhz) / self.tsamp


WORKLOADS = {
    "low": Workload(3072, 170.0, 30.72, 512e-6, 32768, 100.0, 1024, 614, 10e-3, 4.0, 0.01),
    "apertif": Workload(1536, 1520.0, 300.0, 81.92e-6, 65536, 3000.0, 2048, 700, 1e-3, 1.2, 0.01),
    "narrow": Workload(1536, 1520.0, 300.0, 81.92e-6, 65536, 3000.0, 2048, 70, 82e-6, 1.2, 0.03),
}


def generate(w: Workload) -> np.ndarray:
    """(n_chan, n_times) uint8: noise, and a pulse smeared within each channel and sample."""
    rng = np.random.Generator(np.random.SFC64(20260401))
    sigma = w.fwhm / 2.354820045 / w.tsamp
    cdf = np.vectorize(lambda x: 0.5 * (1 + erf(x / 2**0.5)))
    edges = np.arange(-int(6 * sigma) - 8, int(6 * sigma) + 9)
    area = w.snr * SIGMA / np.sqrt(w.n_chan) / np.sqrt((np.diff(cdf(edges / sigma)) ** 2).sum())
    dm, df_mhz, top = w.dms[w.k_true], w.bw / w.n_chan, w.freq_mhz[-1]
    table_at = np.linspace(-7, 7, 2801)
    table = cdf(table_at)
    inside = (np.arange(16) + 0.5) / 16 - 0.5
    data = np.empty((w.n_chan, w.n_times), np.uint8)
    for channel, f in enumerate(w.freq_mhz):
        row = rng.standard_normal(w.n_times, dtype=np.float32) * np.float32(SIGMA) + np.float32(MEAN)
        delays = K_DM * dm * ((f + inside * df_mhz) ** -2 - top**-2) / w.tsamp + w.t0 / w.tsamp
        first, last = int(delays.min() - 6 * sigma - 2), int(delays.max() + 6 * sigma + 3)
        if last < w.n_times:
            e = np.arange(first, last + 1)
            shape = np.interp((e[None, :] - delays[:, None]) / sigma, table_at, table)
            row[first:last] += np.float32(area) * np.diff(shape, axis=1).mean(0).astype(np.float32)
        data[channel] = np.clip(np.rint(row), 0, 255)
    return data


def best(run: Callable[[], object], repeat: int = 3) -> float:
    """Seconds of the fastest of some repetitions."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def snr(series: np.ndarray, longest: int) -> float:
    """Best boxcar of at most `longest` samples, each against the quartiles of the smoothed series."""
    total = np.concatenate([[0.0], np.cumsum(series.astype(np.float64) - np.median(series))])
    found = 0.0
    for width in sorted({round(2 ** (k / 4)) for k in range(33)}):
        if width <= longest:
            y = total[width:] - total[:-width]
            low, middle, high = np.percentile(y, [25, 50, 75])
            found = max(found, (y.max() - middle) / ((high - low) / 1.349))
    return found


def line(what: str, value: float, unit: str, ratio: float | None = None, bar: str = "") -> None:
    times = "" if ratio is None else f"{ratio:8.1f} x numpy"
    print(f"  {what:44} {value:9.3g} {unit:12}{times}  {bar}", flush=True)


def numpy_loop(data: np.ndarray, delays: np.ndarray, n_out: int) -> np.ndarray:
    out = np.zeros(n_out, np.float32)
    for row, delay in zip(data, delays, strict=True):
        out += row[delay : delay + n_out]
    return out


def numpy_twin(data: np.ndarray, delays: np.ndarray, n_out: int) -> tuple[float, np.ndarray]:
    """Seconds and result of the plain loop over float32 channels."""
    floats = data.astype(np.float32)
    return best(lambda: numpy_loop(floats, delays, n_out)), numpy_loop(floats, delays, n_out)


def transform(name: str, w: Workload, data: np.ndarray, n_trial: int, threads: int) -> float:
    """Exact and two-stage transforms of the trials around the true one. Returns numpy's additions per second."""
    first = max(0, min(w.k_true - n_trial // 2, w.ndm - n_trial))
    dms, true = w.dms[first : first + n_trial], w.k_true - first
    delays = delay_samples(dms, w.per_dm)
    n_out = w.n_times - int(delays.max()) - 8
    adds = n_out * w.n_chan * n_trial / 1e9
    numpy_s, want = numpy_twin(data, delays[true], n_out)
    numpy_rate = n_out * w.n_chan / 1e9 / numpy_s
    out = np.empty((n_trial, n_out), np.float32)
    exact = best(lambda: _core.dedisperse(data, delays, out, threads))
    identical = "bit-identical" if np.array_equal(out[true], want) else "DIFFERS"
    exact_snr = snr(out[true], n_out // 8)
    line("numpy float32 loop", numpy_rate, "Gadd/s")
    line(
        f"exact, {n_trial} trials ({identical})",
        adds / exact,
        "Gadd/s",
        adds / exact / numpy_rate,
        "bar 20 x",
    )

    begin = time.perf_counter()
    plan = plan_subbands(dms, w.per_dm, w.fwhm / w.tsamp, w.loss)
    planning = time.perf_counter() - begin
    if plan is None:
        print("  no two-stage plan within the loss asked for")
        return numpy_rate
    _core.dedisperse_subbands(
        data=data,
        edges=plan.edges,
        within=plan.within,
        across=plan.across,
        trials_per_group=plan.trials_per_group,
        out=out,
        threads=threads,
    )
    run = best(
        lambda: _core.dedisperse_subbands(
            data=data,
            edges=plan.edges,
            within=plan.within,
            across=plan.across,
            trials_per_group=plan.trials_per_group,
            out=out,
            threads=threads,
        )
    )
    bar = {"apertif": "bar 90 x", "low": "bar 150 x", "narrow": "bar 23 x"}[name]
    what = f"two stages, {plan.n_sub} x {plan.trials_per_group}, loss <= {plan.loss:.4f}"
    line(what, adds / run, "Gadd/s", adds / run / numpy_rate, bar)
    line("  S/N of exact, at the true trial", snr(out[true], n_out // 8) / exact_snr, "")
    line("  plan", planning * 1e3, "ms")
    return numpy_rate


def one_dm(w: Workload, data: np.ndarray, threads: int) -> None:
    """A waterfall at one DM to a series, beside `your` where it is installed."""
    dm = w.dms[w.k_true]
    spectra = transients.Spectra(data, w.freq_mhz, w.tsamp)
    n_out = spectra.series([dm]).shape[1]
    rate = w.n_chan * n_out / best(lambda: spectra.series([dm], threads=threads)) / 1e9
    try:
        from your.utils.astro import dedisperse
    except ImportError:
        line("one DM", rate, "Gadd/s", None, "your is not installed: no comparison")
        return
    floats = np.ascontiguousarray(data[::-1], np.float32)
    theirs = w.n_chan * n_out / best(lambda: dedisperse(floats, dm, w.tsamp, w.freq_mhz[::-1]).sum(0)) / 1e9
    line("one DM", rate, "Gadd/s", None, f"{rate / theirs:8.1f} x your")


def boxcars(threads: int) -> None:
    series = np.random.default_rng(0).standard_normal((64, 52574), dtype=np.float32)
    mean, sigma, top = (np.empty(64, np.float32) for _ in range(3))
    start, width = (np.empty(64, np.int32) for _ in range(2))

    def ours() -> None:
        _core.search_series(
            series=series,
            share=np.empty((0, 0), np.float32),
            row=np.empty(0, np.int32),
            n_width=9,
            threshold=7.0,
            mean=mean,
            sigma=sigma,
            snr=top,
            start=start,
            width=width,
            threads=threads,
        )

    def theirs() -> None:
        total = np.cumsum(series[0], dtype=np.float64)
        for k in range(9):
            int(np.argmax((total[2**k :] - total[: -(2**k)]) / 2 ** (k / 2)))

    ours()
    rate, numpy_rate = series.size / best(ours) / 1e9, series.shape[1] / best(theirs, 10) / 1e9
    line("boxcars, 9 widths, with noise", rate, "Gsample/s", rate / numpy_rate, "bar 1 Gsample/s per core")


def transposition(threads: int) -> None:
    spectra = np.random.default_rng(0).integers(0, 256, (32768, 1536), dtype=np.uint8)
    out = np.zeros(spectra.shape[::-1], np.uint8)
    copy = out.size / best(lambda: np.copyto(out, spectra.reshape(out.shape))) / 1e9
    numpy_rate = out.size / best(lambda: np.copyto(out, spectra.T), 1) / 1e9
    for bits in (8, 4, 2, 1):
        options = {"offset": 0, "n_bits": bits, "first_high": False, "reverse": False, "threads": threads}
        run = partial(_core.unpack, spectra=spectra, out=out, **options)
        rate = out.size / best(run) / 1e9
        what = "transpose uint8" if bits == 8 else f"unpack and transpose {bits} bits"
        line(
            what,
            rate,
            "Gsample/s",
            rate / numpy_rate,
            f"{rate / copy:.2f} x copy; bar 25 x" if bits == 8 else "",
        )


def end_to_end(w: Workload, data: np.ndarray, threads: int) -> None:
    """A .fil to candidates, all trials and 9 widths."""
    import struct

    def word(text: str) -> bytes:
        return struct.pack("<i", len(text)) + text.encode()

    df_mhz = w.bw / w.n_chan
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.fil"
        with path.open("wb") as file:
            file.write(word("HEADER_START"))
            for key, whole in (("nchans", w.n_chan), ("nbits", 8), ("nifs", 1), ("data_type", 1)):
                file.write(word(key) + struct.pack("<i", whole))
            for key, value in (
                ("fch1", w.f_hi - df_mhz / 2),
                ("foff", -df_mhz),
                ("tsamp", w.tsamp),
                ("tstart", 58000.0),
            ):
                file.write(word(key) + struct.pack("<d", value))
            file.write(word("HEADER_END"))
            for t in range(0, w.n_times, 4096):
                file.write(np.ascontiguousarray(data[::-1, t : t + 4096].T).tobytes())

        def run(loss: float) -> tuple[float, float, transients.Spectra]:
            begin = time.perf_counter()
            spectra = transients.open(path)
            read = time.perf_counter() - begin
            found = spectra.search(
                0, w.dm_max, dms=w.dms, width_min_s=w.fwhm, n_width=9, loss=loss, threads=threads
            )
            found.candidates()
            return time.perf_counter() - begin, read, found

        def cleaned() -> float:
            """The same after cleaning, as the command does it, without pulses that are partly outside."""
            begin = time.perf_counter()
            clear = clean(transients.open(path), threads=threads)
            options = {"dms": w.dms, "width_min_s": w.fwhm, "n_width": 9, "loss": w.loss, "threads": threads}
            search(clear.spectra, 0, w.dm_max, kept=clear.kept, **options).candidates()
            return time.perf_counter() - begin

        with_cleaning = min(cleaned() for _ in range(5))
        whole, read, found = min((run(w.loss) for _ in range(5)), key=lambda r: r[0])
        truth = w.dms[w.k_true]
        exact = transients.open(path).search(
            truth, truth, dms=np.array([truth]), width_min_s=w.fwhm, loss=0, threads=threads
        )
    line(f".fil to candidates, {w.ndm} trials", whole, "s", None, "bar 0.6 s on the reference machine")
    line("  of which reading", read, "s")
    line("  with cleaning", with_cleaning, "s", with_cleaning / whole, "x without; bar 1.5")
    line("  S/N of exact", found.snr[w.k_true] / exact.best.snr, "", None, "bar 0.99")
    print(f"  found DM {found.best.dm:.2f}, injected {truth:.2f}")


def all_delays(threads: int) -> None:
    """Every whole delay up to DM 400 of 16384 x 16384 samples of float32, 400-800 MHz, by a tree."""
    n, dt_s, fwhm = 16384, 0.98304e-3, 3e-3
    per_dm = delay_per_dm(400 + 400 / n * (np.arange(n) + 0.5)) / dt_s
    dms = np.arange(int(400 * per_dm.max()) + 1) / per_dm.max()
    begin = time.perf_counter()
    plan = plan_tree(dms, per_dm, fwhm / dt_s, 0.02, is_bytes=False)
    planning = time.perf_counter() - begin
    assert plan is not None
    rng = np.random.default_rng(0)
    some = rng.standard_normal((64, n), dtype=np.float32)
    data = np.tile(some, (n // 64, 1))
    n_out = n - plan.reach
    out = np.zeros((dms.size, n_out), np.float32)
    delays = delay_samples(dms[-1], per_dm)[0]
    numpy_rate = n_out * n / 1e9 / best(lambda: numpy_loop(data, delays, n_out), 2)
    memory = _core.TreeMemory()
    seconds = best(lambda: plan.run(data, out, threads, memory), 3)
    adds = n_out * n * dms.size / 1e9
    line("numpy float32 loop", numpy_rate, "Gadd/s")
    what = f"tree, {dms.size} delays, loss <= {plan.loss:.4f}"
    line(
        what, adds / seconds, "Gadd/s", adds / seconds / numpy_rate, "bar 1200 x (0.2 s where numpy does 4.6)"
    )
    line("  seconds per block", seconds, "s")
    other = np.empty_like(data)
    np.copyto(other, data)
    copy = best(lambda: np.copyto(other, data))
    line("  over the time of a copy of the block", seconds / copy, "")
    line("  plan", planning * 1e3, "ms")


def coherent(threads: int) -> None:
    """Overlap-save of complex64 voltages beside the plain loop over scipy's transforms, on as many threads."""
    import scipy.fft

    rng = np.random.default_rng(1)
    for bw, f0, dm in ((0.1953125, 150.0, 50.0), (1.28, 150.0, 50.0), (16.0, 1400.0, 500.0)):
        n = 1 << 22
        x = (rng.standard_normal(n, np.float32) + 1j * rng.standard_normal(n, np.float32)).astype(
            np.complex64
        )
        overlap = int(K_DM * dm * ((f0 - bw / 2) ** -2 - (f0 + bw / 2) ** -2) * bw * 1e6)
        n_fft = 1 << int(np.ceil(np.log2(max(4 * overlap, 1 << 14))))
        f = np.fft.fftfreq(n_fft, 1 / bw)
        chirp = np.exp(-2j * np.pi * K_DM * 1e6 * dm * f**2 / (f0**2 * (f0 + f))).astype(np.complex64)
        good = n_fft - overlap
        n_out = (n - overlap) // good * good

        def theirs() -> None:
            out = np.empty(n_out, np.complex64)  # noqa: B023
            for i in range(0, n_out, good):  # noqa: B023
                s = scipy.fft.fft(x[i : i + n_fft], workers=threads)  # noqa: B023
                s *= chirp  # noqa: B023
                s = scipy.fft.ifft(s, overwrite_x=True, workers=threads)
                out[i : i + good] = s[overlap // 2 : overlap // 2 + good]  # noqa: B023

        voltages = Voltages(np.stack([x, x])[:, None], np.array([f0]), bw * 1e6)  # two polarisations
        theirs_rate = n_out / best(theirs) / 1e6
        done = voltages.dedisperse(dm, threads).n_times
        rate = 2 * done / best(lambda: voltages.dedisperse(dm, threads)) / 1e6  # noqa: B023
        what = f"coherent, {bw:g} MHz at {f0:g} MHz, DM {dm:g}"
        line(what, rate, "Msample/s", None, f"{rate / theirs_rate:8.1f} x scipy  bar 2 x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    everything = [*WORKLOADS, "chime", "coherent"]
    parser.add_argument("workloads", nargs="*", default=everything, help=", ".join(everything))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trials", type=int, default=512)
    options = parser.parse_args()
    print(f"{options.threads} threads")
    transposition(options.threads)
    boxcars(options.threads)
    for name in options.workloads:
        print(name)
        if name == "chime":
            all_delays(options.threads)
            continue
        if name == "coherent":
            coherent(options.threads)
            continue
        w = WORKLOADS[name]
        data = generate(w)
        transform(name, w, data, options.trials, options.threads)
        one_dm(w, data, options.threads)
        if name == "apertif":
            end_to_end(w, data, options.threads)


if __name__ == "__main__":
    main()
