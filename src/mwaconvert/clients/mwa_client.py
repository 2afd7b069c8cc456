"""mwa_client: jobs of the ASVO from a shell, in the place of the program of that name.

Same options, lines, exit codes and error file. Beyond it: downloads are resumed and checked, archives unpacked
safely (--unpack), a lost notifier is no end, all problems of a job file are told, jobs can be cancelled, and
what was refused or could not be fetched shows in the exit code (--compat-exit: as before).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwaconvert.clients.asvo import Notify, Session, address_from, get_pretty_version_string
from mwaconvert.clients.downloads import fetch, file_name
from mwaconvert.errors import Error
from mwaconvert.extras import need
from mwaconvert.unpacking import unpack
from mwaconvert.vocabulary.job_rows import JobKind, Problem, Row, read_rows

if TYPE_CHECKING:
    from requests import HTTPError


class Exit(IntEnum):
    """Exit codes, as documented."""

    DONE = 0
    FAILED = 1
    LOGIN = 2
    JOB_FILE = 3
    JOB_ERRORS = 4


class State(StrEnum):
    """States of jobs that mean something to this program."""

    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


#: what a line about a job begins with; of other states, their own word
_LABELS = {
    "preparing": "Preparing",
    "queued": "Queued",
    "waitcal": "Waiting for calibration",
    "staging": "Staging",
    "staged": "Staged",
    "downloading": "Retrieving Files from Archive",
    "preprocessing": "Preprocessing",
    "imaging": "Imaging",
    "delivering": "Delivering",
    State.CANCELLED: "Cancelled",
    State.EXPIRED: "Expired",
}
_TYPES = {
    0: "conversion",
    1: "download visibilities",
    2: "download metadata",
    3: "download_voltage",
    4: "cancel job",
    5: "beamformer",
    6: "imaging",
}
_SUBMIT: dict[JobKind, Callable[[Session, Mapping[str, Any]], Any]] = {
    JobKind.CONVERSION: Session.submit_conversion_job_direct,
    JobKind.DOWNLOAD: Session.submit_download_job_direct,
    JobKind.VOLTAGES: Session.submit_voltage_job_direct,
    JobKind.BEAMFORMER: Session.submit_beamformer_job_direct,
    JobKind.IMAGING: Session.submit_imaging_job_direct,
}
#: error codes of a refused submission
_REFUSED, _DUPLICATE = 0, 2
_COLOURS = {"Error": 31, "Download Failed": 31, "Cancelled": 31, "Deleted": 31, "Expired": 31}
_COLOURS |= {
    "Ready for Download": 32,
    "Download complete": 32,
    "Queued": 35,
    "Downloading": 35,
    "Skipping": 35,
}
#: a folder on a shared disk belongs to a job if it ends so; a server could name any other
_SCRATCH = re.compile(r"/(?:[^/]+/)+asvo/(?P<job_id>\d+)")


@dataclass(frozen=True)
class Result:
    """A job that did not end well, as the error file has it; job_id is None if it was refused."""

    job_id: int | None
    obs_id: str
    result: str


@dataclass
class Out:
    """What is printed, by several threads: lines for people, or events as JSON."""

    as_json: bool
    colour: bool
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, text: str, label: str = "", **event: Any) -> None:
        """A line, or the event that it tells of."""
        if self.as_json:
            text = json.dumps({"event": label or "message", **(event or {"text": text})})
        elif label:
            paint = self.colour and label in _COLOURS
            text = f"\x1b[{_COLOURS[label]}m{label}:\x1b[0m {text}" if paint else f"{label}: {text}"
        with self._lock:
            print(text, flush=True)


class Stop(Exception):
    """An end with a message and an exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


