"""Inference requests to a service of the cluster, as a user's laptop would send them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpufleet_sandbox import kubectl


@contextlib.contextmanager
def forward(client: kubectl.Kubectl, namespace: str, target: str, port: int) -> Iterator[str]:
    """`kubectl port-forward` while the body runs; yields host:port. Raises KubectlError."""
    argv = client.argv("port-forward", "-n", namespace, target, f":{port}", "--address=127.0.0.1")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            match = re.search(r"Forwarding from (127\.0\.0\.1:\d+)", line)
            if match is None:
                raise kubectl.KubectlError(f"port-forward to {target}: {line.strip()}")
            yield match[1]
        finally:
            process.terminate()


def infer(address: str, model: str, tensor: str, numbers: Sequence[float]) -> list[float]:
    """One request of the KServe v2 protocol with a batch of one; the first output's data."""
    tensors = [{"name": tensor, "shape": [1, len(numbers)], "datatype": "FP32", "data": list(numbers)}]
    data: list[float] = post(address, f"/v2/models/{model}/infer", {"inputs": tensors})["outputs"][0]["data"]
    return data


def post(address: str, path: str, body: Mapping[str, Any]) -> Any:
    """The JSON answer to a JSON body. Raises urllib.error.HTTPError."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read() or b"null")
