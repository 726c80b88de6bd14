"""A TritonService on real nodes: the real server answers, changes live, and outlives the operator."""

from __future__ import annotations

import json
import pathlib
import time
import urllib.request
from typing import Any

import pytest

from gpufleet_sandbox import inference, kubectl
from tests.e2e.fleet import manifests
from tests.e2e.fleet.services import NAME, TIMEOUT, answers, apply, is_ready, models, pods, status


def test_serves_on_a_slice_and_says_so(fleet: kubectl.Kubectl, serving: str) -> None:
    assert answers(fleet, serving, "doubler") == [2.0, 4.0, 6.0, 8.0]
    read = status(fleet, serving)
    assert read["assignment"]["accelerator"]["resource"] == "nvidia.com/mig-1g.10gb"
    assert models(fleet, serving) == {"doubler": "Ready"}
    wait_for_version(fleet, serving)
    assert 0 < status(fleet, serving)["models"][0]["loadMilliseconds"] < 60_000
    [pod] = pods(fleet, serving)
    shown = fleet.run("exec", "-n", serving, pod["metadata"]["name"], "-c", "triton", "--", "printenv")
    assert "NVIDIA_VISIBLE_DEVICES=MIG-" in shown


def wait_for_version(fleet: kubectl.Kubectl, namespace: str) -> None:
    """The last thing that a start tells."""
    kubectl.wait_until(
        "the version that answers",
        lambda: status(fleet, namespace)["models"][0].get("versions") == "1",
        timeout_s=30,
    )


def test_clients_cannot_unload_models(fleet: kubectl.Kubectl, serving: str) -> None:
    with (
        inference.forward(fleet, serving, f"svc/{NAME}", 8000) as address,
        pytest.raises(OSError, match="40"),
    ):
        inference.post(address, "/v2/repository/models/doubler/unload", {})
    assert answers(fleet, serving, "doubler") == [2.0, 4.0, 6.0, 8.0]


def test_an_ensemble_answers_as_one_model(fleet: kubectl.Kubectl, namespace: str) -> None:
    example = pathlib.Path(__file__).parents[3] / "examples" / "serving" / "ensemble.yaml"
    fleet.run("apply", "--server-side", "-n", namespace, "-f", str(example))
    fleet.run("wait", "-n", namespace, "tsvc/risk", "--for=condition=Ready", TIMEOUT)
    fleet.run("wait", "-n", namespace, "tsvc/risk", "--for=condition=Reconciling=False", TIMEOUT)
    request = {"name": "RAW", "shape": [1, 4], "datatype": "FP32", "data": [0.0, 0.0, 9.0, 0.0]}
    with inference.forward(fleet, namespace, "svc/risk", 8000) as address:
        answer = inference.post(address, "/v2/models/risk/infer", {"inputs": [request]})
    data = {one["name"]: one["data"] for one in answer["outputs"]}
    # Scaled to (-1, -1, 3, -1)/√3: the weights 0.5, -1, 2 and 0.25 make a logit of 3.61.
    assert data["PROBABILITY"] == pytest.approx([0.9737], abs=1e-3)
    assert data["SUSPECT"] == [1]


def test_an_ensemble_of_an_ensemble_answers(fleet: kubectl.Kubectl, serving: str) -> None:
    def around(name: str, inner: str, **changes: Any) -> dict[str, Any]:
        step = {"modelName": inner, "inputMap": {"X": "X"}, "outputMap": {"Y": "Y"}}
        made = manifests.model(name, ensemble={"steps": [step]}, **changes)
        return {key: value for key, value in made.items() if key not in ("backend", "instanceGroups")}

    models_ = ["doubler", around("inner", "doubler"), around("outer", "inner")]
    apply(fleet, manifests.service(serving, NAME, models_))
    kubectl.wait_until("outer Ready", lambda: models(fleet, serving).get("outer") == "Ready", timeout_s=150)
    assert answers(fleet, serving, "outer") == [2.0, 4.0, 6.0, 8.0]
    # A change of it, which is not what runs yet.
    models_[-1] = around("outer", "inner", maxBatchSize=4)
    apply(fleet, manifests.service(serving, NAME, models_))
    with inference.forward(fleet, serving, f"svc/{NAME}", 8000) as address:
        kubectl.wait_until("the change", lambda: largest_batch(address, "outer") == 4, timeout_s=150)
    kubectl.wait_until(
        "outer Ready again", lambda: models(fleet, serving).get("outer") == "Ready", timeout_s=150
    )


def largest_batch(address: str, model: str) -> int:
    with urllib.request.urlopen(f"http://{address}/v2/models/{model}/config", timeout=30) as reply:
        return int(json.load(reply)["max_batch_size"])