# ---------------------------------------------------------------------------------------------- jobs


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True)
class Job:
    """A row of the server's list."""

    job_id: int
    obs_id: str
    state: str
    type: int | None
    error: str
    params: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, item: Any) -> Job | None:
        """From an item of get_jobs or a frame; None if it is not a job. What is absent or unknown does no harm."""
        row = _mapping(_mapping(item).get("row"))
        try:
            job_id = int(row.get("id", ""))
        except (ValueError, TypeError):
            return None
        params = _mapping(row.get("job_params"))
        files = _mapping(row.get("product")).get("files")
        return cls(
            job_id,
            str(params.get("obs_id", "N/A")),
            str(row.get("job_state", "unknown")),
            row.get("job_type"),
            str(row.get("error_text") or ""),
            params,
            [file for file in files if isinstance(file, Mapping)] if isinstance(files, list) else [],
        )

    @property
    def type_name(self) -> str | None:
        return None if self.type is None else _TYPES.get(self.type)

    @property
    def label(self) -> str:
        if self.state == State.COMPLETED:
            shared = self.files and self.files[0].get("type") not in (None, "acacia")
            return f"Ready on /{self.files[0]['type']}" if shared else "Ready for Download"
        if self.state == State.ERROR:
            return "Error"
        return _LABELS.get(self.state, self.state.capitalize())

    def words(self, verbose: bool = False) -> str:
        text = f"Job id: {self.job_id} Obs id: {self.obs_id} type: {self.type_name}"
        if verbose:
            text += f" typeid: {self.type} params: {dict(self.params)}"
        if self.state == State.ERROR:
            return f"{self.error} {text}"
        if self.state != State.COMPLETED:
            return text
        if self.label == "Ready for Download":
            return f"{text} size: {sum(int(file.get('size') or 0) for file in self.files)} bytes"
        return f"{text} path: {self.files[0].get('path')}, size: {self.files[0].get('size')} bytes"

    def facts(self) -> dict[str, Any]:
        """For --json; addresses of files are keys to them, so they are not printed."""
        files = [{key: value for key, value in file.items() if key != "url"} for file in self.files]
        return {
            "job_id": self.job_id,
            "obs_id": self.obs_id,
            "type": self.type_name,
            "state": self.state,
            "error": self.error or None,
            "files": files,
        }


