"""The status page: all nodes at a glance, the latest candidates, what is armed; numbers for Prometheus."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mwaconvert.errors import Error
from mwaconvert.live.files import write_whole
from mwaconvert.live.settings import expanded
from mwaconvert.services.live.node import Name, Site
from mwaconvert.services.live.operator import own_peer, poll
from mwaconvert.services.live.processes.service import Service
from mwaconvert.services.live.wire.keys import Peer, read_peers
from mwaconvert.text import plain, utc_text

_log = logging.getLogger(__name__)
#: a look at the nodes is good for so long, s
_FRESH_S = 1.0
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape()
)
_TEMPLATES.filters["utc"] = utc_text
_PEER = "status"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Nodes:
    """How all nodes are, asked together when somebody wants to know and the last look is old."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.facts: dict[str, dict[str, Any]] = {}
        self.took_s = 0.0
        self._at = float("-inf")
        self._lock = asyncio.Lock()

    async def look(self) -> dict[str, dict[str, Any]]:
        async with self._lock:
            if time.monotonic() - self._at > _FRESH_S:
                begun = time.monotonic()
                network = self.site.settings.network
                timeout_s = min(1.5, self.site.settings.status_website.timeout)
                host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(network.host, network.host)
                own, others = await asyncio.gather(
                    poll(
                        {self.site.node: f"{host}:{network.port}"},
                        own_peer(self.site),
                        tls_ca=network.tls_ca,
                        timeout_s=timeout_s,
                    ),
                    poll(network.workers, self._peer(), tls_ca=network.tls_ca, timeout_s=timeout_s),
                )
                self.facts, self._at = own | others, time.monotonic()
                self.took_s = self._at - begun
            return self.facts

    def _peer(self) -> Peer:
        """As whom workers are asked: the peer `status` of the keys, which may look only; else the node itself."""
        network = self.site.settings.network
        peers = read_peers(Path(expanded(network.keys))) if network.keys else {}
        return peers.get(_PEER) or peers.get(self.site.node) or own_peer(self.site)


def colour(facts: dict[str, Any]) -> str:
    """good, bad or unknown, as the old pages had it.

    Examples
    --------
    >>> colour({"error": "no answer"}), colour({"services": {"a": {"health": "running"}}})
    ('unknown', 'good')
    """
    if "error" in facts:
        return "unknown"
    healths = {service["health"] for service in facts["services"].values()}
    return "good" if healths <= {"running"} else "bad"


def processing(name: str, facts: dict[str, Any], now_s: float) -> dict[str, Any]:
    """What a node works on, as the old page of processing had it: running, idle or offline, tasks and their times.

    Examples
    --------
    >>> processor = {"numbers": {"at_work": "7 8"}}
    >>> facts = {"services": {"processor": processor}, "observations": {"7": {"end_s": 0.0}, "8": {"end_s": 9e9}}}
    >>> processing("arts001", facts, 3723.0)["tasks"]
    [('7', '01h02m03s'), ('8', 'observing')]
    """
    if "error" in facts:
        return {"node": name, "state": "offline", "tasks": []}
    at_work = str(facts["services"].get(Name.PROCESSOR, {}).get("numbers", {}).get("at_work", ""))
    tasks = []
    for task_id in at_work.split():
        since_s = round(now_s - facts["observations"].get(task_id, {}).get("end_s", now_s))
        minutes, seconds = divmod(max(0, since_s), 60)
        clock = f"{minutes // 60:02d}h{minutes % 60:02d}m{seconds:02d}s"
        tasks.append((task_id, "observing" if since_s < 0 else clock))
    return {"node": name, "state": "running" if tasks else "idle", "tasks": tasks}


def page_facts(nodes: dict[str, dict[str, Any]], took_s: float) -> dict[str, Any]:
    """What the page shows."""
    candidates = [
        {**c, "node": name}
        for name, facts in nodes.items()
        for c in facts.get("services", {}).get(Name.CLUSTERING, {}).get("recent", [])
    ]
    pictures = [
        {**c, "node": name}
        for name, facts in nodes.items()
        for c in facts.get("services", {}).get(Name.PROCESSOR, {}).get("recent", [])
        if "picture" in c
    ]
    return {
        "nodes": {name: {**facts, "colour": colour(facts)} for name, facts in nodes.items()},
        "candidates": sorted(candidates, key=lambda c: -c["arrival_s"])[:50],
        "pictures": sorted(pictures, key=lambda c: -c["at_s"])[:30],
        "took_s": took_s,
        "now_s": time.time(),
    }


