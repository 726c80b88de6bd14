"""The node agent on a real API server with the chart's rights, beside a PodResources socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet.state import names
from gpufleet_sandbox import charts, kubectl
from tests import access
from tests.integration.conftest import Cluster
from tests.unit.gpufleet.agents.node import builders

pytestmark = pytest.mark.timeout(300)

ACCOUNT = "gpufleet-node-agent"
SLICE = "nvidia.com/mig-3g.40gb"
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> kubectl.Kubectl:
    """kubectl of a cluster with the agent's account, role and policy."""
    found = kubectl.Kubectl(cluster.kubectl_path, cluster.kubeconfig)
    access.install_chart(found, **{"nodeAgent.enabled": "true"})
    return found


@pytest.fixture(scope="module")
def nodes(client: kubectl.Kubectl) -> list[str]:
    return sorted(one["metadata"]["name"] for one in client.get("nodes")["items"])


@pytest.fixture(scope="module")
def agent_config(client: kubectl.Kubectl, nodes: list[str], tmp_path_factory: Any) -> pathlib.Path:
    """A kubeconfig of the agent of the first node: its token names that node, as a pod's there does."""
    bound = ("--bound-object-kind=Node", f"--bound-object-name={nodes[0]}")
    token = client.run("create", "token", ACCOUNT, "-n", charts.NAMESPACE, *bound).strip()
    path = tmp_path_factory.mktemp("agent") / "kubeconfig"
    return access.write_kubeconfig(client, path, token)


@pytest.fixture(scope="module")
def theirs(client: kubectl.Kubectl, agent_config: pathlib.Path) -> kubectl.Kubectl:
    """kubectl with the agent's rights, once the policy is in force."""
    found = kubectl.Kubectl(client.program, agent_config)

    def is_refused() -> bool:
        try:
            found.run(
                "label",
                "node",
                client.get("nodes")["items"][0]["metadata"]["name"],
                "x=y",
                "--dry-run=server",
            )
        except kubectl.KubectlError as error:
            return "node agent" in str(error)
        return False

    kubectl.wait_until("the policy", is_refused, timeout_s=60)
    return found


def patch(who: kubectl.Kubectl, node: str, body: dict[str, Any]) -> str:
    """Empty, or the server's refusal."""
    try:
        who.run("patch", "node", node, "--type=merge", "-p", json.dumps(body))
    except kubectl.KubectlError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("at", "body", "refusal"),
    [
        pytest.param(0, {"metadata": {"annotations": {names.DEVICES_ANNOTATION: "{}"}}}, "", id="its own"),
        pytest.param(
            1, {"metadata": {"annotations": {names.DEVICES_ANNOTATION: "{}"}}},
            "the Node of its own token only", id="another node",
        ),
        pytest.param(
            0, {"metadata": {"annotations": {"team.example/owner": "me"}}},
            "the annotation gpufleet.dev/devices only", id="another annotation",
        ),
        pytest.param(
            0, {"metadata": {"annotations": {"node.alpha.kubernetes.io/ttl": None}}},
            "the annotation gpufleet.dev/devices only", id="another annotation removed",
        ),
        pytest.param(
            0, {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}},
            "the annotation gpufleet.dev/devices only", id="a label",
        ),
        pytest.param(
            0, {"spec": {"unschedulable": True}}, "the annotation gpufleet.dev/devices only", id="a cordon"
        ),
        pytest.param(
            0, {"metadata": {"finalizers": ["team.example/keep"]}},
            "the annotation gpufleet.dev/devices only", id="a finalizer",
        ),
    ],
)  # fmt: skip
def test_an_agent_writes_one_annotation_of_its_own_node(
    client: kubectl.Kubectl, theirs: kubectl.Kubectl, nodes: list[str],
    at: int, body: dict[str, Any], refusal: str,
) -> None:  # fmt: skip
    client.run("annotate", "node", nodes[0], "node.alpha.kubernetes.io/ttl=0", "--overwrite")
    found = patch(theirs, nodes[at], body)
    assert refusal in found if refusal else found == ""


