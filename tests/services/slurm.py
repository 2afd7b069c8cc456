"""A Slurm of one node on loopback for tests, without accounting; gone at the end. Needs root, slurm-wlm, munge."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def is_installed() -> bool:
    programs = ("slurmctld", "slurmd", "munged", "sbatch")
    return os.geteuid() == 0 and all(shutil.which(program) for program in programs)


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class SlurmCluster:
    """Use as a context manager; `env` is what the commands need."""

    def __init__(self, *, cpus: int = 64) -> None:
        self._cpus = cpus
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.env = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SlurmCluster:
        self.folder.chmod(0o755)
        (self.folder / "munge").mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        (self.folder / "state").mkdir()
        (self.folder / "spool").mkdir()
        controller, node = _free_ports(2)
        host = socket.gethostname().split(".")[0]
        socket_path = self.folder / "munge" / "socket"
        (self.folder / "slurm.conf").write_text(
            f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={socket_path}
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MinJobAge=10
KillWait=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={self._cpus} RealMemory=8000 State=UNKNOWN
PartitionName=work Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
        )
        munged = ["munged", "--foreground", "--force", f"--socket={socket_path}", f"--key-file={key}"]
        munged += [f"--{kind}-file={self.folder}/munge/{kind}" for kind in ("log", "pid", "seed")]
        self._start("munged", munged)
        self._await(socket_path.exists)
        self.start_controller()
        self._start("slurmd", ["slurmd", "-D", "-f", self.env["SLURM_CONF"]])
        self._await(lambda: "idle" in self.call("sinfo", "--noheader", "--format=%t"))
        return self

    def __exit__(self, *_error: object) -> None:
        self.call("scancel", "--user=root")
        for name in reversed(list(self._processes)):
            self._stop(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_controller(self) -> None:
        self._start("slurmctld", ["slurmctld", "-D", "-f", self.env["SLURM_CONF"]])

    def stop_controller(self) -> None:
        self._stop("slurmctld")

    def call(self, *argv: str) -> str:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={**os.environ, **self.env}
        )
        return done.stdout

    def _start(self, name: str, argv: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                argv, stdout=log, stderr=log, env={**os.environ, **self.env}, start_new_session=True
            )

    def _stop(self, name: str) -> None:
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)

    def _await(self, true) -> None:
        deadline = time.monotonic() + 60
        while not true():
            if time.monotonic() > deadline:
                logs = {log.name: log.read_text()[-1500:] for log in self.folder.glob("*.log")}
                raise TimeoutError(f"Slurm does not come up: {logs}")
            time.sleep(0.2)
