"""A Prometheus of few words: every query is answered for the pods that a test names."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from gpufleet.observe import queries

FIELDS = {query.text: field for field, query in queries.build("1m").items()}


@dataclasses.dataclass
class Prometheus:
    """What every pod of `pods` shows, by field of the sample; any other field has no series."""

    url: str = ""
    pods: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    values: dict[str, float] = dataclasses.field(default_factory=dict)

    def answer(self, query: str) -> dict[str, Any]:
        value = self.values.get(FIELDS.get(query, ""))
        labels = [{"namespace": namespace, "pod": pod} for namespace, pod in self.pods]
        series = [{"metric": one, "value": [time.time(), str(value)]} for one in labels]
        result = series if value is not None else []
        return {"status": "success", "data": {"resultType": "vector", "result": result}}


@contextlib.contextmanager
def serving() -> Iterator[Prometheus]:
    """Listens on loopback while the body runs."""
    told = Prometheus()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            payload = json.dumps(told.answer(urllib.parse.parse_qs(body)["query"][0])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
