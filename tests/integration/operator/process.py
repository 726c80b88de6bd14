"""The operator as a process of its own, against the cluster that a kubeconfig names."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import parser

GPUFLEET = pathlib.Path(sys.executable).with_name("gpufleet")


def wait_for(what: str, holds: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first true answer; an AssertionError that names what was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := holds()):
        assert time.monotonic() < deadline_s, f"{what} did not come about in {timeout_s} s"
        time.sleep(0.05)
    return answer


@dataclasses.dataclass
class Operator:
    """One process; `env` overrides any of the settings."""

    kubeconfig: pathlib.Path
    log_path: pathlib.Path
    namespace: str = "gpufleet-system"
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Operator:
        self.port = _free_port()
        settings = {
            "KUBECONFIG": str(self.kubeconfig),
            "GPUFLEET_HTTP_HOST": "127.0.0.1",
            "GPUFLEET_HTTP_PORT": str(self.port),
            "GPUFLEET_POLL_AGENTS": "false",
            "GPUFLEET_NAMESPACE": self.namespace,
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [str(GPUFLEET), "operator"],
                env={**os.environ, **settings, **self.env},
                stderr=log,
                stdout=log,
            )
        return self

    def get(self, path: str) -> tuple[int, bytes]:
        """HTTP status and body; status 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def wait_ready(self, role: str = "leader", timeout_s: float = 60.0) -> Operator:
        """Returns once it is ready in this role."""

        def is_ready() -> bool:
            assert self.is_running, f"the operator ended:\n{self.logs()}"
            status, body = self.get("/readyz")
            return status == 200 and json.loads(body)["role"] == role

        wait_for(f"a ready {role}", is_ready, timeout_s)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels; 0 where there are none."""
        return sum(
            sample.value
            for family in parser.text_string_to_metric_families(self.metrics())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def metrics(self) -> str:
        return self.get("/metrics")[1].decode()

    def snapshot(self) -> dict[str, Any]:
        status, body = self.get("/snapshot")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing is cleaned up."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM, as kubelet sends it; the exit status."""
        return self._end(signal.SIGTERM)

    def logs(self) -> str:
        return self.log_path.read_text()

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def running(
    kubeconfig: pathlib.Path, folder: pathlib.Path, name: str = "operator", **env: str
) -> Iterator[Operator]:
    """A started operator, told to end where a test has left it running, so that the lease is free."""
    started = Operator(
        kubeconfig, folder / f"{name}.log", env=dict(env) | {"GPUFLEET_POD_NAME": name}
    ).start()
    try:
        yield started
    finally:
        try:
            started.terminate()
        except subprocess.TimeoutExpired:
            started.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
