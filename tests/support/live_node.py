"""A node of the live services on this machine, and those who receive what it sends."""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import yaml

from mwaconvert.errors import ResourceError
from mwaconvert.live.observation import PACKETS_PER_S, encode_parset
from mwaconvert.services.live.node import read_site
from mwaconvert.services.live.operator import ask
from mwaconvert.services.live.wire.messages import Command

HEADER = "# beam_id batch_id sample_id integration_step time DM_id DM SNR\n"
ACK = (
    '<trn:Transport role="{}" version="1.0" xmlns:trn="http://www.telescope-networks.org/schema/Transport/v1.1">'
    "<Origin>ivo://a</Origin><Response>ivo://b</Response><TimeStamp>2020-01-01T00:00:00Z</TimeStamp></trn:Transport>"
)


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(what, timeout_s=60.0, every_s=0.02):
    """The first thing that is true, or a failure."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Receiver:
    """Threads that take what a node sends: events, packets, VOEvents; with the times of arrival."""

    def __init__(self):
        self.events, self.packets, self.xml, self.at_s = [], [], [], []
        self._dada = socket.create_server(("127.0.0.1", 0))
        self._broker = socket.create_server(("127.0.0.1", 0))
        self._lofar = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._lofar.bind(("127.0.0.1", 0))
        self.n_torn = 0  # of which less than all came
        self.ports = [s.getsockname()[1] for s in (self._dada, self._lofar, self._broker)]
        self.broker_role = "ack"
        for target in (self._take_events, self._take_packets, self._take_voevents):
            threading.Thread(target=target, daemon=True).start()

    def _take_events(self):
        while True:
            try:
                link, _ = self._dada.accept()
            except OSError:
                return
            with link:
                data = b""
                try:
                    while more := link.recv(65536):
                        data += more
                except OSError:
                    self.n_torn += 1
                    continue
                self.at_s.append(time.time())
                self.events.append(data.decode())

    def _take_packets(self):
        while True:
            try:
                data = self._lofar.recv(100)
            except OSError:
                return
            if not data:
                return
            self.packets.append(data)

    def leave_lofar(self):
        """Nobody listens there, until `come_back`."""
        with suppress(OSError):
            self._lofar.shutdown(socket.SHUT_RDWR)
        self._lofar.close()

    def come_back(self):
        self._lofar = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._lofar.bind(("127.0.0.1", self.ports[1]))
        threading.Thread(target=self._take_packets, daemon=True).start()

    def _take_voevents(self):
        while True:
            try:
                link, _ = self._broker.accept()
            except OSError:
                return
            with link:
                try:
                    (n,) = struct.unpack(">I", link.recv(4, socket.MSG_WAITALL))
                    xml = link.recv(n, socket.MSG_WAITALL)
                    if len(xml) < n:
                        raise ConnectionError
                    self.xml.append(xml)
                    answer = ACK.format(self.broker_role).encode()
                    link.sendall(struct.pack(">I", len(answer)) + answer)
                except (OSError, struct.error):
                    self.n_torn += 1

    def close(self):
        for s in (self._dada, self._broker, self._lofar):
            with suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


class Node:
    """One master with its services, in a folder."""

    def __init__(self, folder, receiver=None, **sections):
        self.folder, self.receiver = folder, receiver
        self.port, self.text_port, self.page_port = free_ports(3)
        dada, lofar, broker = receiver.ports if receiver else free_ports(3)
        self.sections = {
            "darc_master": {"port": self.text_port, "parset_dir": str(folder / "parsets"), "setup_time": 0.5},
            "amber_clustering": {
                "source_file": str(folder / "sources.yaml"),
                "galactic_dm": ["/bin/echo", "100"],
                "thresh_iquv": {"interval": 0},
            },
            "dada_trigger": {"port_iquv": dada},
            "lofar_trigger": {"lofar_host": "127.0.0.1", "lofar_port": lofar, "interval": 0.1},
            "voevent_generator": {
                "broker_host": "127.0.0.1",
                "broker_port": broker,
                "interval": 0.1,
                "voevent_dir": str(folder / "voevents"),
            },
            "processor": {
                "result_dir": str(folder / "results"),
                "interval": 0.3,
                "stop_delay": 0.3,
                "extractor": {"delay": 0},
            },
            "processor_master": {"check_interval": 0.2, "max_wait_time": 20},
            "offline_processing": {"delay": 0},
            "status_website": {"web_dir": str(folder / "web"), "interval": 1},
            "network": {
                "node": "arts001",
                "port": self.port,
                "page_port": self.page_port,
                "state_dir": str(folder / "state"),
            },
        }
        for name, section in sections.items():
            self.sections.setdefault(name, {}).update(section)
        self.config = folder / "config.yaml"
        self.write_config()
        self.site = read_site(self.config)
        self.process = None

    def write_config(self):
        self.config.write_text(yaml.safe_dump(self.sections))

    def start(self, *words):
        self.log = (self.folder / "master.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mwaconvert", "live", "master", "--config", str(self.config), *words],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        return self

    def __enter__(self):
        self.start()
        try:
            self.wait_running()
        except BaseException:
            print((self.folder / "master.log").read_text()[-3000:])
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, sign=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sign)
        self.process.wait(30)
        self.log.close()

    def ask(self, command, service=None, payload=None):
        return ask(self.site, Command(command=command, service=service, payload=payload and str(payload)))

    def status(self):
        try:
            return self.ask("node_status").message
        except ResourceError:
            return None

    def wait_running(self):
        def all_up():
            facts = self.status()
            return facts and all(s["health"] in ("running", "degraded") for s in facts["services"].values())

        wait_for(all_up)

    def pid(self, service):
        """Of the process of a service, by its arguments."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if service.encode() in words and str(self.config).encode() in words and b"-I" not in words:
                return int(entry.name)
        return None

    def kill(self, service):
        os.kill(wait_for(lambda: self.pid(service)), signal.SIGKILL)

    def text(self, request, timeout_s=20.0):
        """As old clients ask: no end is said, the answer ends with the connection."""
        with closing(socket.create_connection(("127.0.0.1", self.text_port), timeout_s)) as link:
            link.sendall(request if isinstance(request, bytes) else request.encode())
            data = b""
            while more := link.recv(65536):
                data += more
        return data.decode()