@dataclass
class Client:
    """One run of the program."""

    args: argparse.Namespace
    session: Session
    out: Out
    folder: Path
    results: list[Result] = field(default_factory=list)
    missed: set[int] = field(default_factory=set)  # watched jobs that the last list did not have

    def jobs(self) -> list[Job]:
        """The user's jobs."""
        try:
            return [job for item in self.session.get_jobs() if (job := Job.of(item)) is not None]
        except (OSError, ValueError, TypeError) as error:  # requests' errors are OSErrors
            raise Stop(Exit.FAILED, f"Could not obtain jobs list from server: {error}") from None

    def show(self, job: Job) -> None:
        """A line about a job."""
        self.out.line(job.words(self.args.verbose), job.label, **job.facts())

    def fail(self, job_id: int | None, obs_id: str, text: str) -> None:
        """Note a job that did not end well."""
        self.results.append(Result(job_id, obs_id, text.replace("\n", " ")))

    # ------------------------------------------------------------------------------------- submit

    def submit(self, rows: Sequence[Row]) -> list[int]:
        """Submit all rows; returns the ids of jobs to watch."""
        watched: list[int] = []
        for number, row in enumerate(rows, 1):
            params = dict(row.params)
            params.setdefault("allow_resubmit", str(self.args.allow_resubmit).lower())
            job_id = self._submit_one(number, row, params)
            if job_id is not None and job_id not in watched:
                watched.append(job_id)
        return watched

    def _submit_one(self, number: int, row: Row, params: Mapping[str, str]) -> int | None:
        import requests

        try:
            job_id = int(_SUBMIT[row.kind](self.session, params)["job_id"])
        except requests.HTTPError as error:
            return self._refused(number, params, error)
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise Stop(
                Exit.FAILED,
                f"Error submitting job #{number} from csvfile. Details below:\n{type(error).__name__}: {error}",
            ) from None
        self.out.line(f"{job_id} ", "Submitted job", job_id=job_id, obs_id=params.get("obs_id"))
        return job_id

    def _refused(self, number: int, params: Mapping[str, str], error: HTTPError) -> int | None:
        try:
            reply = error.response.json()
            code, text, job_id = reply.get("error_code"), reply.get("error"), reply.get("job_id")
        except (ValueError, AttributeError):
            code, text, job_id = None, f"HTTP {error.response.status_code} {error.response.text[:200]}", None
        if code == _DUPLICATE and job_id is not None:
            self.out.line(f"{job_id} already running or complete.", "Skipping", job_id=job_id)
            return int(job_id)
        self.out.line(f"job #{number} - {text}.", "Skipping", job_number=number, error=text)
        if not self.args.compat_exit:
            self.fail(None, params.get("obs_id", "N/A"), f"Error: job #{number} was refused: {text}")
        return None

    # -------------------------------------------------------------------------------------- watch

    def watch(self, job_ids: Sequence[int]) -> None:
        """Follow jobs to their ends, and fetch each as soon as it is ready."""
        pending, shown = set(job_ids), dict[int, str]()
        fetches: list[Future[None]] = []
        with self._pool() as pool:

            def look(item: Any) -> None:
                job = Job.of(item)
                if job is None or job.job_id not in pending:
                    return
                if item.get("action") == "DELETE":
                    self.out.line(job.words(self.args.verbose), "Deleted", job_id=job.job_id)
                    pending.discard(job.job_id)
                elif shown.get(job.job_id) != job.state:
                    shown[job.job_id] = job.state
                    if self._has_ended(job):
                        pending.discard(job.job_id)
                    if job.state == State.COMPLETED:
                        fetches.append(pool.submit(self.fetch, job))

            self._listen(pending, look)
            for done in fetches:
                done.result()

    def _has_ended(self, job: Job) -> bool:
        if job.state == State.ERROR:
            self.fail(job.job_id, job.obs_id, f"Error: {job.error}")
            return True
        self.show(job)
        if job.state == State.EXPIRED:
            self.fail(job.job_id, job.obs_id, "Error: the job has expired")
        return job.state in (State.COMPLETED, State.CANCELLED, State.EXPIRED)

    def _listen(self, pending: set[int], look: Callable[[Any], None]) -> None:
        """Frames of the notifier while it is there, the list of jobs now and then, until nothing is pending."""
        notify: Notify | None = None
        try:
            while pending:
                notify = notify or self._connect()
                self._poll(pending, look)
                if not self._hear(notify, pending, look):
                    if notify is not None:
                        self.out.line(f"Control connection lost, asking every {self.args.poll:g} s")
                        notify.close()
                        notify = None
                    if pending:
                        time.sleep(self.args.poll)
        finally:
            if notify is not None:
                notify.close()

    def _hear(self, notify: Notify | None, pending: set[int], look: Callable[[Any], None]) -> bool:
        """Look at frames until none comes for a while; False when the notifier is not there."""
        try:
            while pending:
                frame = notify.recv(self.args.poll) if notify is not None else None
                if frame is None:
                    return False
                look(frame)
        except TimeoutError:
            pass  # nothing new: the list will show whether a frame was missed
        return True

    def _connect(self) -> Notify | None:
        import websocket

        self.out.line("Connecting to MWA ASVO Notifier...")
        try:
            notify = Notify.listen(self.session)
        except (OSError, websocket.WebSocketException):
            return None
        self.out.line("Connected to MWA ASVO Notifier")
        return notify

    def _poll(self, pending: set[int], look: Callable[[Any], None]) -> None:
        import requests

        try:
            items = self.session.get_jobs()
        except requests.HTTPError as error:
            if error.response.status_code in (401, 403):  # the login has ended
                self._login_again()
            return
        except (OSError, ValueError):
            return  # the next one may do
        for item in items:
            look(item)
        gone = pending - {job.job_id for item in items if (job := Job.of(item)) is not None}
        for job_id in gone & self.missed:  # a server may take a moment to list a new one
            self.fail(job_id, "N/A", _no_such_job(job_id))
            pending.discard(job_id)
        self.missed = gone

    def _login_again(self) -> None:
        self.session.close()
        try:
            self.session = _login(self.out)
        except Stop as stop:
            if stop.code is Exit.LOGIN:
                raise

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        """Threads for downloads: waited for at the end, but not when something went wrong."""
        pool = ThreadPoolExecutor(self.args.parallel)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    # ------------------------------------------------------------------------------------ download

    def download(self, job_id: int) -> bool:
        """Fetch a job, or with 0 all that are ready; False if there are none."""
        jobs = self.jobs()
        if job_id == 0:
            ready = [job for job in jobs if job.state == State.COMPLETED]
            for job in ready:
                self.show(job)
            with self._pool() as pool:
                list(pool.map(self.fetch, ready))
            return bool(ready)
        found = {job.job_id: job for job in jobs}.get(job_id)
        if found is None:
            self.fail(job_id, "N/A", _no_such_job(job_id))
        elif found.state != State.COMPLETED:
            self.fail(job_id, found.obs_id, "Error: Invalid job state- job not ready for download")
        else:
            self.fetch(found)
        return True

    def fetch(self, job: Job) -> None:
        """Bring the files of a job to the folder; what goes wrong is noted."""
        if not job.files:
            self._not_fetched(job, "the job has no files")
        for file in job.files:
            try:
                if file.get("type") == "acacia":
                    self._fetch_file(job, file)
                else:
                    self._copy_folder(job, file)
            except (Error, OSError, KeyError, ValueError) as error:
                self._not_fetched(job, str(error))

    def _not_fetched(self, job: Job, why: str) -> None:
        self.out.line(f"Job id: {job.job_id} {why}", "Download Failed", job_id=job.job_id, error=why)
        if not self.args.compat_exit:
            self.fail(job.job_id, job.obs_id, f"Error: {why}")

    def _fetch_file(self, job: Job, file: Mapping[str, Any]) -> None:
        url, size, sha1 = file["url"], int(file["size"]), file.get("sha1")
        target = self.folder / file_name(url)
        facts = {"job_id": job.job_id, "file": str(target), "size": size}
        address = url.partition("?")[0]  # what follows is a key
        self.out.line(f"Job id: {job.job_id} file: {address} size: {size} bytes", "Downloading", **facts)
        fetch(url, target, size, sha1, verify=self.session.verify)
        self.out.line(
            f"Job id: {job.job_id} file: {target} server-sha1: {sha1}",
            "Download complete",
            **facts,
            sha1=sha1,
        )
        if self.args.unpack:
            entries = unpack(target, self.folder, overwrite=True)
            names = " ".join(entry.name for entry in entries)
            self.out.line(f"Job id: {job.job_id} {names}", "Unpacked", **facts, entries=names.split())

    def _copy_folder(self, job: Job, file: Mapping[str, Any]) -> None:
        """Copy a delivered folder that this machine sees, if it is one of a job's."""
        path, kind = Path(str(file["path"])), file.get("type")
        owner = _SCRATCH.fullmatch(str(path))
        seen = path.is_dir() and path.resolve() == path
        if not seen or not owner or int(owner["job_id"]) != job.job_id:
            self.out.line(
                f"Job id: {job.job_id} file: {path}", f"Ready on /{kind}", job_id=job.job_id, path=str(path)
            )
            return
        target = self.folder / path.name
        if not target.is_dir():
            self.out.line(f"{target} Job id: {job.job_id}", "Copying job to the directory", job_id=job.job_id)
            part = self.folder / f".{path.name}.part-{os.getpid()}"
            try:
                shutil.copytree(path, part, symlinks=False, ignore=_links)
                part.rename(target)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        self.out.line(
            f"Job id: {job.job_id} file: {target}", "Download Complete", job_id=job.job_id, file=str(target)
        )