def test_models_come_and_go_without_a_new_pod(fleet: kubectl.Kubectl, serving: str) -> None:
    before = {pod["metadata"]["uid"] for pod in pods(fleet, serving)}
    apply(fleet, manifests.service(serving, NAME, ["doubler", "second"]))
    kubectl.wait_until(
        "second Ready",
        lambda: models(fleet, serving) == {"doubler": "Ready", "second": "Ready"},
        timeout_s=150,
    )
    assert answers(fleet, serving, "second") == [2.0, 4.0, 6.0, 8.0]
    apply(fleet, manifests.service(serving, NAME, ["second"]))
    kubectl.wait_until("doubler gone", lambda: models(fleet, serving) == {"second": "Ready"}, timeout_s=150)
    assert {pod["metadata"]["uid"] for pod in pods(fleet, serving)} == before


def test_a_model_that_cannot_load_says_why_and_harms_no_other(fleet: kubectl.Kubectl, serving: str) -> None:
    apply(fleet, manifests.service(serving, NAME, ["doubler", "broken"]))
    kubectl.wait_until(
        "broken Failed", lambda: models(fleet, serving).get("broken") == "Failed", timeout_s=150
    )
    [failed] = [one for one in status(fleet, serving)["models"] if one["name"] == "broken"]
    assert "weights are missing" in failed["message"]
    [pod] = pods(fleet, serving)
    shown = fleet.run(
        "exec", "-n", serving, pod["metadata"]["name"], "-c", "triton", "--",
        "python3", "-c", "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/v2/models/doubler/ready').status)",
    )  # fmt: skip
    assert shown.strip() == "200"


def test_recovers_while_the_operator_is_down(fleet: kubectl.Kubectl, serving: str) -> None:
    fleet.run("scale", "-n", "gpufleet-system", "deployment/gpufleet", "--replicas=0")
    try:
        kubectl.wait_until(
            "the operator gone",
            lambda: (
                not fleet.get("pods", "-n", "gpufleet-system", "-l", "app.kubernetes.io/component=operator")[
                    "items"
                ]
            ),
            timeout_s=90,
        )
        [pod] = pods(fleet, serving)
        fleet.run("delete", "pod", "-n", serving, pod["metadata"]["name"], "--grace-period=1")
        kubectl.wait_until("a new pod Ready", lambda: any(map(is_ready, pods(fleet, serving))), timeout_s=150)
        assert answers(fleet, serving, "doubler") == [2.0, 4.0, 6.0, 8.0]
    finally:
        fleet.run("scale", "-n", "gpufleet-system", "deployment/gpufleet", "--replicas=1")
        fleet.run("rollout", "status", "-n", "gpufleet-system", "deployment/gpufleet", TIMEOUT)


def test_scale_down_loses_no_request(fleet: kubectl.Kubectl, serving: str) -> None:
    fleet.run("scale", "-n", serving, f"tsvc/{NAME}", "--replicas=2")
    kubectl.wait_until("two Ready", lambda: sum(map(is_ready, pods(fleet, serving))) == 2, timeout_s=150)
    caller = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "caller", "namespace": serving},
        "spec": caller_spec(f"http://{NAME}:8000/v2/models/doubler/infer"),
    }
    apply(fleet, json.dumps(caller))
    fleet.run("wait", "-n", serving, "pod/caller", "--for=condition=Ready", TIMEOUT)
    fleet.run("scale", "-n", serving, f"tsvc/{NAME}", "--replicas=1")
    kubectl.wait_until("one left", lambda: len(pods(fleet, serving)) == 1, timeout_s=120)
    fleet.run("wait", "-n", serving, "pod/caller", "--for=jsonpath={.status.phase}=Succeeded", TIMEOUT)
    said = fleet.run("logs", "-n", serving, "caller").split()
    assert said[-1] == "failed=0", said
    assert int(said[0].removeprefix("sent=")) > 100


def caller_spec(url: str) -> dict[str, Any]:
    """A pod that sends one request after another for half a minute and counts those that fail."""
    script = f"""
import json, time, urllib.request
tensor = {{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}}
body = json.dumps({{"inputs": [tensor]}}).encode()
sent = failed = 0
until = time.monotonic() + 30
while time.monotonic() < until:
    sent += 1
    try:
        urllib.request.urlopen(urllib.request.Request({url!r}, body), timeout=5).read()
    except OSError as error:
        failed += 1
        print(error)
    time.sleep(0.02)
print(f"sent={{sent}} failed={{failed}}")
"""
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "caller",
        "image": "gpufleet.dev/gpufleet:0.1.0",
        "command": ["python3", "-c", script],
        "securityContext": restricted,
    }
    return {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}


def test_status_is_quiet_when_nothing_happens(fleet: kubectl.Kubectl, serving: str) -> None:
    def read() -> dict[str, Any]:
        found: dict[str, Any] = fleet.get("tsvc", NAME, "-n", serving)
        return found

    wait_for_version(fleet, serving)
    before = read()
    time.sleep(20)  # a quiet period is what is under test
    after = read()
    assert after["status"] == before["status"]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
