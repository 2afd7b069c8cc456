"""The ASVO from Python: submit jobs, watch and cancel them, fetch what they made.

The names are those of the API of manta-ray-client, so a program that uses it changes one import. Two things
differ: certificates are verified unless `verify=False` says otherwise, and downloads resume and are checked.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from mwaconvert import __version__
from mwaconvert.clients.downloads import fetch
from mwaconvert.errors import InputError
from mwaconvert.extras import need

if TYPE_CHECKING:
    import requests
    import websocket

#: the release of manta-ray-client whose protocol this is; servers choose their words by it
_SPEAKS = "2.0.1"
_HOST = "asvo.mwatelescope.org"
#: seconds to wait for a connection, and for the next bytes of an answer
_TIMEOUT_S = (10.0, 120.0)
#: where a certificate authority of one's own may be named
_AUTHORITIES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE")


def get_version_number() -> str:
    """Release of manta-ray-client whose protocol this is."""
    return _SPEAKS


def get_api_version_number() -> str:
    """Name under which the client logs in."""
    major, minor, _ = _SPEAKS.split(".")
    return f"mantaray-clientv{major}.{minor}"


def get_pretty_version_string() -> str:
    """First line of what mwa_client prints."""
    return f"manta-ray-client version {_SPEAKS} (mwaconvert {__version__})"


@dataclass(frozen=True)
class Address:
    """Where an ASVO is."""

    https: bool
    host: str
    port: int

    @property
    def api(self) -> str:
        return f"{'https' if self.https else 'http'}://{self.host}:{self.port}/api"

    @property
    def notifier(self) -> str:
        return f"{'wss' if self.https else 'ws'}://{self.host}:{self.port}/api/job_results"


def address_from(environ: Mapping[str, str]) -> Address:
    """The ASVO that the environment names, in the syntax of either released client.

    Parameters
    ----------
    environ : MWA_ASVO_HOST is a host (then MWA_ASVO_PORT and MWA_ASVO_HTTPS count), host:port, or a URL

    Raises
    ------
    InputError : it names none

    Examples
    --------
    >>> address_from({"MWA_ASVO_HOST": "http://127.0.0.1:8778"}).api
    'http://127.0.0.1:8778/api'
    >>> address_from({"MWA_ASVO_HOST": "127.0.0.1", "MWA_ASVO_PORT": "8778", "MWA_ASVO_HTTPS": "0"}).api
    'http://127.0.0.1:8778/api'
    """
    host = environ.get("MWA_ASVO_HOST") or _HOST
    https = environ.get("MWA_ASVO_HTTPS", "1") == "1"
    try:
        if "://" in host:
            parts = urlsplit(host)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
            https = parts.scheme == "https"
            return Address(https, parts.hostname, parts.port or (443 if https else 80))
        parts = urlsplit(f"//{host}")
        if not parts.hostname or parts.path:
            raise ValueError
        return Address(https, parts.hostname, parts.port or int(environ.get("MWA_ASVO_PORT") or 443))
    except ValueError:
        raise InputError(
            f"MWA_ASVO_HOST is {host!r}, MWA_ASVO_PORT {environ.get('MWA_ASVO_PORT', '')!r}; expected a host and "
            "a port, or https://host:port"
        ) from None


def authority() -> str | None:
    """File of certificates that the environment names, None for the usual ones."""
    return next((os.environ[name] for name in _AUTHORITIES if os.environ.get(name)), None)


class Session:
    """A login.

    Examples
    --------
    >>> with Session.login("1", "asvo.mwatelescope.org", "443", key) as session:  # doctest: +SKIP
    ...     session.submit_download_job(1110103576, "vis")
    {'job_id': 77}
    """

    def __init__(self, address: Address, session: requests.Session, verify: bool | str) -> None:
        self.address = address
        self.session = session
        self.verify = verify

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session on this side."""
        self.session.close()

    @classmethod
    def login(cls, https: str | bool, host: str, port: str | int, api_key: str, verify: bool = True) -> Self:
        """Log in.

        Parameters
        ----------
        https : "1" or True for TLS
        verify : whether the server's certificate must be good

        Raises
        ------
        requests.HTTPError : the server refuses; the reason is its text
        requests.ConnectionError : it does not answer
        """
        requests = need("requests", "client", "the ASVO client")
        address = Address(https in ("1", True), host, int(port))
        session = requests.Session()
        session.headers["User-Agent"] = f"mwaconvert/{__version__}"
        checked: bool | str = (authority() or True) if verify else False
        reply = session.post(
            f"{address.api}/api_login",
            auth=(get_api_version_number(), api_key),
            verify=checked,
            timeout=_TIMEOUT_S,
        )
        reply.raise_for_status()
        return cls(address, session, checked)

    def submit_conversion_job(
        self,
        obs_id: int | str,
        time_res: float,
        freq_res: float,
        edge_width: float,
        conversion: str,
        calibrate: bool,
        flags: Sequence[str] = (),
    ) -> Any:
        """Ask for a conversion, in the names of cotter's time.

        Parameters
        ----------
        time_res : seconds
        freq_res, edge_width : kHz
        conversion : ms or uvfits
        flags : names of switches to turn on, such as norfi

        Returns
        -------
        {"job_id": number}
        """
        params = {
            "obs_id": obs_id,
            "timeres": time_res,
            "freqres": freq_res,
            "edgewidth": edge_width,
            "conversion": conversion,
            "calibrate": calibrate,
        }
        return self.submit_conversion_job_direct({**params, **dict.fromkeys(flags, 1)})

    def submit_conversion_job_direct(self, parameters: Mapping[str, Any]) -> Any:
        """Ask for a conversion with these parameters."""
        return self._submit("conversion_job", parameters)

    def submit_download_job(self, obs_id: int | str, download_type: str) -> Any:
        """Ask for raw data (vis) or metadata (vis_meta)."""
        return self.submit_download_job_direct({"obs_id": obs_id, "download_type": download_type})

    def submit_download_job_direct(self, parameters: Mapping[str, Any]) -> Any:
        """Ask for raw data with these parameters."""
        return self._submit("download_vis_job", parameters)

    def submit_voltage_job_direct(self, parameters: Mapping[str, Any]) -> Any:
        """Ask for voltages with these parameters."""
        return self._submit("voltage_job", parameters)

    def submit_beamformer_job_direct(self, parameters: Mapping[str, Any]) -> Any:
        """Ask for files of the beamformer with these parameters."""
        return self._submit("beamformer_job", parameters)

    def submit_imaging_job_direct(self, parameters: Mapping[str, Any]) -> Any:
        """Ask for images with these parameters."""
        return self._submit("imaging_job", parameters)

    def get_jobs(self) -> list[dict[str, Any]]:
        """All jobs of the user, each as {"action": ..., "row": {...}}."""
        return self._answer("GET", "get_jobs").json() or []

    def cancel_job(self, job_id: int) -> None:
        """Cancel a job that has not ended.

        Raises
        ------
        requests.HTTPError : 404: no such job of the user's; 400: it has ended
        """
        self._answer("GET", "cancel_job", params={"job_id": job_id})

    def download_file_product(
        self,
        job_id: int,
        url: str,
        output_path: str | Path,
        n_bytes: int | None = None,
        sha1: str | None = None,
    ) -> Path:
        """Fetch a file of a job; what came before goes on where it ended.

        Parameters
        ----------
        n_bytes, sha1 : as the job's row has them; without them nothing is checked

        Raises
        ------
        mwaconvert.Error : as `downloads.fetch`
        """
        return fetch(url, Path(output_path), n_bytes, sha1, verify=self.verify, what=f"job {job_id}")

    def _submit(self, path: str, parameters: Mapping[str, Any]) -> Any:
        return self._answer("POST", path, data=dict(parameters)).json()

    def _answer(self, method: str, path: str, **what: Any) -> requests.Response:
        reply = self.session.request(
            method, f"{self.address.api}/{path}", verify=self.verify, timeout=_TIMEOUT_S, **what
        )
        reply.raise_for_status()
        return reply


