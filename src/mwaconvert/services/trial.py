"""Everything for a trial in one folder: an observation, a user, certificates, and a configuration to look at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.extras import need
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.store import Store
from mwaconvert.services.config import Config, read_config
from mwaconvert.services.server import Listening, listen

_CONFIG = """\
# A service for trials: all it has is in this folder.
database = "jobs.db"
work = "work"
raw = ["raw"]

[delivery]
packages = "products"
scratch = "scratch"
groups = ["trial"]

[server]
host = "127.0.0.1"
port = 0

[workers]
here = 4
id = "trial"

# Jobs of CHIME/FRB: programs of this machine in place of containers. Who has the password may run any.
[chime]
archive = "archive"

[chime.images.alpine]

[chime.images."chimefrb/hello-world"]
entrypoint = ["echo", "hello, world"]
"""
USER = "trial"
#: of the client of CHIME/FRB; its own tests log in so
CHIME_USER = CHIME_PASSWORD = "debug"
_DURATION_S = 16
_SUBFILE_S = 8
_SUBFILE_BYTES = 1 << 20
_HEADER_BYTES = 4096


@dataclass(frozen=True)
class Trial:
    """A folder that is ready to be served."""

    config: Config
    sockets: tuple[Listening, Listening]
    facts: Mapping[str, Any]


def set_up(folder: Path) -> Trial:
    """Make what is not there yet; a folder that was used before goes on with its jobs, under a new key."""
    folder = folder.resolve()
    for name in ("raw", "products", "scratch", "work", "archive"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "mwaconvert.toml"
    if not path.exists():
        path.write_text(_CONFIG)
    config = read_config(path)
    obsid = observation(folder / "raw")
    store = Store(config.database)
    key = store.add_user(USER, Role.APPROVE, details={"group": "trial"})
    if store.user(CHIME_USER) is None:
        store.add_user(CHIME_USER, Role.OPERATE, details={"group": "trial"}, secret=CHIME_PASSWORD)
    store.close()
    ca, tls = _certificates(folder)
    plain, secure = listen("127.0.0.1", 0), listen("127.0.0.1", 0, tls)
    facts = {
        "asvo_url": plain.url,
        "asvo_https_url": secure.url,
        "ca": str(ca),
        "key": key,
        "obsid": obsid,
        "page_url": f"{plain.url}/",
        "chime_url": f"{plain.url}/frb-master",
        "chime_user": CHIME_USER,
        "chime_password": CHIME_PASSWORD,
    }
    return Trial(config, (plain, secure), facts)


def observation(raw: Path) -> str:
    """Raw visibilities and voltages of a simulated observation, in `raw/<obsid>`; the obsid."""
    done = [path.parent.name for path in raw.glob("*/complete")]
    if done:
        return done[0]
    from mwaconvert.simulate import simulate

    made = simulate(
        raw / "new",
        "mwax-128",
        duration_s=_DURATION_S,
        n_tiles=16,
        coarse_channels=2,
        noise_jy=20,
        overwrite=True,
    )
    obsid = made.metafits.name[:10]
    channels = sorted({int(found[1]) for path in made.raw if (found := re.search(r"_ch(\d{3})_", path.name))})
    for second in range(0, _DURATION_S, _SUBFILE_S):
        for channel in channels:
            _subfile(raw / "new" / f"{obsid}_{int(obsid) + second}_{channel:03d}.sub", obsid, second, channel)
    (raw / "new").replace(raw / obsid)
    (raw / obsid / "complete").touch()
    return obsid


def _subfile(path: Path, obsid: str, second: int, channel: int) -> None:
    """Voltages that are noise, under a header that says what they are."""
    import numpy as np

    facts = {
        "HDR_SIZE": _HEADER_BYTES,
        "OBS_ID": obsid,
        "SUBOBS_ID": int(obsid) + second,
        "COARSE_CHANNEL": channel,
    }
    header = "".join(f"{name} {value}\n" for name, value in facts.items())
    noise = np.random.default_rng([second, channel]).normal(0, 10, _SUBFILE_BYTES).astype(np.int8)
    path.write_bytes(header.encode().ljust(_HEADER_BYTES, b"\0") + noise.tobytes())


def _certificates(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """A private CA, and a certificate and key for this machine; new ones at each start."""
    trustme = need("trustme", "service", "a trial over https")
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1", "localhost", "::1")
    there = folder / "tls"
    there.mkdir(exist_ok=True, mode=0o700)
    cert, key, root = there / "server.pem", there / "server.key", folder / "ca.pem"
    key.unlink(missing_ok=True)
    key.touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(key))
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    ca.cert_pem.write_to_path(str(root))
    return root, (cert, key)