def _links(folder: str, names: list[str]) -> set[str]:
    """Links are not copied: they could lead to anything."""
    return {name for name in names if (Path(folder) / name).is_symlink()}


def _no_such_job(job_id: int) -> str:
    return f"Error: Job Id {job_id} is not a valid job, has expired or is not owned by you."


# ------------------------------------------------------------------------------------------ the shell


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program; ends by SystemExit."""
    args = _parser().parse_args(argv)
    out = Out(args.json, sys.stdout.isatty())
    if not args.json:
        out.line(get_pretty_version_string())
    try:
        code = _run(args, out)
    except Stop as stop:
        out.line(str(stop))
        code = stop.code
    except KeyboardInterrupt:
        out.line("Interrupted! Exiting...")
        os._exit(Exit.FAILED)  # downloads may wait for their server; what came of them is kept as .part
    except Error as error:
        out.line(f"Error: {error}")
        code = Exit.FAILED
    if code is Exit.DONE and not args.json:
        out.line("mwa_client finished successfully")
    sys.exit(code)


def _run(args: argparse.Namespace, out: Out) -> Exit:
    is_full = not (args.list_only or args.submit_only or args.cancel or args.download_job_id is not None)
    rows = _rows(args) if is_full or args.submit_only else ()
    folder = Path(args.outdir or ".")
    if not folder.is_dir():
        raise Stop(Exit.FAILED, f"Error: Output directory {args.outdir} is invalid.")
    client = Client(args, _login(out), out, folder)
    try:
        return _act(client, rows)
    finally:
        client.session.close()  # perhaps another than the first


def _act(client: Client, rows: Sequence[Row]) -> Exit:
    args = client.args
    if args.list_only:
        return _list(client)
    if args.cancel:
        return _cancel(client)
    if args.download_job_id is not None:
        if not client.download(args.download_job_id):
            client.out.line("You have no jobs that are ready to download.")
    else:
        job_ids = client.submit(rows)
        if args.submit_only:
            return Exit.JOB_ERRORS if client.results else Exit.DONE
        client.watch(job_ids)
    return _report(client)


def _rows(args: argparse.Namespace) -> Sequence[Row]:
    if args.csvfile is None:
        raise Stop(Exit.FAILED, "Error: csvfile not specified")
    try:
        data = Path(args.csvfile).read_bytes()
    except OSError as error:
        raise Stop(Exit.FAILED, f"Error: {args.csvfile}: {error.strerror}") from None
    rows, problems = read_rows(data, strict=args.strict)
    if problems:
        raise Stop(Exit.JOB_FILE, "\n".join(map(_problem, problems)))
    if not rows:
        raise Stop(Exit.FAILED, "Error: No jobs to submit")
    return rows


def _problem(problem: Problem) -> str:
    return f"Error: {problem.message}, Line num: {problem.line}"


def _login(out: Out) -> Session:
    requests = need("requests", "client", "mwa_client")
    need("websocket", "client", "mwa_client")
    address = address_from(os.environ)
    key = os.environ.get("MWA_ASVO_API_KEY")
    if not key:
        raise Stop(
            Exit.FAILED,
            "[ERROR] MWA_ASVO_API_KEY env variable not defined. It is shown in your profile of the ASVO's web page; "
            "put it into your shell's start-up file:\n  export MWA_ASVO_API_KEY=xxx",
        )
    for name in ("ASVO_USER", "ASVO_PASS"):
        if os.environ.get(name):
            out.line(f"[WARNING] the variable {name} is no longer used; remove it from your start-up files.")
    out.line(f"Connecting to MWA ASVO ({address.host}:{address.port})...")
    verify = os.environ.get("SSL_VERIFY", "1") != "0"
    try:
        session = Session.login(address.https, address.host, address.port, key, verify)
    except requests.HTTPError as error:
        raise Stop(Exit.LOGIN, error.response.text) from None
    except requests.exceptions.SSLError as error:
        raise Stop(
            Exit.FAILED,
            f"the certificate of {address.host} is not trusted ({error}); name its authority in SSL_CERT_FILE",
        ) from None
    except requests.RequestException as error:
        raise Stop(Exit.FAILED, f"{address.host}:{address.port} does not answer: {error}") from None
    out.line("Connected to MWA ASVO")
    return session


def _list(client: Client) -> Exit:
    jobs = client.jobs()
    if client.args.json:
        print(json.dumps([job.facts() for job in jobs], indent=1))
        return Exit.DONE
    for job in jobs:
        client.show(job)
    if not jobs:
        client.out.line("You have no jobs.")
    return Exit.DONE


def _cancel(client: Client) -> Exit:
    import requests

    code = Exit.DONE
    for job_id in client.args.cancel:
        try:
            client.session.cancel_job(job_id)
            client.out.line(f"Job id: {job_id}", "Cancelled", job_id=job_id)
        except requests.HTTPError as error:
            why = "no such job" if error.response.status_code == 404 else error.response.text[:200]
            client.out.line(f"Job id: {job_id} {why}", "Not cancelled", job_id=job_id, error=why)
            code = Exit.JOB_ERRORS
    return code


def _report(client: Client) -> Exit:
    """Print what did not end well, and write the error file."""
    facts = [{"job_id": r.job_id, "obs_id": r.obs_id, "result": r.result} for r in client.results]
    if client.args.errfile:
        try:
            Path(client.args.errfile).write_text(json.dumps(facts, indent=4) if facts else "")
        except OSError as error:
            raise Stop(Exit.FAILED, f"Error: {client.args.errfile}: {error.strerror}") from None
    if not facts:
        return Exit.DONE
    client.out.line("There were errors:")
    for fact in facts:
        words = f" Job id: {fact['job_id']} Obs id: {fact['obs_id']}" if fact["obs_id"] != "N/A" else ""
        client.out.line(f"{str(fact['result']).removeprefix('Error: ')}{words}", "Error", **fact)
    return Exit.JOB_ERRORS


def _download_id(text: str) -> int:
    if text.lower() == "all":
        return 0
    if not re.fullmatch(r"\d{1,10}", text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not valid for -w / --download-only. Try a Job Id, or 'all' for all jobs."
        )
    return int(text)


def _parallel(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 64")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mwa_client",
        description=f"{get_pretty_version_string()}\n\nSubmit, watch and download jobs of the MWA ASVO, or of a "
        "service that speaks as it does.\nMWA_ASVO_API_KEY is your key; MWA_ASVO_HOST, if not the ASVO itself, a "
        "host or https://host:port.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "-s",
        "--submit-only",
        action="store_true",
        help="submit job(s) from csv file then exit (-d is ignored)",
    )
    mode.add_argument(
        "-l", "--list-only", action="store_true", help="list your jobs and exit (-s, -c & -d are ignored)"
    )
    mode.add_argument(
        "-w",
        "--download-only",
        type=_download_id,
        dest="download_job_id",
        metavar="DOWNLOAD_JOB_ID",
        help="download this job, or all that are ready (all or 0), then exit (-s, -c & -l are ignored)",
    )
    mode.add_argument("--cancel", type=int, nargs="+", metavar="JOB_ID", help="cancel jobs, then exit")
    parser.add_argument("-c", "--csv", dest="csvfile", metavar="FILE", help="csv job file")
    parser.add_argument("-d", "--dir", dest="outdir", metavar="DIR", help="download directory")
    parser.add_argument(
        "-e", "--error-file", "--errfile", dest="errfile", help="write errors in json format to an error file"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="verbose output")
    parser.add_argument(
        "-ar", "--allow-resubmit", action="store_true", help="submit jobs that were completed before again"
    )
    parser.add_argument(
        "--unpack", action="store_true", help="unpack archives beside them; what exists is replaced"
    )
    parser.add_argument("--parallel", type=_parallel, default=4, metavar="N", help="downloads at a time (4)")
    parser.add_argument(
        "--poll", type=float, default=60.0, metavar="S", help="seconds between looks at the list (60)"
    )
    parser.add_argument("--json", action="store_true", help="events as JSON, one a line; with -l one list")
    parser.add_argument("--strict", action="store_true", help="take job files as the first mwa_client does")
    parser.add_argument(
        "--compat-exit",
        action="store_true",
        help="exit with 0 although jobs were refused or downloads failed",
    )
    return parser


if __name__ == "__main__":
    main()
