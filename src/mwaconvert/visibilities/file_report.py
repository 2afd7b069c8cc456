"""What a visibility file holds, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from mwaconvert.text import WIDTH, html_picture, plural, sections, size_text, some
from mwaconvert.visibilities.interference import ArrayRfi
from mwaconvert.visibilities.model import FileHeader
from mwaconvert.visibilities.quality import Occupancy, Quality, noise_lines


@dataclass(frozen=True)
class FileReport:
    """What a visibility file holds.

    Attributes
    ----------
    picture : that was drawn
    quality : its `interference` counts all flags of tiles and channels that are not flagged throughout; it is NaN
        by antenna and timestep
    """

    path: Path
    bytes: int
    picture: Path
    header: FileHeader
    occupancy: Occupancy
    quality: Quality
    array_rfi: ArrayRfi | None = None

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.to_text())}</pre>{html_picture(self.picture)}"

    def to_text(self, width: int = WIDTH) -> str:
        """A few lines."""
        header = self.header
        windows = header.spectral_windows
        n_chan = sum(w.n_chan for w in windows)
        low = min(float(w.freq_hz.min()) for w in windows) / 1e6
        high = max(float(w.freq_hz.max()) for w in windows) / 1e6
        names = [a.name for a in header.metadata.antennas]
        throughout = [names[i] for i in np.flatnonzero(np.nan_to_num(self.occupancy.antenna) >= 1)]
        flagged = [f"{100 * self.occupancy.total:.2f} %"]
        if throughout:
            flagged.append(f"{plural(len(throughout), 'tile')} throughout: {some(throughout)}")
        return sections(
            width,
            (
                "file",
                [
                    f"{self.path} ({size_text(self.bytes)}): {plural(len(header.time_mjd), 'time')} x"
                    f" {plural(len(header.antenna1), 'baseline')} x {plural(n_chan, 'channel')},"
                    f" {low:.3f} to {high:.3f} MHz"
                ],
            ),
            ("flagged", flagged),
            ("quality", noise_lines(self.quality, names)),
            ("picture", [str(self.picture)]),
        )
