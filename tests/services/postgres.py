"""A PostgreSQL of our own for tests: in a temporary folder, on a free loopback port, gone at the end."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def _program(name: str) -> str | None:
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


def is_installed() -> bool:
    has_driver = importlib.util.find_spec("psycopg") is not None
    return has_driver and _program("initdb") is not None and _program("postgres") is not None


class Postgres:
    """Use as a context manager. The server refuses to run as root, who therefore becomes user `postgres`."""

    def __init__(self, *, fsync: bool = False) -> None:
        self._fsync = "on" if fsync else "off"
        self._user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def __enter__(self) -> Postgres:
        if self._user:
            shutil.chown(self._folder, **self._user)
        argv = [
            _program("initdb"),
            "-D",
            self._folder / "data",
            "-U",
            "test",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(argv, check=True, capture_output=True, cwd=self._folder, **self._user)
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def start(self) -> None:
        import psycopg

        argv = [_program("postgres"), "-D", self._folder / "data", "-p", str(self.port), "-k", self._folder]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [
                *argv,
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=200",
                "-c",
                f"fsync={self._fsync}",
            ],
            stdout=log,
            stderr=log,
            cwd=self._folder,
            start_new_session=True,
            **self._user,
        )
        log.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._conninfo("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def stop(self, sign: int = signal.SIGINT) -> None:
        """SIGINT: disconnect all and end; SIGQUIT: end as after a loss of power."""
        self._process.send_signal(sign)
        self._process.wait(60)

    def new_database(self) -> str:
        """The URL of a database that is empty."""
        import psycopg

        name = f"jobs_{secrets.token_hex(4)}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://test@127.0.0.1:{self.port}/{name}"

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=test dbname={database}"
