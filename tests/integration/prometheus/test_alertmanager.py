"""An alert of the chart on its whole way: Helm, a real Prometheus, a real Alertmanager, a receiver."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import yaml

from gpufleet_sandbox import binaries
from tests.integration.prometheus import exposition, servers
from tests.unit.charts import rendering

STALLED = {
    "kind": "TritonService",
    "object_namespace": "team-a",
    "object_name": "vision",
    "state": "Stalled",
    "reason": "Conflict",
}
PAGE = exposition.lines({"gpufleet_leader": 1.0}) + exposition.lines(
    {"gpufleet_object_info": 1.0}, ",".join(f'{name}="{value}"' for name, value in STALLED.items())
)
VALUES = ("prometheusRule.runbooks=https://wiki.example/alerts", "prometheusRule.alertLabels.team=ml")


def test_an_alert_arrives_with_its_runbook(tmp_path: pathlib.Path) -> None:
    arrived: list[dict[str, Any]] = []
    with (
        servers.Exporter({"operator": lambda elapsed_s: PAGE}).serve() as exporter,
        receiving(arrived) as receiver,
        alertmanager(receiver, tmp_path) as manager,
        servers.run(
            pathlib.Path(binaries.ensure("prometheus")),
            [servers.build_job("pods", exporter, [{"page": "operator", "pod": "gpufleet-0"}])],
            read_rules(),
            tmp_path,
            alerting={"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
        ),
    ):
        servers.wait_for("an alert at the receiver", lambda: arrived)
    [alert] = arrived[0]["alerts"]
    assert alert["status"] == "firing"
    assert alert["labels"]["alertname"] == "GpufleetObjectStalled"
    assert (alert["labels"]["severity"], alert["labels"]["team"]) == ("warning", "ml")
    assert alert["annotations"]["summary"] == "TritonService team-a/vision cannot go on: Conflict"
    assert alert["annotations"]["runbook_url"] == "https://wiki.example/alerts/GpufleetObjectStalled.md"


def read_rules() -> str:
    """As Helm renders them, but that nothing is waited for."""
    rule = rendering.find("PrometheusRule", "gpufleet", rendering.RULES, *VALUES)
    groups = yaml.safe_load(yaml.safe_dump(rule["spec"]))
    for group in groups["groups"]:
        for one in group["rules"]:
            one.pop("for", None)
    return yaml.safe_dump(groups)


@contextlib.contextmanager
def receiving(arrived: list[dict[str, Any]]) -> Iterator[str]:
    """The URL of a webhook that keeps what it is told."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def alertmanager(receiver: str, folder: pathlib.Path) -> Iterator[str]:
    """host:port of an Alertmanager that tells the receiver of everything at once."""
    config = {
        "route": {"receiver": "hook", "group_wait": "0s", "group_by": ["alertname"]},
        "receivers": [{"name": "hook", "webhook_configs": [{"url": receiver}]}],
    }
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{servers.find_port()}"
    argv = [
        str(binaries.ensure("prometheus-alertmanager")),
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    log_path = folder / "alertmanager.log"
    with log_path.open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            url = f"http://{address}"
            servers.wait_for("an Alertmanager", lambda: servers.is_ready(url, process, log_path))
            yield address
        finally:
            process.kill()
