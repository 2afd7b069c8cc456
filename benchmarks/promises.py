"""The rows of the table that `ratios.py` measures: what is compared, on which data, and what is promised."""

from __future__ import annotations

from dataclasses import dataclass

from measure import Ratio

GROUPS = (
    "cat",
    "cp",
    "mwalib",
    "birli",
    "pyuvdata",
    "memory",
    "threads",
    "with",
    "rfi",
    "interference",
    "birli_rfi",
)

#: stands for a file of calibration solutions of the data
SOLUTIONS = "SOLUTIONS"

FINE = ("--avg-time-res", "8", "--avg-freq-res", "40")
COARSE = ("--avg-time-res", "8", "--avg-freq-res", "80")


@dataclass(frozen=True)
class Row:
    """One ratio.

    Attributes
    ----------
    group : what ours is compared with; a method of `ratios.Bench`
    text : words for people
    data : name of a data set
    suffix : of the output
    options : of the conversion, and of Birli's
    bar, aim : the ratio must be, and is hoped to be, at most so large; at least so large for `threads`
    channels : convert only the first so many coarse channels
    share : of the integrations, for `memory`
    extra : further options of ours, for `with`; SOLUTIONS among them stands for a file; for `rfi` quiet or noisy;
        for `interference` the data set without any
    rfi : look for RFI
    """

    group: str
    text: str
    data: str
    suffix: str
    options: tuple[str, ...]
    bar: float
    aim: float | None
    channels: int | None = None
    share: float = 1.0
    extra: tuple[str, ...] = ()
    rfi: bool = False

    def verdict(self, ratio: Ratio) -> str:
        """Only a band wholly on one side of the bar is a clear answer."""
        low, high, bar, aim = ratio.low, ratio.high, self.bar, self.aim
        if self.group == "threads":
            low, high, bar, aim = -high, -low, -bar, None if aim is None else -aim
        if low > bar:
            return "MISSED"
        if high > bar:
            return "at the bar"
        return "aim reached" if aim is not None and high <= aim else "bar met"

    def line(self, ratio: Ratio) -> str:
        """A line of the table."""
        unit = "MB" if self.group == "memory" else "s"
        aim = "" if self.aim is None else number(self.aim)
        band = f"{number(ratio.low)} to {number(ratio.high)}"
        return (
            f"| {self.text} | {number(ratio.median)} | {band} | {number(self.bar)} | {aim} | "
            f"{self.verdict(ratio)} | {ratio.first:.3g} {unit}, {ratio.second:.3g} {unit} |"
        )


def number(value: float) -> str:
    """A ratio; small ones as 1/x."""
    return f"1/{1 / value:.3g}" if value < 0.3 else f"{value:.2f}"


