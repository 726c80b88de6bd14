"""What is wrong is said on the object within ten seconds, and whoever is well notices nothing."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet_sandbox import inference, kubectl
from tests.e2e.fleet import manifests, services

WELL = "well"
LIMIT_S = 10.0
CORRUPT = "import triton_python_backend_utils as pb\nclass TritonPythonModel:\n    def execute(self\n"


@pytest.fixture(scope="module")
def village(fleet: kubectl.Kubectl) -> Iterator[str]:
    """A namespace with a service that is well, whatever its neighbours are."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    fleet.run("create", "namespace", name)
    services.apply(fleet, service(name, WELL, ["doubler"]))
    wait_ready(fleet, name, WELL)
    yield name
    fleet.run("delete", "namespace", name, "--wait=false")


def service(namespace: str, name: str, models: list[Any], **spec: Any) -> str:
    """A service that needs no accelerator, so that only what is meant is wrong with it."""
    code, wanted = manifests.service(namespace, name, models, **spec).split("\n---\n")
    parsed = json.loads(wanted)
    parsed["spec"] = {key: value for key, value in parsed["spec"].items() if key != "accelerator"}
    return f"{code}\n---\n{json.dumps(parsed)}"


def wait_ready(fleet: kubectl.Kubectl, namespace: str, name: str) -> None:
    fleet.run("wait", "-n", namespace, f"tsvc/{name}", "--for=condition=Ready=True", services.TIMEOUT)


def answers(fleet: kubectl.Kubectl, namespace: str, name: str) -> list[float]:
    with inference.forward(fleet, namespace, f"svc/{name}", 8000) as address:
        return inference.infer(address, "doubler", "X", [1.0, 2.0, 3.0, 4.0])


def conditions(fleet: kubectl.Kubectl, namespace: str, name: str) -> list[str]:
    """`type status reason: message` of each condition of the present generation."""
    read = fleet.get("tsvc", name, "-n", namespace)
    return [
        f"{one['type']} {one['status']} {one['reason']}: {one.get('message', '')}"
        for one in read.get("status", {}).get("conditions", [])
        if one.get("observedGeneration") == read["metadata"]["generation"]
    ]


def wait_for_reason(fleet: kubectl.Kubectl, namespace: str, name: str, *words: str) -> float:
    """Seconds until one condition says all the words."""
    started_s = time.monotonic()

    def is_said() -> bool:
        return any(all(word in one for word in words) for one in conditions(fleet, namespace, name))

    try:
        kubectl.wait_until(f"{words}", is_said, timeout_s=60, every_s=0.2)
    except TimeoutError:
        raise AssertionError(f"{words} not in {conditions(fleet, namespace, name)}") from None
    return time.monotonic() - started_s


def wait_for_kubelet(fleet: kubectl.Kubectl, namespace: str, name: str, reason: str) -> None:
    """The container runtime takes its time until it gives up a registry; nobody can know earlier."""

    def is_said() -> bool:
        return reason in json.dumps(fleet.get("pods", "-n", namespace, "-l", f"gpufleet.dev/service={name}"))

    kubectl.wait_until(reason, is_said, timeout_s=90, every_s=0.2)


