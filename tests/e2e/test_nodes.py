"""Real nodes: pods reach each other, failures show and heal, and nothing stays behind."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet_sandbox import instance, kubectl, local, provider, state
from gpufleet_sandbox.node import layout
from tests.e2e import conftest, machine

IMAGE = "gpufleet.dev/gpufleet:0.1.0"
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.uname().nodename.encode())
print("serving", flush=True)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
NAMESPACE = "e2e-nodes"
NOT_READY_S = 60.0
READY_S = 60.0


def make_server(name: str, node: str) -> dict[str, Any]:
    """A pod on this node that answers HTTP requests with its name."""
    container = {
        "name": "server",
        "image": IMAGE,
        "command": ["python3", "-c", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def make_service(pod: str) -> dict[str, Any]:
    """Not of the pod's name: that one the pod itself resolves from /etc/hosts."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"to-{pod}", "namespace": NAMESPACE},
        "spec": {"selector": {"app": pod}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


@pytest.fixture(scope="module")
def servers(sandbox: conftest.Sandbox) -> Iterator[list[str]]:
    """One serving pod per node, and a Service before each."""
    nodes = sandbox.provider.nodes()
    names = [f"server-{number + 1}" for number in range(len(nodes))]
    items: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    for name, node in zip(names, nodes, strict=True):
        items += [make_server(name, node), make_service(name)]
    sandbox.kubectl(
        "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )
    sandbox.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod", "--all", "--timeout=120s")
    yield names
    sandbox.kubectl("delete", "namespace", NAMESPACE)


def ask(sandbox: conftest.Sandbox, pod: str, url: str) -> str:
    """What a pod reads from a URL, tried until it answers: Services take a moment to reach every node."""
    code = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=3).read().decode(), end='')"
    answers: list[str] = []

    def has_answer() -> bool:
        answers.append(sandbox.kubectl("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", code))
        return True

    kubectl.wait_until(f"an answer from {url} in {pod}", has_answer, timeout_s=30.0)
    return answers[0]


def read_pod_ip(sandbox: conftest.Sandbox, pod: str) -> str:
    return str(sandbox.client.get("pod", "-n", NAMESPACE, pod)["status"]["podIP"])


def read_ready(sandbox: conftest.Sandbox, node: str) -> str:
    """True, False or Unknown, as the Node's condition says."""
    conditions = sandbox.client.get("node", node)["status"]["conditions"]
    return next(str(each["status"]) for each in conditions if each["type"] == "Ready")


def wait_ready(sandbox: conftest.Sandbox, node: str, status: str, timeout_s: float) -> None:
    kubectl.wait_until(
        f"Ready={status} of {node}", lambda: read_ready(sandbox, node) == status, timeout_s=timeout_s
    )


def test_every_node_is_ready(sandbox: conftest.Sandbox) -> None:
    nodes = sandbox.provider.nodes()
    assert [read_ready(sandbox, node) for node in nodes] == ["True"] * len(nodes)


@pytest.mark.parametrize(
    ("asking", "asked"),
    [
        pytest.param(0, 1, id="to another node"),
        pytest.param(1, 0, id="and back"),
        pytest.param(0, 0, id="to itself"),
    ],
)
def test_pods_reach_pods(sandbox: conftest.Sandbox, servers: list[str], asking: int, asked: int) -> None:
    address = read_pod_ip(sandbox, servers[asked])
    assert ask(sandbox, servers[asking], f"http://{address}:8080") == servers[asked]


@pytest.mark.parametrize(
    ("asking", "asked"),
    [pytest.param(0, 1, id="of another node"), pytest.param(0, 0, id="of the same node")],
)
def test_pods_reach_services_by_name(
    sandbox: conftest.Sandbox, servers: list[str], asking: int, asked: int
) -> None:
    assert ask(sandbox, servers[asking], f"http://to-{servers[asked]}") == servers[asked]
    full = f"http://to-{servers[asked]}.{NAMESPACE}.svc.cluster.local"
    assert ask(sandbox, servers[asking], full) == servers[asked]


def test_logs(sandbox: conftest.Sandbox, servers: list[str]) -> None:
    assert sandbox.kubectl("logs", "-n", NAMESPACE, servers[0]).startswith("serving")


