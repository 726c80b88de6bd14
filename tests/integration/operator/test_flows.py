"""Both flows on a real control plane, and what people and faults do to them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process

NAME = "vision"


@pytest.fixture(scope="module")
def operator(served: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Operator]:
    folder = tmp_path_factory.mktemp("operator")
    # What a watch has missed is found by the next resync: the longest that a test may have to wait.
    with process.running(served.kubeconfig, folder, GPUFLEET_RESYNC_S="15") as started:
        started.wait_ready()
        yield started


def apply(cluster: Cluster, manifest: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(manifest))


def get(cluster: Cluster, namespace: str, kind: str, name: str) -> dict[str, Any]:
    """The object; empty where there is none."""
    shown = cluster.try_kubectl("get", kind, name, "-n", namespace, "-o", "json")
    found: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
    return found


def list_names(cluster: Cluster, namespace: str, kind: str) -> list[str]:
    shown = json.loads(cluster.kubectl("get", kind, "-n", namespace, "-o", "json"))
    return [item["metadata"]["name"] for item in shown["items"]]


def condition(item: dict[str, Any], type_: str) -> dict[str, Any]:
    found = [one for one in item.get("status", {}).get("conditions", []) if one["type"] == type_]
    return found[0] if found else {}


def has_condition(
    cluster: Cluster, namespace: str, kind: str, name: str, **wanted: str
) -> Callable[[], bool]:
    """Whether a condition has these values, as something to wait for."""
    [(type_, value)] = wanted.items()
    return lambda: value in condition(get(cluster, namespace, kind, name), type_).values()


@pytest.fixture
def serving(served: Cluster, team: str, operator: process.Operator) -> str:
    """A namespace in which a service of two replicas is Ready."""
    apply(served, builders_api.make_service(NAME, team, replicas=2))
    process.wait_for("a Ready service", has_condition(served, team, "tsvc", NAME, Ready="True"), 60)
    process.wait_for("a settled service", has_condition(served, team, "tsvc", NAME, Reconciling="False"), 60)
    return team


def test_a_service_gets_its_children_and_says_so(served: Cluster, serving: str) -> None:
    service = get(served, serving, "tsvc", NAME)
    revision = service["status"]["revision"]
    deployment = get(served, serving, "deployment", f"{NAME}-{revision}")
    assert deployment["spec"]["replicas"] == 2
    assert {NAME, f"{NAME}-headless"} <= set(list_names(served, serving, "services"))
    wanted = json.loads(get(served, serving, "configmap", f"{NAME}-wanted-models")["data"]["models.json"])
    assert [one["name"] for one in wanted["models"]] == ["double"]
    assert service["status"]["readyReplicas"] == 2
    assert [one["state"] for one in service["status"]["models"]] == ["Ready"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, ["no model changes"], id="nothing"),
        pytest.param({"instanceGroups": [{"count": 2}]}, ["live", "instance_group"], id="instances"),
        pytest.param({"maxBatchSize": 8}, ["reload", "max_batch_size: unset → 8"], id="the batch"),
    ],
)
def test_the_command_line_says_what_a_change_would_do(
    served: Cluster, serving: str, changes: dict[str, Any], expected: list[str]
) -> None:
    wanted = builders_api.make_service(NAME, serving, replicas=2)
    wanted["spec"]["models"][0] |= changes
    shown = subprocess.run(
        [sys.executable, "-m", "gpufleet.cli.main", "triton", "config", "-", "--diff"],
        input=json.dumps(wanted),
        env={**os.environ, "KUBECONFIG": str(served.kubeconfig)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [word for word in expected if word not in shown.stdout] == []


SELECTOR = '{{"spec":{{"selector":{{"app":"x"}}}}}}'
LIST = '{{"data":{{"models.json":"{{}}"}}}}'
EDITS = [
    pytest.param("deployment", "scale --replicas=7 deployment/{deployment}", id="Deployment scaled by hand"),
    pytest.param("service", f"patch service/vision -p {SELECTOR}", id="Service's selector edited"),
    pytest.param(
        "configmap", f"patch configmap/vision-wanted-models -p {LIST}", id="ConfigMap's list edited"
    ),
    pytest.param("deployment", "delete deployment/{deployment} --wait=false", id="Deployment deleted"),
    pytest.param("service", "delete service/vision-headless --wait=false", id="Service deleted"),
    pytest.param("configmap", "delete configmap/vision-wanted-models --wait=false", id="ConfigMap deleted"),
]


@pytest.mark.parametrize(("kind", "edit"), EDITS)
def test_children_changed_by_hand_are_repaired(served: Cluster, serving: str, kind: str, edit: str) -> None:
    deployment = f"{NAME}-{get(served, serving, 'tsvc', NAME)['status']['revision']}"
    names = {"deployment": deployment, "service": NAME, "configmap": f"{NAME}-wanted-models"}
    if "headless" in edit:
        names["service"] = f"{NAME}-headless"
    before = get(served, serving, kind, names[kind])
    served.kubectl("-n", serving, *edit.format(deployment=deployment).split(" "))

    def is_repaired() -> bool:
        now = get(served, serving, kind, names[kind])
        body = "data" if kind == "configmap" else "spec"
        same = _without_addresses(now.get(body, {})) == _without_addresses(before[body])
        return (
            bool(now) and same and now["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        )

    process.wait_for("the repair", is_repaired, 30)


def _without_addresses(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if not key.startswith("clusterIP")}


def test_a_name_that_is_taken_is_a_conflict_and_stays_untouched(
    served: Cluster, team: str, operator: process.Operator
) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{NAME}-wanted-models", "namespace": team},
        "data": {"mine": "yes"},
    }
    apply(served, foreign)
    apply(served, builders_api.make_service(NAME, team))
    process.wait_for("the conflict", has_condition(served, team, "tsvc", NAME, Stalled="Conflict"), 30)
    found = get(served, team, "configmap", f"{NAME}-wanted-models")
    assert found["data"] == {"mine": "yes"}
    assert "ownerReferences" not in found["metadata"]
    assert f"{NAME}-wanted-models" in condition(get(served, team, "tsvc", NAME), "Stalled")["message"]
    served.kubectl("delete", "configmap", f"{NAME}-wanted-models", "-n", team)
    process.wait_for("the way free", has_condition(served, team, "tsvc", NAME, Ready="True"), 90)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"accelerator": {"class": "h1000"}}, "UnknownDeviceClass", id="no such class"),
        pytest.param(
            {"accelerator": {"class": "l4", "migProfile": "1g.10gb"}}, "MigNotSupported", id="MIG on an L4"
        ),
        pytest.param({"accelerator": {"migProfile": "7g.80gb"}}, "NoMatchingAccelerator", id="no such slice"),
        pytest.param(
            {"accelerator": {"memory": "900Gi"}}, "NoMatchingAccelerator", id="more memory than any has"
        ),
    ],
)
def test_what_the_fleet_cannot_give_is_said(
    served: Cluster, team: str, operator: process.Operator, spec: dict[str, Any], reason: str
) -> None:
    apply(served, builders_api.make_service("hopeless", team, **spec))
    process.wait_for(reason, has_condition(served, team, "tsvc", "hopeless", Stalled=reason), 30)
    assert not list_names(served, team, "deployments")
    served.kubectl("delete", "tsvc", "hopeless", "-n", team)


def test_an_invalid_edit_leaves_what_runs_alone(served: Cluster, serving: str) -> None:
    before = list_names(served, serving, "deployments")
    group = [{"kind": "GPU", "count": 1}]
    bad = builders_api.make_service(NAME, serving, replicas=2)
    bad["spec"]["models"][0]["instanceGroups"] = group
    apply(served, bad)
    process.wait_for("the refusal", has_condition(served, serving, "tsvc", NAME, Stalled="InvalidSpec"), 30)
    assert list_names(served, serving, "deployments") == before
    apply(served, builders_api.make_service(NAME, serving, replicas=2))
    process.wait_for("the recovery", has_condition(served, serving, "tsvc", NAME, Stalled="False"), 30)


def test_a_changed_template_is_a_new_revision_and_the_old_one_goes(served: Cluster, serving: str) -> None:
    [old] = list_names(served, serving, "deployments")
    template = {"env": [{"name": "LOG", "value": "1"}]}
    apply(served, builders_api.make_service(NAME, serving, replicas=2, template=template))
    process.wait_for(
        "the new revision alone",
        lambda: (names := list_names(served, serving, "deployments")) != [old] and len(names) == 1,
        60,
    )
    process.wait_for("a Ready service", has_condition(served, serving, "tsvc", NAME, Reconciling="False"), 60)


def test_a_gang_restarts_whole_and_once(served: Cluster, team: str, operator: process.Operator) -> None:
    apply(served, builders_api.make_training_job("gang", team, failurePolicy={"backoffSeconds": 1}))
    process.wait_for("two workers", lambda: len(running_pods(served, team, 1)) == 2, 60)
    end(served, team, running_pods(served, team, 1)[0], 1)
    process.wait_for("two workers again", lambda: len(running_pods(served, team, 2)) == 2, 60)
    end(served, team, running_pods(served, team, 2)[0], 1)
    process.wait_for(
        "the end", has_condition(served, team, "tjob", "gang", Succeeded="RestartsExhausted"), 60
    )
    assert sorted(list_names(served, team, "jobs")) == ["gang-1", "gang-2"]


def running_pods(cluster: Cluster, namespace: str, attempt: int) -> list[str]:
    selector = f"gpufleet.dev/attempt={attempt}"
    shown = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "json"))
    return [one["metadata"]["name"] for one in shown["items"] if one["status"].get("phase") == "Running"]


def end(cluster: Cluster, namespace: str, pod: str, code: int) -> None:
    cluster.kubectl("annotate", "pod", pod, "-n", namespace, f"gpufleet.dev/kwok-exit-code={code}")


def test_it_outlives_a_restart_of_the_api_server(
    served: Cluster, serving: str, operator: process.Operator
) -> None:
    served.provider.restart_apiserver(outage_s=3.0)
    served.kubectl("scale", f"tsvc/{NAME}", "-n", serving, "--replicas=3")
    process.wait_for(
        "three replicas", lambda: get(served, serving, "tsvc", NAME)["status"].get("readyReplicas") == 3, 90
    )
    assert operator.is_running


def test_a_restart_with_unchanged_objects_writes_nothing(
    served: Cluster, serving: str, operator: process.Operator
) -> None:
    time.sleep(12)  # deferred counts are written by then
    operator.terminate()
    operator.start().wait_ready()
    process.wait_for("every object looked at", lambda: operator.metric("gpufleet_reconciles_total") > 0, 30)
    with contextlib.suppress(AssertionError):
        process.wait_for("a write", lambda: operator.metric("gpufleet_api_writes_total"), 8)
    assert operator.metric("gpufleet_api_writes_total") == 0
