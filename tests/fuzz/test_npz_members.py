"""Each array of an npz file in turn is no array: numpy gives its bytes."""

import contextlib
import io
import zipfile

import pytest
import sound_spectra

from mwaconvert.errors import Error

KINDS = pytest.mark.parametrize("kind", ["npz", "release.npz", "fitburst.npz"])


@KINDS
def test_members_that_are_encrypted(tmp_path, kind):
    sound = sound_spectra.seeds()[kind]
    raw = bytearray(sound.raw)
    at = raw.find(b"PK\x01\x02")
    while at >= 0:
        raw[at + 8] |= 1  # of its flags
        at = raw.find(b"PK\x01\x02", at + 4)
    with pytest.raises(Error, match="encrypted"):
        sound.read(sound.write(tmp_path, bytes(raw)))


@KINDS
def test_members_that_are_no_arrays(tmp_path, kind):
    sound = sound_spectra.seeds()[kind]
    with zipfile.ZipFile(io.BytesIO(sound.raw)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for damaged in members:
        for instead in (b"", b"x" * 200, members[damaged][:20]):
            raw = io.BytesIO()
            with zipfile.ZipFile(raw, "w") as archive:
                for name, held in members.items():
                    archive.writestr(name, instead if name == damaged else held)
            with contextlib.suppress(Error):  # what nobody needs may be damaged
                sound.read(sound.write(tmp_path, raw.getvalue()))
