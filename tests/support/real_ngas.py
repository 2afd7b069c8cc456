"""A real NGAS server on loopback, by a Python that has ngamsServer: two disks, each file on both.

NGAS is not in the registry: install ngamsCore, ngamsServer and ngamsPlugIns from a checkout of its repository into an
environment of their own (setuptools < 70, DBUtils < 2, bsddb3), and name its Python as MWACONVERT_NGAS_PYTHON.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

VARIABLE = "MWACONVERT_NGAS_PYTHON"
DISKS = ("volume1", "volume2")
_CONFIG = """\
<?xml version="1.0" encoding="UTF-8"?>
<NgamsCfg Id="tests">
  <Server Id="server" RootDirectory="{root}" ArchiveName="tests" BlockSize="65536" IpAddress="127.0.0.1"
          PortNo="{port}" MaxSimReqs="10" ProxyMode="0"/>
  <Authorization Id="users" Enable="1"><User Name="ann" Password="c2VjcmV0" Commands="*"/></Authorization>
  <Log Id="log" LocalLogFile="log/server.nglog" LocalLogLevel="4" LogRotateCache="3" LogRotateInt="01T00:00:00"
       SysLog="0" SysLogPrefix="ngas" ArchiveRotatedLogfiles="0"/>
  <ArchiveHandling Id="archive" BackLogBufferDirectory="." BackLogBuffering="0" FreeSpaceDiskChangeMb="1"
                   MinFreeSpaceWarningMb="1" PathPrefix="files" Replication="1"/>
  <Permissions Id="all" AllowArchiveReq="1" AllowProcessingReq="0" AllowRemoveReq="1" AllowRetrieveReq="1"/>
  <Db Id="db" Snapshot="0" Interface="sqlite3" MaxPoolConnections="5" UseFileIgnore="true"
      UsePreparedStatements="true" database="{root}/ngas.sqlite"/>
  <Notification Id="mail" Active="0" MaxRetentionSize="1" MaxRetentionTime="00T00:30:00" Sender="n@localhost"
                SmtpHost="localhost"/>
  <HostSuspension Id="sleep" IdleSuspension="0" IdleSuspensionTime="60" SuspensionPlugIn="none"
                  SuspensionPlugInPars="none" WakeUpCallTimeOut="200" WakeUpPlugIn="none" WakeUpPlugInPars="none"
                  WakeUpServerHost="none"/>
  <SubscriptionDef Id="subscribers" AutoUnsubscribe="1" BackLogExpTime="28T00:00:00" Enable="0"
                   SuspensionTime="0T00:03:00"/>
  <JanitorThread Id="janitor" SuspensionTime="0T00:10:00" MinSpaceSysDirMb="1"/>
  <Caching Enable="0" Period="0T00:30:00" MaxCacheSize="1000000000" CheckCanBeDeleted="1"/>
  <DataCheckThread Id="check" Active="0" Scan="0" ForceNotif="0" MaxProcs="1" MinCycle="01T00:00:00"/>
  <SystemPlugIns Id="plugins" LabelPrinterPlugIn="-" LabelPrinterPlugInPars="-"
                 OfflinePlugIn="ngamsGenericOfflinePlugIn" OfflinePlugInPars="unmount=0"
                 OnlinePlugIn="ngamsGenericOnlinePlugIn" OnlinePlugInPars="" DiskSyncPlugIn="" DiskSyncPlugInPars=""/>
  <MimeTypes Id="types"><MimeTypeMap Extension="bin" MimeType="application/octet-stream"/></MimeTypes>
  <StorageSets>
    <StorageSet StorageSetId="both" MainDiskSlotId="volume1" RepDiskSlotId="volume2" DiskLabel="T" Mutex="0"
                Synchronize="1"/>
  </StorageSets>
  <Streams>
    <Stream MimeType="application/octet-stream" PlugIn="ngamsGenDapi" PlugInPars="">
      <StorageSetRef StorageSetId="both"/>
    </Stream>
  </Streams>
  <Processing Id="none" ProcessingDirectory="."/>
</NgamsCfg>
"""


@dataclass
class RealNgas:
    """`root` holds a folder for each disk."""

    root: Path
    port: int
    disks: tuple[str, ...] = DISKS

    @property
    def address(self) -> str:
        return f"ngas://ann:secret@127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return self.address.replace("ngas:", "http:")

    @property
    def names(self) -> list[str]:
        with self._database() as db:
            return [row[0] for row in db.execute("SELECT DISTINCT file_id FROM ngas_files")]

    def keep(self, name: str, data: bytes) -> None:
        """Put a file in, past the program that is tested."""
        import httpx

        query = {"filename": name, "file_id": name, "mime_type": "application/octet-stream"}
        httpx.post(f"{self.http}/ARCHIVE", params=query, content=data, trust_env=False).raise_for_status()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.root / "ngas.sqlite", timeout=30)) as db, db:
            yield db

    def change(self, column: str, value: object, name: str, disk: str) -> None:
        """Change what the server believes of a copy."""
        with self._database() as db:
            where = "file_id = ? AND disk_id = ?"
            assert db.execute(
                f"UPDATE ngas_files SET {column} = ? WHERE {where}", (value, name, disk)
            ).rowcount

    def copies(self, name: str) -> dict[tuple[str, int], Path]:
        """Files on disk, by the name of the disk and version."""
        query = "SELECT d.slot_id, f.file_version, f.file_name FROM ngas_files f JOIN ngas_disks d USING (disk_id)"
        with self._database() as db:
            found = db.execute(f"{query} WHERE f.file_id = ?", (name,))
            return {(slot, version): self.root / slot / path for slot, version, path in found}

    def corrupt(self, name: str, disk: str) -> None:
        path = self.copies(name)[disk, 1]
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.write(b"rotten")

    def repair(self, name: str, disk: str) -> None:
        """Bring the bytes of the other disk."""
        copies = self.copies(name)
        (good,) = [path for (other, _), path in copies.items() if other != disk]
        copies[disk, 1].write_bytes(good.read_bytes())


@contextmanager
def real_ngas(root: Path) -> Iterator[RealNgas]:
    """Start it, wait until it is online, and end it."""
    python = os.environ.get(VARIABLE)
    if python is None:
        pytest.skip(f"{VARIABLE} names no Python with ngamsServer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = RealNgas(root, probe.getsockname()[1])
    _prepare(server, Path(python))
    with (root / "server.out").open("wb") as log:
        argv = [
            Path(python).with_name("ngamsServer"),
            "-cfg",
            root / "server.xml",
            "-autoonline",
            "-force",
            "-v",
            "3",
        ]
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=root, start_new_session=True)
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _prepare(server: RealNgas, python: Path) -> None:
    server.root.mkdir()
    (server.root / "server.xml").write_text(_CONFIG.format(root=server.root, port=server.port))
    where = "import ngamsSql; print(ngamsSql.__path__[0])"
    tables = Path(
        subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    )
    with closing(sqlite3.connect(server.root / "ngas.sqlite")) as db:
        db.executescript((tables / "ngamsCreateTables-SQLite.sql").read_text())
    for disk in DISKS:
        (server.root / disk).mkdir()
        argv = [python.with_name("ngas-prepare-volume"), "-y", "-i", disk, server.root / disk]
        subprocess.run(argv, check=True, capture_output=True)


def _wait(server: RealNgas, process: subprocess.Popen[bytes]) -> None:
    import httpx

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, (server.root / "server.out").read_text()
        try:
            if "ONLINE" in httpx.get(f"{server.http}/STATUS", trust_env=False).text:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError((server.root / "server.out").read_text())
