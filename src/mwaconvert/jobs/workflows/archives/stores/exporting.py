"""Files of an archive that only a command of the observatory gives, as asdmExportLight does at ALMA."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from mwaconvert.archive.identifiers import Uid, safe_name
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control.execute import run
from mwaconvert.jobs.control.work import StepError
from mwaconvert.jobs.delivery.places import part_beside, remove
from mwaconvert.jobs.workflows.archives.stores.store import Kept

#: of raw data, which such a command leaves as a folder
_RAW_ENDING = ".asdm.sdm.tar"


class ExportStore:
    """A command that brings one file, as a store to read from.

    It runs in an empty folder with the environment of the worker, and leaves there the file of the name wanted; of
    raw data it may leave their folder, named after the execution block, which is packed.

    Parameters
    ----------
    argv : program and arguments, no shell; ``{name}`` stands for the file, ``{uid}`` for the uid that its name holds

    Examples
    --------
    >>> store = ExportStore(["asdmExportLight", "{uid}"])
    >>> [kept.file_id for kept in store.find("uid___A002_X12_X34.asdm.sdm.tar")]
    ['uid___A002_X12_X34.asdm.sdm.tar']
    >>> store.find("notes.txt")
    ()
    """

    def __init__(self, argv: Sequence[str]) -> None:
        if not any("{uid}" in word or "{name}" in word for word in argv[1:]):
            raise InputError(
                "a command that exports must be told what: give it {uid} or {name} as an argument"
            )
        self._argv = tuple(argv)

    def __repr__(self) -> str:
        return f"ExportStore({self._argv[0]!r})"

    def find(self, name: str, sha256: str | None = None) -> tuple[Kept, ...]:  # noqa: ARG002  (it cannot be asked)
        """The file, if its name holds a uid: whether the command gives it shows when it runs."""
        return () if Uid.within(name) is None else (Kept(name),)

    def read(self, kept: Kept, target: Path) -> None:
        name, uid = safe_name(kept.file_id), Uid.within(kept.file_id)
        folder = part_beside(target.with_name(f"{target.name}.export"))
        log = folder.with_name(f"{folder.name}.log")
        folder.mkdir()
        try:
            words = [word.replace("{name}", name).replace("{uid}", str(uid)) for word in self._argv]
            run(words, directory=folder, log_path=log)
            found, block = folder / name, folder / name.removesuffix(_RAW_ENDING)
            if found.is_file() and not found.is_symlink():
                found.rename(target)
            elif block.is_dir() and not block.is_symlink():
                with tarfile.open(target, "w") as tar:
                    tar.add(block, block.name)
            else:
                raise ResourceError(f"{self._argv[0]} left no {name}; it left {_names(folder)}")
        except StepError as error:
            raise ResourceError(f"{name}: {error}") from None
        except OSError as error:
            raise ResourceError(f"{target}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(folder)
            remove(log)

    def put(self, source: Path, name: str, sha256: str) -> Kept:  # noqa: ARG002
        raise InputError(f"{self._argv[0]} takes no files; name a folder, a bucket or NGAS")

    def check(self, kept: Kept, sha256: str) -> tuple[str, ...]:  # noqa: ARG002
        return (f"{self._argv[0]} exports files, and keeps none",)


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
