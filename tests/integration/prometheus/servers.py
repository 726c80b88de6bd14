"""Real Prometheis that scrape a small exporter which says what a test wants."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import pathlib
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from gpufleet import settings
from gpufleet.observe import prometheus
from gpufleet.state import samples

WINDOW_S = 8
"""Range of the rates; eight scrapes."""

Page = Callable[[float], str]
"""Seconds since the exporter began → what it exposes."""


@dataclasses.dataclass
class Exporter:
    """Serves `pages` by path; one whose name is in `broken` answers 500."""

    pages: Mapping[str, Page]
    broken: set[str] = dataclasses.field(default_factory=set)
    port: int = 0

    @contextlib.contextmanager
    def serve(self) -> Iterator[Exporter]:
        began_s = time.time()
        pages, broken = self.pages, self.broken

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.partition("?")[0].strip("/")
                is_there = name in pages and name not in broken
                body = pages[name](time.time() - began_s).encode() if is_there else b""
                self.send_response(200 if is_there else 500)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                # A scrape that took too long has hung up.
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def build_job(name: str, exporter: Exporter, targets: list[dict[str, str]], **fields: Any) -> dict[str, Any]:
    """A scrape job; a target is its labels, of which `page` is the exporter's."""
    address = f"127.0.0.1:{exporter.port}"
    groups = []
    for target in targets:
        labels = {label: value for label, value in target.items() if label != "page"}
        page = {"__metrics_path__": f"/{target['page']}"}
        groups.append({"targets": [address], "labels": labels | page})
    return {"job_name": name, "static_configs": groups, **fields}


@contextlib.contextmanager
def run(
    program: pathlib.Path, jobs: list[dict[str, Any]], rules: str, folder: pathlib.Path, **more: Any
) -> Iterator[str]:
    """The URL of a Prometheus that scrapes every second; `more` is added to its configuration."""
    (folder / "rules.yaml").write_text(rules)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": jobs,
        **more,
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{find_port()}"
    argv = [
        str(program),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            wait_for(f"{program} that is ready", lambda: is_ready(url, process, folder / "log"))
            yield url
        finally:
            process.kill()


def is_ready(url: str, process: subprocess.Popen[bytes], log: pathlib.Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def find_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(what: str, holds: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """The first true answer; an AssertionError that names what was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := holds()):
        assert time.monotonic() < deadline_s, f"{what} did not come about in {timeout_s} s"
        time.sleep(0.2)
    return answer


def build_options(url: str, **options: Any) -> settings.Settings:
    wanted = {"prometheus_url": url, "prometheus_window": f"{WINDOW_S}s", **options}
    return settings.Settings(**wanted)


def build_sampler(url: str, **options: Any) -> prometheus.Sampler:
    return prometheus.Sampler(build_options(url, **options), lambda look: None)


async def look(url: str, **options: Any) -> samples.Look:
    """One round of the operator's own sampler."""
    sampler = build_sampler(url, **options)
    await sampler.step()
    return sampler.look