class Notify:
    """Changes of jobs as they happen."""

    def __init__(self, session: Session, ws: websocket.WebSocket) -> None:
        self._session = session
        self._ws = ws

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye and close."""
        self._ws.close()
        self._session.close()

    @classmethod
    def login(
        cls,
        https: str | bool,
        host: str,
        port: str | int,
        api_key: str,
        sslopt: Mapping[str, Any] | None = None,
    ) -> Self:
        """Log in and listen.

        Parameters
        ----------
        sslopt : options of websocket-client for TLS; `cert_reqs` of ssl.CERT_NONE verifies nothing
        """
        verify = sslopt is None or sslopt.get("cert_reqs") != ssl.CERT_NONE
        return cls.listen(Session.login(https, host, port, api_key, verify))

    @classmethod
    def listen(cls, session: Session) -> Self:
        """Listen with the login of a session."""
        websocket = need("websocket", "client", "listening to the ASVO")
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.session.cookies)
        sslopt: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if session.verify else ssl.CERT_NONE}
        if isinstance(session.verify, str):
            sslopt["ca_certs"] = session.verify
        if not session.verify:
            sslopt["check_hostname"] = False
        ws = websocket.create_connection(
            session.address.notifier, timeout=_TIMEOUT_S[0], header={"Cookie": cookies}, sslopt=sslopt
        )
        return cls(session, ws)

    def recv(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next change: {"action": ..., "row": {...}}; None when the connection is gone.

        Frames of another form are passed over.

        Raises
        ------
        TimeoutError : nothing came in this time
        """
        import websocket

        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._ws.settimeout(None if ends is None else max(0.01, ends - time.monotonic()))
            try:
                opcode, frame = self._ws.recv_data_frame(True)  # pings are answered in there
            except websocket.WebSocketTimeoutException:
                raise TimeoutError(f"no change in {timeout_s} s") from None
            except (websocket.WebSocketException, OSError):
                return None
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return None
            if opcode == websocket.ABNF.OPCODE_TEXT:
                try:
                    change = json.loads(frame.data)
                except ValueError:
                    continue
                if isinstance(change, dict) and isinstance(change.get("row"), dict):
                    return change
            if ends is not None and time.monotonic() >= ends:
                raise TimeoutError(f"no change in {timeout_s} s")