class _Collector:
    """What Prometheus is told of the last look."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        answers = GaugeMetricFamily("mwaconvert_live_node_answers", "Whether a node answers", labels=["node"])
        labels = ["node", "service"]
        health = GaugeMetricFamily(
            "mwaconvert_live_service_running", "Whether a service is well", labels=labels
        )
        restarts = GaugeMetricFamily("mwaconvert_live_service_restarts", "Restarts of late", labels=labels)
        numbers = GaugeMetricFamily(
            "mwaconvert_live_number", "Counts, queues and latencies of services", labels=[*labels, "name"]
        )
        dropped = GaugeMetricFamily(
            "mwaconvert_live_messages_dropped", "Messages to slow peers", labels=["node"]
        )
        for node, facts in self._nodes.facts.items():
            answers.add_metric([node], float("error" not in facts))
            dropped.add_metric([node], facts.get("dropped", 0) + facts.get("unrouted", 0))
            for name, of in facts.get("services", {}).items():
                health.add_metric([node, name], float(of["health"] == "running"))
                restarts.add_metric([node, name], of["restarts"])
                for key, value in of["numbers"].items():
                    if isinstance(value, int | float):
                        numbers.add_metric([node, name, key], value)
        yield from (answers, health, restarts, numbers, dropped)
        yield GaugeMetricFamily(
            "mwaconvert_live_poll_seconds", "Time to ask all nodes", value=self._nodes.took_s
        )


def make_app(nodes: Nodes) -> FastAPI:
    """Pages that only show."""
    app = FastAPI(title="mwaconvert live", docs_url=None, redoc_url=None, openapi_url=None)
    registry = CollectorRegistry()
    registry.register(_Collector(nodes))
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": _POLICY}

    @app.get("/", response_class=HTMLResponse)
    async def status_page() -> HTMLResponse:
        facts = page_facts(await nodes.look(), nodes.took_s)
        return HTMLResponse(_TEMPLATES.get_template("status.html").render(facts), headers=headers)

    @app.get("/status.json")
    async def status_json() -> JSONResponse:
        return JSONResponse(plain(page_facts(await nodes.look(), nodes.took_s)))

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        await nodes.look()
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _server(app: FastAPI, host: str, port: int) -> Any:
    """One that leaves signals to the service."""
    import uvicorn

    class Quiet(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Quiet(
        uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
    )


class Website(Service):
    """The page as a service; the old static page is written beside it."""

    name: ClassVar[Name] = Name.WEBSITE
    niceness: ClassVar[int] = 5

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.nodes = Nodes(site)

    async def work(self) -> None:
        network = self.site.settings.network
        server = _server(make_app(self.nodes), network.page_host, network.page_port)
        serving = asyncio.create_task(server.serve())
        writing = asyncio.create_task(self._write_static())
        await asyncio.wait(
            [serving, asyncio.create_task(self.stopping.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        server.should_exit = True
        writing.cancel()
        await serving

    async def _write_static(self) -> None:
        while True:
            try:
                facts = await self.nodes.look()
                self.numbers["poll_s"] = round(self.nodes.took_s, 3)
                self.numbers["silent_nodes"] = sum("error" in of for of in facts.values())
                self._write(facts)
            except (Error, OSError) as error:
                self.trouble["page"] = str(error)
            else:
                self.trouble.pop("page", None)
            await asyncio.sleep(self.site.settings.status_website.interval)

    def _write(self, facts: dict[str, dict[str, Any]]) -> None:
        settings = self.site.settings.status_website
        colours = {
            "good": settings.colour_good,
            "bad": settings.colour_bad,
            "unknown": settings.colour_unknown,
        }
        rows = [
            {"node": name, "colour": colours[colour(of)], "services": of.get("services", {})}
            for name, of in facts.items()
        ]
        text = _TEMPLATES.get_template("static.html").render(
            rows=rows, now_s=time.time(), interval=round(settings.interval)
        )
        folder, now_s = Path(expanded(settings.web_dir)), time.time()
        write_whole(folder / "index.html", text)
        text = _TEMPLATES.get_template("processing.html").render(
            rows=[processing(name, of, now_s) for name, of in facts.items()],
            now_s=now_s,
            interval=round(settings.interval),
        )
        write_whole(folder / "processing.html", text)
