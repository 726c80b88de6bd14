"""What the API server and kubectl make of the generated CRDs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet.api import crd
from tests import builders_api
from tests.integration.api.conftest import ROOT
from tests.integration.conftest import Cluster

NAMES = [kind.name for kind in crd.KINDS]


@pytest.fixture
def service(served: Cluster) -> Iterator[str]:
    """Name of a TritonService that exists for one test."""
    served.kubectl("apply", "-f", "-", input=json.dumps(builders_api.make_service("scaled", replicas=1)))
    yield "scaled"
    served.kubectl("delete", "tsvc", "scaled", "--wait=false")


def conditions_of(cluster: Cluster, name: str) -> dict[str, str]:
    found = json.loads(cluster.kubectl("get", "crd", name, "-o", "json"))
    return {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}


@pytest.mark.parametrize("name", NAMES)
def test_crds_are_established_and_structural(served: Cluster, name: str) -> None:
    conditions = conditions_of(served, name)
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_the_server_accepts_the_crds_without_a_warning(served: Cluster) -> None:
    result = served.try_kubectl(
        "apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", str(ROOT / "crds")
    )
    assert result.returncode == 0
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("tritonservice", "Triton servers that answer inference requests", id="kind"),
        pytest.param("tritonservice.spec.models.batching", "How long a request may wait", id="batching"),
        pytest.param("tritonservice.spec.models.batching.mode", "(default: Static)", id="default"),
        pytest.param("trainingjob.spec.workers", "Fewest workers to start with", id="workers"),
        pytest.param("gpupool.spec.podDefaults", "Taints that the pods accept", id="pod-defaults"),
    ],
)
def test_kubectl_explains(served: Cluster, path: str, words: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        text = " ".join(served.try_kubectl("explain", path).stdout.split())
        if words in text or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert words in text


@pytest.mark.parametrize(
    ("resource", "header"),
    [
        pytest.param(
            "tsvc", "NAME READY SERVING ASSIGNED ACCELERATOR REASON ROLLOUT AGE", id="TritonService"
        ),
        pytest.param(
            "tjob", "NAME SUCCEEDED ATTEMPT WORKERS ACTIVE ACCELERATOR REASON AGE", id="TrainingJob"
        ),
        pytest.param("gpool", "NAME READY NODES CLASS AGE", id="GPUPool"),
    ],
)
def test_kubectl_get_prints_the_columns(served: Cluster, resource: str, header: str) -> None:
    example = {"tsvc": builders_api.make_service, "tjob": builders_api.make_training_job}
    wire = example.get(resource, builders_api.make_pool)("columns")
    served.kubectl("apply", "-f", "-", input=json.dumps(wire))
    try:
        assert " ".join(served.kubectl("get", resource).splitlines()[0].split()) == header
    finally:
        served.kubectl("delete", resource, "columns", "--wait=false")


def test_status_fills_the_columns(served: Cluster, service: str) -> None:
    status: dict[str, Any] = {
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "ModelLoadFailed",
                "message": "resnet50: no such file",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
        "readyReplicas": 2,
        "assignment": {
            "replicas": 3,
            "accelerator": {"resource": "nvidia.com/mig-1g.10gb", "count": 1},
        },
    }
    patch = json.dumps({"status": status})
    served.kubectl("patch", "tsvc", service, "--subresource=status", "--type=merge", "-p", patch)
    row = served.kubectl("get", "tsvc", service, "--no-headers").split()[:-1]
    assert row == [service, "False", "2", "3", "nvidia.com/mig-1g.10gb", "ModelLoadFailed"]
    assert "resnet50: no such file" in served.kubectl("get", "tsvc", service, "-o", "wide")


def test_status_is_written_only_through_its_subresource(served: Cluster, service: str) -> None:
    served.kubectl("patch", "tsvc", service, "--type=merge", "-p", '{"status": {"replicas": 7}}')
    assert served.kubectl("get", "tsvc", service, "-o", "jsonpath={.status.replicas}") == ""


def test_the_category_lists_every_kind(served: Cluster, service: str) -> None:
    assert "tritonservice.gpufleet.dev/scaled" in served.kubectl("get", "gpufleet", "-o", "name")


def test_scale_sets_replicas(served: Cluster, service: str) -> None:
    served.kubectl("scale", "tsvc", service, "--replicas=4")
    assert served.kubectl("get", "tsvc", service, "-o", "jsonpath={.spec.replicas}") == "4"
    status = '{"status": {"replicas": 4, "selector": "gpufleet.dev/service=scaled"}}'
    served.kubectl("patch", "tsvc", service, "--subresource=status", "--type=merge", "-p", status)
    scale = json.loads(served.kubectl("get", "tsvc", service, "--subresource=scale", "-o", "json"))
    assert scale["spec"]["replicas"] == 4
    assert scale["status"] == {"replicas": 4, "selector": "gpufleet.dev/service=scaled"}


def test_examples_are_valid(served: Cluster) -> None:
    examples = str(ROOT / "examples")
    output = served.kubectl("apply", "--dry-run=server", "--validate=strict", "-R", "-f", examples)
    for kind in ("tritonservice", "trainingjob", "gpupool"):
        assert f"{kind}.gpufleet.dev/" in output
