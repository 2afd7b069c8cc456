"""--overwrite harms nobody's data: each command is refused in a sentence and changes nothing."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter

OBS = "1412607288.metafits"
RAW = "1412607288_20241010145430_ch131_000.fits"
#: commands, and what they say
REFUSED = {
    f"{OBS} -o a.ms --report {OBS}": f"{OBS}: is an input of this run",
    f"{OBS} -o a.ms --report {RAW}": f"{RAW}: is an input of this run",
    f"link/{OBS} -o a.uvfits --report elsewhere.fits": "elsewhere.fits: is an input of this run",
    f"{OBS} -o a.ms --report other.metafits": "it is not a report of mwaconvert",
    f"{OBS} -o a.ms --report notes": "notes: is never replaced: it is a directory",
    f"{OBS} -o a.ms --report /dev/null": "/dev/null: is never replaced",
    f"{OBS} -o a.ms --qa notes.png": "notes.png: is never replaced: it is not a PNG picture",
    f"{OBS} -o obs.ms": "obs.ms: is never replaced: it is a directory, but not a measurement set",
    f"obs.ms/{OBS} -o obs.ms": "obs.ms: holds ",
    f"{OBS} -o raw.uvfits": "raw.uvfits: is never replaced: it is not a uvfits file",
    f"{OBS} -o a.ms --report a.ms": "two outputs have the same name",
    f"{OBS} -o a.ms --report a.ms/r.json": "lies within another output",
    f"{OBS} -o f_%%%.mwaf": "f_131.mwaf: is never replaced: it is not a flag file",
    f"{OBS} -o {OBS[:10]}_%%%.mwaf": f"{OBS[:10]}_131.mwaf: is an input of this run",
    "dedisperse a.fil --dm 5 -o a.fil": "a.fil: is an input of this run",
    "dedisperse a.fil --dm 5 -o link/a.fil": "a.fil: is an input of this run",
    "dedisperse a.fil --dm 5 -o raw.npz": "raw.npz: is never replaced: it is not an .npz file",
    "dedisperse a.fil --dm 5 -o precious.dat": "precious.dat: is never replaced",
    "search a.fil --dm-range 0 5 -o notes.csv": "notes.csv: is never replaced: it is not a table of mwaconvert",
    "waterfall a.fil --dm 5 -o notes.png": "notes.png: is never replaced",
    "qa old.ms -o notes.png": "notes.png: is never replaced",
    "simulate -o real --duration 4 --tiles 4": "is never replaced: it is not a file of a simulation",
}


@pytest.fixture(scope="module")
def made(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An observation with flag files, a filterbank, a measurement set, and things that look like outputs."""
    folder = tmp_path_factory.mktemp("made")
    for place in (folder, folder / "obs.ms"):
        place.mkdir(exist_ok=True)
        for path in small.parent.iterdir():
            shutil.copy(path, place)
    (folder / "elsewhere.fits").write_bytes((folder / RAW).read_bytes())
    (folder / "link").mkdir()
    for path in small.parent.iterdir():
        (folder / "link" / path.name).symlink_to(
            "../elsewhere.fits" if path.name == RAW else f"../{path.name}"
        )
    (folder / "link" / "a.fil").symlink_to("../a.fil")
    with FilterbankWriter(folder / "a.fil", np.linspace(1200.0, 1500.0, 8), 1e-3, 8) as writer:
        writer.write(np.ones((8, 4096)))
    for words in (
        f"{OBS} -o {OBS[:10]}_%%%.mwaf -q --rfi none",
        f"{OBS} -o old.ms -q --precomputed-flags ignore",
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert CliRunner().invoke(main, words.split()).exit_code == 0
    real = (folder / OBS).read_bytes().replace(b"simulated by mwaconvert", b"observed by a telescope")
    (folder / "real").mkdir()
    for name in ("other.metafits", f"real/{OBS}"):
        (folder / name).write_bytes(real)
    shutil.copy(folder / RAW, folder / "raw.uvfits")
    shutil.copy(folder / RAW, folder / "raw.npz")
    (folder / "notes").mkdir()
    for name in ("notes/a", "notes.png", "notes.csv", "precious.dat", "f_131.mwaf"):
        (folder / name).write_text("precious")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(made: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.chdir(made)
    before = snapshot(made)
    result = CliRunner().invoke(main, [*shlex.split(words), "--overwrite", "-q"])
    assert result.exit_code == 2, result.output
    assert REFUSED[words] in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert snapshot(made) == before