def promises(scale: str) -> list[Row]:
    """All rows; the small data sets have fewer channels."""
    few = {"full": (2, 12, 4, 4), "small": (1, 4, 4, 1)}[scale]
    rows = []
    for name in ("mwax", "legacy"):
        for suffix in (".uvfits", ".ms"):
            text = f"{name}, averaged to 8 s / 40 kHz, {suffix} / cat of the raw files"
            rows.append(Row("cat", text, name, suffix, FINE, 2.5, 1.5))
    for name, sky in (("mwax", "no interference"), ("mwax-rfi", "interference in 1 % of the cells")):
        text = f"mwax, {sky}, averaged to 8 s / 40 kHz, RFI detection, .uvfits / cat of the raw files"
        rows.append(Row("cat", text, name, ".uvfits", FINE, 6.0, None, rfi=True))
    for name in ("mwax", "legacy"):
        for suffix in (".uvfits", ".ms"):
            text = f"{name}, not averaged, {suffix} / cp of the output"
            rows.append(Row("cp", text, name, suffix, (), 2.0, 1.3, channels=1))
    text = "rice, averaged to 8 s / 80 kHz, .uvfits / mwalib reading alone"
    rows.append(Row("mwalib", text, "rice", ".uvfits", COARSE, 0.35, 0.2))
    for name, suffix, options, channels in (
        ("mwax", ".uvfits", FINE, few[0]),
        ("mwax", ".ms", FINE, few[0]),
        ("legacy", ".uvfits", FINE, few[0]),
        ("rice", ".uvfits", COARSE, few[1]),
        ("mwax", ".uvfits", (), 1),
        ("mwax", ".ms", (), 1),
        ("rice", ".uvfits", (), few[2]),
    ):
        kind = f"averaged to {options[1]} s / {options[3]} kHz" if options else "not averaged"
        text = f"{name}, {kind}, {suffix} / Birli"
        rows.append(Row("birli", text, name, suffix, options, 1 / 8, 1 / 20, channels=channels))
    text = "rice, not averaged, .uvfits / pyuvdata"
    rows.append(Row("pyuvdata", text, "rice", ".uvfits", (), 1 / 30, 1 / 60, channels=few[3]))
    for name, suffix, options in (
        ("mwax", ".uvfits", FINE),
        ("mwax", ".ms", FINE),
        ("legacy", ".uvfits", FINE),
        ("mwax", ".uvfits", ()),
        ("mwax", ".ms", ()),
        ("legacy", ".ms", ()),
        ("rice", ".uvfits", ()),
    ):
        for share, length in ((0.5, "first half"), (1.0, "whole")):
            kind = "averaged" if options else "not averaged"
            text = f"{name}, {kind}, {suffix}, {length}: peak memory / (4 integrations + 300 MB)"
            rows.append(Row("memory", text, name, suffix, options, 1.0, None, share=share))
    for name, options, kind in (
        ("mwax", FINE, "averaged"),
        ("mwax", (), "not averaged"),
        ("legacy", FINE, "averaged"),
        ("legacy", (), "not averaged"),
    ):
        channels = None if options else 1
        text = f"{name}, {kind}, .uvfits: with calibration solutions / without"
        extra = ("--apply-solutions", SOLUTIONS)
        rows.append(Row("with", text, name, ".uvfits", options, 1.15, 1.05, channels=channels, extra=extra))
        if name == "legacy":
            text = f"{name}, {kind}, .uvfits: with Van Vleck correction / without"
            rows.append(
                Row(
                    "with",
                    text,
                    name,
                    ".uvfits",
                    options,
                    1.5,
                    1.2,
                    channels=channels,
                    extra=("--van-vleck",),
                )
            )
    for kind, words in (("quiet", "no interference"), ("noisy", "narrow and short interference")):
        text = f"RFI detection, 224 x 768 x 4, {words}, baseline and core / AOFlagger's MWA strategy"
        rows.append(Row("rfi", text, "mwax", "", (), 1 / 15, 1 / 40, extra=(kind,)))
    text = "mwax, averaged, .uvfits, RFI detection: interference in 1 % of the cells / none"
    rows.append(Row("interference", text, "mwax-rfi", ".uvfits", FINE, 1.25, None, extra=("mwax",), rfi=True))
    for name in ("mwax", "legacy"):
        for options, kind in ((FINE, "averaged"), ((), "not averaged")):
            text = f"{name}, {kind}, .uvfits: with RFI detection / without"
            channels = None if options else 1
            rows.append(Row("with", text, name, ".uvfits", options, 4.0, 2.0, channels=channels, rfi=True))
    text = "mwax, averaged, .uvfits, RFI / Birli without RFI + AOFlagger on all baselines and cores"
    rows.append(Row("birli_rfi", text, "mwax", ".uvfits", FINE, 1 / 10, 1 / 25, channels=few[0], rfi=True))
    for name, options in (("mwax", FINE), ("legacy", FINE), ("rice", COARSE)):
        text = f"{name}, averaged, .uvfits: time on 1 core / time on 2"
        rows.append(Row("threads", text, name, ".uvfits", options, 1.7, 1.9))
    for name, sky in (("mwax", "no interference"), ("mwax-rfi", "interference in 1 % of the cells")):
        text = f"mwax, {sky}, averaged, RFI detection, .uvfits: time on 1 core / time on 2"
        rows.append(Row("threads", text, name, ".uvfits", FINE, 1.8, None, rfi=True))
    return rows