@pytest.mark.machine
def test_this_machine_reaches_pods(sandbox: conftest.Sandbox, servers: list[str]) -> None:
    for pod in servers:
        with urllib.request.urlopen(f"http://{read_pod_ip(sandbox, pod)}:8080", timeout=5) as answer:
            assert answer.read().decode() == pod


@pytest.mark.machine
def test_nothing_leaves_a_node(sandbox: conftest.Sandbox) -> None:
    """Asks the node's routing table only: 198.51.100.1 is an address for documentation (RFC 5737)."""
    for node in sandbox.provider.nodes():
        with pytest.raises(provider.NodeError, match="unreachable"):
            sandbox.provider.exec_on_node(node, ["ip", "route", "get", "198.51.100.1"])


@pytest.mark.machine
def test_kubelet_answers_nobody_it_does_not_know(sandbox: conftest.Sandbox) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for node in sandbox.client.get("nodes")["items"]:
        address = next(
            each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"https://{address}:10250/pods", context=context, timeout=5)


@pytest.mark.machine
def test_a_stopped_kubelet_shows_and_pods_run_on(sandbox: conftest.Sandbox, servers: list[str]) -> None:
    node = sandbox.provider.nodes()[0]
    sandbox.provider.stop_kubelet(node)
    try:
        wait_ready(sandbox, node, "Unknown", NOT_READY_S)
        with urllib.request.urlopen(f"http://{read_pod_ip(sandbox, servers[0])}:8080", timeout=5) as answer:
            assert answer.read().decode() == servers[0]
    finally:
        sandbox.provider.start_kubelet(node)
    wait_ready(sandbox, node, "True", READY_S)


@pytest.mark.machine
def test_a_partitioned_node_shows_and_heals(sandbox: conftest.Sandbox, servers: list[str]) -> None:
    node = sandbox.provider.nodes()[1]
    sandbox.provider.partition(node)
    try:
        wait_ready(sandbox, node, "Unknown", NOT_READY_S)
    finally:
        sandbox.provider.heal(node)
    wait_ready(sandbox, node, "True", READY_S)
    address = read_pod_ip(sandbox, servers[1])
    assert ask(sandbox, servers[0], f"http://{address}:8080") == servers[1]


@pytest.fixture
def second() -> Iterator[local.LocalProvider]:
    """Another sandbox of one node beside the first; not up yet."""
    conftest.require_root()
    small = local.LocalProvider(f"e2e-small-{os.getpid()}", node_count=1, with_images=False)
    yield small
    small.down()


@pytest.mark.machine
def test_down_leaves_nothing(second: local.LocalProvider) -> None:
    before = machine.read_traces(instance.cache_root())
    second.up()
    assert machine.read_traces(instance.cache_root()) != before
    second.down()
    assert machine.read_traces(instance.cache_root()) == before


@pytest.mark.machine
@pytest.mark.parametrize("reached", ["netns", "holder", "containerd", "kubelet"])
def test_down_leaves_nothing_of_an_up_that_was_killed(second: local.LocalProvider, reached: str) -> None:
    before = machine.read_traces(instance.cache_root())
    argv = [sys.executable, "-m", "gpufleet_sandbox", "up", "--name", second.name, "--nodes=1", "--no-images"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_step(second.name, reached, process)
        finally:
            process.send_signal(signal.SIGKILL)
    second.down()
    assert machine.read_traces(instance.cache_root()) == before


def wait_for_step(name: str, reached: str, process: subprocess.Popen[bytes]) -> None:
    """Returns as soon as `up` of this sandbox's first node has come so far."""
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        assert process.poll() is None, f"up ended with {process.returncode} before {reached}"
        record = state.load(name)
        if record is not None and find_step(record.instance, reached).exists():
            return
        time.sleep(0.01)
    raise TimeoutError(f"up did not come to {reached} within 120 s")


def find_step(sandbox: instance.Instance, reached: str) -> pathlib.Path:
    node = layout.NodeLayout(sandbox, 1)
    return node.netns_path if reached == "netns" else node.directory / f"{reached}.pid"
