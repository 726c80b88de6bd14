"""Commands about the whole fleet, with the real kubectl against a real control plane and a real operator."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests import builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process

NAME = "unserved"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def operator(served: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Operator]:
    with process.running(served.kubeconfig, tmp_path_factory.mktemp("operator"), "commanded") as started:
        yield started.wait_ready()


@pytest.fixture
def unserved(served: Cluster, team: str, operator: process.Operator) -> Iterator[str]:
    """A namespace with a service that no accelerator answers."""
    manifest = builders_api.make_service(NAME, team, accelerator={"class": "no-such"})
    served.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(manifest))
    path = ".status.conditions[?(@.type=='Stalled')].reason"
    wait = f"--for=jsonpath={{{path}}}=UnknownDeviceClass"
    served.kubectl("wait", wait, f"tsvc/{NAME}", "-n", team, "--timeout=120s")
    yield team
    served.kubectl("delete", "tsvc", NAME, "-n", team)


def run(cluster: Cluster, *args: str) -> subprocess.CompletedProcess[str]:
    """As a plugin of kubectl: each finds the other on PATH."""
    with tempfile.TemporaryDirectory() as folder:
        kubectl = pathlib.Path(folder, "kubectl")
        kubectl.symlink_to(cluster.kubectl_path)
        path = ":".join([folder, str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
        argv = [str(kubectl), "gpufleet", *args]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_status_tells_what_is_wrong(served: Cluster, unserved: str, operator: process.Operator) -> None:
    server = f"http://127.0.0.1:{operator.port}"
    found = run(served, "status", "-n", unserved, "--server", server)
    assert found.returncode == 1, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == "1 thing is wrong."
    assert any(one.startswith(f"TritonService/{unserved}/{NAME}   UnknownDeviceClass") for one in lines)
    assert "led by commanded; Prometheus not configured." in found.stdout
    assert "\x1b" not in found.stdout


def test_status_without_the_read_api(served: Cluster, unserved: str) -> None:
    """No Service of the operator is in this cluster: objects and the Lease tell."""
    found = run(served, "status", "-n", unserved, "-o", "json")
    assert found.returncode == 1, found.stderr
    told: dict[str, Any] = json.loads(found.stdout)
    levels = {(one["level"], one["reason"]) for one in told["findings"]}
    assert levels >= {("unknown", "NotReached"), ("wrong", "UnknownDeviceClass")}
    assert told["operator"] is None


def test_a_bundle_without_the_planted_secret(
    served: Cluster, team: str, operator: process.Operator, tmp_path: pathlib.Path
) -> None:
    """In a variable, in the annotation that kubectl apply leaves, in a Secret and in an Event."""
    secret = "hunter2-Tr0ub4dor"
    template = {"image": "trainer:1", "command": ["train"], "env": [{"name": "API_KEY", "value": secret}]}
    job = builders_api.make_training_job("planted", team, template=template, suspend=True)
    served.kubectl("apply", "-f", "-", input=json.dumps(job))
    served.kubectl("create", "secret", "generic", "planted", "-n", team, f"--from-literal=key={secret}")
    uid = served.kubectl("get", "tjob", "planted", "-n", team, "-o", "jsonpath={.metadata.uid}")
    event = make_event(team, uid, f"the container said {secret}")
    served.kubectl("create", "-f", "-", input=json.dumps(event))
    assert secret in served.kubectl("get", "tjob", "planted", "-n", team, "-o", "yaml")

    path = tmp_path / "bundle.tar.gz"
    found = run(served, "snapshot", "-f", str(path), "--server", f"http://127.0.0.1:{operator.port}")
    assert found.returncode == 0, found.stderr
    with tarfile.open(path) as archive:
        texts = {one.name: archive.extractfile(one).read().decode() for one in archive}  # type: ignore[union-attr]
    assert '"planted"' in texts["bundle/objects/trainingjobs.json"]
    assert "the container said [removed]" in texts["bundle/events/objects.json"]
    assert '"name": "API_KEY"' in texts["bundle/operator/snapshot.json"]
    assert [name for name, text in texts.items() if secret in text] == []


def make_event(namespace: str, uid: str, message: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "planted.1", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "gpufleet.dev/v1alpha1",
            "kind": "TrainingJob",
            "namespace": namespace,
            "name": "planted",
            "uid": uid,
        },
        "reason": "Planted",
        "message": message,
        "type": "Normal",
    }


def test_top_draws_the_nodes(served: Cluster, operator: process.Operator) -> None:
    found = run(served, "top", "--once", "--server", f"http://127.0.0.1:{operator.port}")
    assert found.returncode == 0, found.stderr
    assert " GPUs: " in found.stdout
    assert "\x1b" not in found.stdout