def test_an_agent_sees_and_deletes_nothing_else(theirs: kubectl.Kubectl, nodes: list[str]) -> None:
    for argv in (("get", "nodes"), ("get", "pods", "-A"), ("delete", "node", nodes[0])):
        with pytest.raises(kubectl.KubectlError, match="forbidden"):
            theirs.run(*argv)


def test_a_token_that_names_no_node_writes_none(
    client: kubectl.Kubectl, theirs: kubectl.Kubectl, nodes: list[str], tmp_path: pathlib.Path
) -> None:
    token = client.run("create", "token", ACCOUNT, "-n", charts.NAMESPACE).strip()
    nobody = kubectl.Kubectl(client.program, access.write_kubeconfig(client, tmp_path / "nobody", token))
    body = {"metadata": {"annotations": {names.DEVICES_ANNOTATION: "{}"}}}
    assert "the Node of its own token only" in patch(nobody, nodes[0], body)


@contextlib.contextmanager
def agent_running(
    config: pathlib.Path, node: str, folder: pathlib.Path, socket: pathlib.Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`gpufleet agent node` as a process of its own."""
    namespace, pod_name = builders.AGENT.split("/")
    told = {
        "NODE_NAME": node, "NAMESPACE": namespace, "POD_NAME": pod_name, "POLL_S": "0.2",
        "POD_RESOURCES_SOCKET": str(socket), "SIMULATED_GPUS": str(folder / "gpus.json"),
        "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0",
    }  # fmt: skip
    own = {f"GPUFLEET_NODE_AGENT_{name}": text for name, text in told.items()}
    environment = {**os.environ, **own, "KUBECONFIG": str(config)}
    argv = [sys.executable, "-m", "gpufleet.cli.main", "agent", "node"]
    with (folder / "agent.log").open("ab") as log:
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def state(tmp_path: pathlib.Path) -> pathlib.Path:
    """A cut GPU, as the simulator keeps it."""
    instances = [
        {"giId": 1, "profile": "3g.40gb", "start": start, "uuid": f"MIG-{start}"} for start in (0, 4)
    ]
    gpu = {"uuid": "GPU-a", "product": "NVIDIA-H100-80GB-HBM3", "migEnabled": True, "instances": instances}
    (tmp_path / "gpus.json").write_text(json.dumps({"bootID": "x", "gpus": [gpu]}))
    return tmp_path


@pytest.mark.asyncio(loop_scope="module")
async def test_pods_come_and_go_through_restarts_and_requests(
    client: kubectl.Kubectl, agent_config: pathlib.Path, theirs: kubectl.Kubectl, nodes: list[str],
    state: pathlib.Path,
) -> None:  # fmt: skip
    node = nodes[0]

    def read() -> tuple[list[str], str]:
        text = client.get("node", node)["metadata"]["annotations"].get(names.DEVICES_ANNOTATION, "{}")
        found = json.loads(text)
        pods = [one["pod"] for gpu in found.get("gpus", ()) for one in gpu["instances"]]
        return pods, found.get("token", "")

    async def until(pods: list[str], token: str = "") -> None:
        async with asyncio.timeout(DEADLINE_S):
            while (found := await asyncio.to_thread(read)) != (pods, token):
                assert process.poll() is None, (state / "agent.log").read_text()
                await asyncio.sleep(0.1)
        assert found == (pods, token)

    own = builders.pod(builders.AGENT)
    holding = builders.pod("team/train-0", builders.device(SLICE, "MIG-4"))
    async with builders.Kubelet(state / "kubelet.sock").running() as kubelet:
        with agent_running(agent_config, node, state, kubelet.socket) as process:
            await until(["", ""])
            kubelet.pods = [own, holding]
            await until(["", "team/train-0/"])
            client.run("annotate", "node", node, f"{names.DEVICES_REQUESTED_ANNOTATION}=t1", "--overwrite")
            await until(["", "team/train-0/"], "t1")
            await kubelet.stop()
            await kubelet.start()
            kubelet.pods = [own]
            await until(["", ""], "t1")
            client.run("annotate", "node", node, f"{names.DEVICES_REQUESTED_ANNOTATION}-")
            await until(["", ""])
    assert process.returncode == 0