class Sky:
    """An observation that runs now, and the file that AMBER writes."""

    def __init__(self, folder, task_id="190518009", duration_s=300, start_s=None, beam=0, **config):
        folder.mkdir(exist_ok=True)
        self.start_s = round((start_s or time.time() - 20) * PACKETS_PER_S) / PACKETS_PER_S
        self.amber = folder / "amber"
        self.amber.mkdir(exist_ok=True)
        parset = {
            "task.taskID": task_id,
            "task.source.name": "field",
            "task.directionReferenceFrame": "J2000",
            f"task.beamSet.0.compoundBeam.{beam}.phaseCenter": "[83.63 deg, 22.01 deg]",
        }
        facts = {
            "startpacket": round(self.start_s * PACKETS_PER_S),
            "duration": duration_s,
            "beam": beam,
            "datetimesource": f"2019-05-18-23:51:13.{task_id}",
            "amber_dir": str(self.amber),
            "output_dir": str(folder / "out"),
            "parset": encode_parset(parset),
            **config,
        }
        self.path = folder / "node.yaml"
        self.path.write_text(yaml.safe_dump(facts))
        self.file = self.amber / f"CB{beam:02d}_step1.trigger"
        self.task_id = task_id

    def pulse(self, dm=500.0, snr=30.0, width=10, age_s=0.5, beam=35):
        """Append a pulse that arrived just now; its time in the observation."""
        time_s = time.time() - self.start_s - age_s
        self.write(time_s, dm, snr, width, beam)
        return time_s

    def write(self, time_s, dm, snr, width, beam=35):
        with self.file.open("a") as file:
            if file.tell() == 0:
                file.write(HEADER)
            file.write(f"{beam} 1 1 {width} {time_s:.4f} 1 {dm} {snr}\n")


def run_async(job, timeout_s=30.0):
    """Run it, and let what it began end before the loop does."""

    async def bounded():
        async with asyncio.timeout(timeout_s):
            try:
                return await job
            finally:
                others = asyncio.all_tasks() - {asyncio.current_task()}
                if others:
                    _, pending = await asyncio.wait(others, timeout=0.5)
                    for task in pending:
                        task.cancel()
                    await asyncio.gather(*others, return_exceptions=True)
                await asyncio.sleep(0.02)

    return asyncio.run(bounded())