S3 = {"s3": {"bucket": "b", "endpoint": "http://127.0.0.1:9", "credentialsSecretName": "lost"}}
GCS = {"gcs": {"bucket": "b", "credentialsSecretName": "lost"}}
LOST_MAP = {"configMap": {"name": "lost", "items": [{"key": "a.py", "path": "doubler/1/model.py"}]}}
LOST_KEY = {
    "configMap": {"name": f"{WELL}-code", "items": [{"key": "lost.py", "path": "doubler/1/model.py"}]}
}
CLAIM = {"persistentVolumeClaim": {"claimName": "lost"}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param(
            {"modelRepository": LOST_MAP}, ["MountFailed", 'configmap "lost" not found'], id="no repository"
        ),
        pytest.param({"modelRepository": LOST_KEY}, ["MountFailed", "lost.py"], id="unreadable repository"),
        pytest.param({"modelRepository": CLAIM}, ["PodsUnschedulable", '"lost" not found'], id="no claim"),
        pytest.param(
            {"modelRepository": S3}, ["ContainerCrashing", 'secret "lost" not found'], id="no secret"
        ),
        pytest.param(
            {"modelRepository": GCS}, ["MountFailed", 'secret "lost" not found'], id="no mounted secret"
        ),
        pytest.param(
            {"template": {"image": "127.0.0.1:9/nothing:1"}},
            ["ImagePullFailed", "127.0.0.1:9/nothing:1"],
            id="no image",
        ),
        pytest.param(
            {"models": [manifests.model("doubler", backend="nosuch")]},
            ["ModelLoadFailed", "doubler", "nosuch"],
            id="unknown backend",
        ),
        pytest.param(
            {"models": [manifests.model("broken")]},
            ["ModelLoadFailed", "weights are missing"],
            id="a model that fails",
        ),
        pytest.param(
            {
                "models": [
                    {
                        "name": "loop",
                        "maxBatchSize": 8,
                        "inputs": [{"name": "X", "dataType": "FP32", "dims": [4]}],
                        "outputs": [{"name": "Y", "dataType": "FP32", "dims": [4]}],
                        "ensemble": {
                            "steps": [{"modelName": "loop", "inputMap": {"X": "X"}, "outputMap": {"Y": "Y"}}]
                        },
                    }
                ]
            },
            ["Stalled True InvalidSpec", "part of itself"],
            id="ensemble cycle",
        ),
    ],
)
def test_a_reason_within_ten_seconds(
    fleet: kubectl.Kubectl,
    village: str,
    request: pytest.FixtureRequest,
    spec: dict[str, Any],
    words: list[str],
) -> None:
    name = "bad"
    services.apply(fleet, service(village, name, **{"models": ["doubler"], **spec}))
    try:
        if "template" in spec:
            wait_for_kubelet(fleet, village, name, "ErrImagePull")
        took_s = wait_for_reason(fleet, village, name, *words)
        print(f"{request.node.callspec.id}: {took_s:.1f} s")
        assert took_s <= LIMIT_S, conditions(fleet, village, name)
        assert answers(fleet, village, WELL) == [2.0, 4.0, 6.0, 8.0]
    finally:
        fleet.run("delete", "tsvc", "-n", village, name, "--cascade=foreground", "--timeout=90s")


@pytest.mark.parametrize(
    ("models", "says"),
    [
        pytest.param([manifests.model("../doubler")], "spec.models[0].name", id="a name that is a path"),
        pytest.param(
            [manifests.model("doubler", inputs=[{"name": "X", "dataType": "FP31", "dims": [4]}])],
            "spec.models[0].inputs[0].dataType",
            id="wrong tensor type",
        ),
        pytest.param(
            [manifests.model(f"m{number}") for number in range(65)],
            "spec.models: Too many",
            id="too many models",
        ),
        pytest.param(
            [manifests.model("m", parameters=[{"name": "p", "value": "x" * 4097}])],
            "spec.models[0].parameters[0].value",
            id="a parameter over size",
        ),
    ],
)
def test_the_server_refuses_it(fleet: kubectl.Kubectl, village: str, models: list[Any], says: str) -> None:
    with pytest.raises(kubectl.KubectlError) as refused:
        services.apply(fleet, service(village, "bad", models).split("\n---\n")[1])
    assert says in str(refused.value)


def test_a_list_over_size_is_said_and_what_ran_goes_on(fleet: kubectl.Kubectl, village: str) -> None:
    many = [{"name": f"p{number}", "value": "x" * 4096} for number in range(55)]
    large = [manifests.model(f"m{number}", parameters=many) for number in range(5)]
    services.apply(fleet, service(village, WELL, ["doubler", *large]).split("\n---\n")[1])
    try:
        took_s = wait_for_reason(fleet, village, WELL, "Stalled True WriteRefused", "1048576")
        assert took_s <= LIMIT_S
        assert answers(fleet, village, WELL) == [2.0, 4.0, 6.0, 8.0]
    finally:
        services.apply(fleet, service(village, WELL, ["doubler"]))
        wait_ready(fleet, village, WELL)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param(manifests.model("broken"), ["broken", "weights are missing"], id="a model that fails"),
        pytest.param(manifests.model("corrupt"), ["corrupt", "SyntaxError"], id="a corrupt file"),
        pytest.param(
            manifests.model("doubler2", backend="nosuch"), ["doubler2", "nosuch"], id="unknown backend"
        ),
    ],
)
def test_its_other_models_go_on_serving(
    fleet: kubectl.Kubectl,
    village: str,
    bad: dict[str, Any],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(manifests.CODE, "corrupt", CORRUPT)
    monkeypatch.setitem(manifests.CODE, "doubler2", manifests.DOUBLER)
    name = "mixed"
    services.apply(fleet, service(village, name, ["doubler"]))
    wait_ready(fleet, village, name)
    services.apply(fleet, service(village, name, ["doubler", bad]).split("\n---\n")[1])
    try:
        took_s = wait_for_reason(fleet, village, name, "ModelLoadFailed", *words)
        print(f"{bad['name']}: {took_s:.1f} s")
        assert answers(fleet, village, name) == [2.0, 4.0, 6.0, 8.0]
        assert answers(fleet, village, WELL) == [2.0, 4.0, 6.0, 8.0]
    finally:
        fleet.run("delete", "tsvc", "-n", village, name, "--cascade=foreground", "--timeout=90s")
