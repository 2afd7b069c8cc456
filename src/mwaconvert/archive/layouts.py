"""The three directory layouts of ALMA and VLA processing, made and recognised.

Delivered packages (what ``scriptForPI.py`` expects), the tree of a pipeline request, and the run directories of
NRAO, which both telescopes share.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from mwaconvert.archive.identifiers import StatusUid, safe_name
from mwaconvert.archive.times import utc
from mwaconvert.errors import InputError


class LayoutKind(Enum):
    """Whose layout a tree has."""

    DELIVERY = "delivered package"
    REQUEST = "pipeline request"
    RUN = "processing run"


@dataclass(frozen=True, slots=True)
class Layout:
    """Folders of a tree by what they hold; where a layout has no folder of its own for something, another serves.

    Parameters
    ----------
    root : Path
        The member set or run.
    raw : Path
        Raw execution blocks; of a delivery under ``raw``, else ``rawdata``.
    calibration : Path
        Archives of tables and flags; where the pipeline looks for them when it restores.
    script : Path
        Where the restore is started.
    relative_path : str
        Of `root` below the root of the pipeline, as a request names it.
    """

    kind: LayoutKind
    root: Path
    raw: Path
    calibration: Path
    products: Path
    script: Path
    working: Path
    relative_path: str

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders to make, each once; a delivery's `working` is made by its script."""
        chosen = [self.raw, self.calibration, self.products, self.script, self.working]
        if self.kind is LayoutKind.DELIVERY:
            chosen[-1:] = [self.root / "qa", self.root / "log"]
        return tuple(dict.fromkeys(chosen))

    @property
    def measurement_sets(self) -> Path:
        """Where calibrated measurement sets appear."""
        return self.root / "calibrated" if self.kind is LayoutKind.DELIVERY else self.working

    def make(self) -> None:
        """Make the folders.

        Raises
        ------
        InputError
            Measurement sets of an earlier restore are there: ``scriptForPI.py`` refuses them, and so do we.
        """
        if self.kind is LayoutKind.DELIVERY and self.measurement_sets.exists():
            raise InputError(f"{self.measurement_sets}: exists already; move it away before another restore")
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)


def delivery_layout(base: Path, project: str, goal: StatusUid, group: StatusUid, member: StatusUid) -> Layout:
    """The tree of a delivered package below `base`."""
    parts = (
        safe_name(project),
        f"science_goal.{goal.file_form}",
        f"group.{group.file_form}",
        f"member.{member.file_form}",
    )
    return _delivery(base.joinpath(*parts), "/".join(parts))


def _delivery(root: Path, relative_path: str) -> Layout:
    return Layout(
        LayoutKind.DELIVERY,
        root,
        raw=root / "raw",
        calibration=root / "calibration",
        products=root / "product",
        script=root / "script",
        working=root / "calibrated" / "working",
        relative_path=relative_path,
    )


def request_layout(
    base: Path,
    project: str,
    made: datetime,
    chain: tuple[StatusUid, StatusUid, StatusUid],
    sched_block: StatusUid | None = None,
) -> Layout:
    """The tree of a pipeline request below `base`.

    Parameters
    ----------
    chain : science goal, group and member set
    sched_block : for a member set of several, one subtree each
    """
    stamp = utc(made).strftime("%Y_%m_%dT%H_%M_%S.") + f"{made.microsecond // 1000:03d}"
    levels = [f"{level}_{uid.file_form}" for level, uid in zip(("SOUS", "GOUS", "MOUS"), chain, strict=True)]
    if sched_block is not None:
        levels.append(f"SBS_{sched_block.file_form}")
    parts = (safe_name(f"{project}_{stamp}"), *levels)
    return _run(base.joinpath(*parts), LayoutKind.REQUEST, "/".join(parts))


def run_layout(base: Path, run: str) -> Layout:
    """The tree of one run of NRAO below `base`."""
    return _run(base / safe_name(run), LayoutKind.RUN, run)


def _run(root: Path, kind: LayoutKind, relative_path: str) -> Layout:
    return Layout(
        kind,
        root,
        raw=root / "rawdata",
        calibration=root / "rawdata",
        products=root / "products",
        script=root / "working",
        working=root / "working",
        relative_path=relative_path,
    )


def recognise(root: Path) -> Layout:
    """The layout of a tree that exists, from the folders in it.

    Raises
    ------
    InputError
        A tree of no known layout.
    """
    if not root.is_dir():
        raise InputError(f"{root}: is not a folder; expected the folder of a member set or run")
    if (root / "script").is_dir() or (root / "calibration").is_dir():
        return _delivery(root, root.name)
    if (root / "rawdata").is_dir() or (root / "working").is_dir():
        kind = LayoutKind.REQUEST if root.name.startswith(("MOUS_", "SBS_")) else LayoutKind.RUN
        return _run(root, kind, root.name)
    raise InputError(
        f"{root}: is neither a delivered package (script, calibration) nor a run (rawdata, working, products)"
    )
