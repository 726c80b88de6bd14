"""Lives of gangs on a real control plane: evictions, taints, suspension, a queue, what stays at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process

QUICK = {"maxRestarts": 0, "backoffSeconds": 1}
"""No restart but those that are free."""


@pytest.fixture(scope="module")
def operator(served: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Operator]:
    folder = tmp_path_factory.mktemp("operator")
    with process.running(served.kubeconfig, folder, GPUFLEET_RESYNC_S="15") as started:
        started.wait_ready()
        yield started


class Gang:
    """A TrainingJob named gang in a namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def kubectl(self, *args: str, **more: Any) -> str:
        return self.cluster.kubectl(*args, "-n", self.namespace, **more)

    def apply(self, **spec: Any) -> None:
        wanted = builders_api.make_training_job("gang", self.namespace, **{"failurePolicy": QUICK, **spec})
        self.cluster.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(wanted)
        )

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("tjob", "gang").get("status", {})
        return found

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object; empty where there is none."""
        shown = self.cluster.try_kubectl("get", kind, name, "-n", self.namespace, "-o", "json")
        found: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
        return found

    def names(self, kind: str) -> list[str]:
        listed = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return sorted(one["metadata"]["name"] for one in listed)

    def pods(self, attempt: int) -> list[dict[str, Any]]:
        listed = self.kubectl("get", "pods", "-l", f"gpufleet.dev/attempt={attempt}", "-o", "json")
        running = [one for one in json.loads(listed)["items"] if one["status"].get("phase") == "Running"]
        return [one for one in running if "deletionTimestamp" not in one["metadata"]]

    def says(self, reason: str) -> Callable[[], bool]:
        return lambda: any(one["reason"] == reason for one in self.status.get("conditions", []))

    def wait_running(self, attempt: int, workers: int = 2) -> list[dict[str, Any]]:
        what = f"{workers} workers of attempt {attempt}"
        process.wait_for(what, lambda: len(self.pods(attempt)) == workers, 60)
        return self.pods(attempt)

    def end(self, attempt: int, code: int = 0) -> None:
        """Ends its workers, with success by default."""
        how = f"gpufleet.dev/kwok-exit-code={code}" if code else "gpufleet.dev/kwok-run-seconds=0"
        for pod in self.pods(attempt):
            argv = ("annotate", "pod", pod["metadata"]["name"], how, "-n", self.namespace)
            ended = self.cluster.try_kubectl(*argv)
            # The first to fail takes the others along.
            assert ended.returncode == 0 or (code and "NotFound" in ended.stderr), ended.stderr


@pytest.fixture
def gang(served: Cluster, team: str, operator: process.Operator) -> Iterator[Gang]:
    yield Gang(served, team)
    served.kubectl("delete", "tjob", "--all", "-n", team)


def test_an_evicted_worker_restarts_the_gang_free_of_charge(gang: Gang) -> None:
    gang.apply()
    [first, _] = gang.wait_running(1)
    name = first["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{gang.namespace}/pods/{name}/eviction"
    gang.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    gang.wait_running(2)
    [record] = gang.status["history"]
    assert (record["endedBy"], record["worker"]) == ("Infrastructure", name)
    assert "EvictionByEvictionAPI" in record["message"]
    assert gang.status["failures"]["infrastructure"] == 1
    gang.end(2)
    process.wait_for("success", gang.says("Completed"), 60)
    assert gang.status["history"][0]["endedBy"] == "Completed"


def test_a_node_that_drops_its_pods_is_avoided(gang: Gang) -> None:
    gang.apply(workers={"max": 1})
    [first] = gang.wait_running(1, 1)
    node = first["spec"]["nodeName"]
    gang.cluster.kubectl("taint", "node", node, "gpufleet.dev/test=broken:NoExecute")
    try:
        [second] = gang.wait_running(2, 1)
    finally:
        gang.cluster.kubectl("taint", "node", node, "gpufleet.dev/test-")
    assert gang.status["history"][0]["node"] == node
    [wish] = second["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["preference"]["matchFields"][0]["values"] == [node]
    assert second["spec"]["nodeName"] != node


@pytest.mark.parametrize(
    ("code", "reason"),
    [pytest.param(42, "UserError", id="hopeless"), pytest.param(1, "RestartsExhausted", id="no restart")],
)
def test_the_exit_code_decides_where_nothing_else_does(gang: Gang, code: int, reason: str) -> None:
    gang.apply()
    gang.wait_running(1)
    gang.end(1, code)
    process.wait_for(reason, gang.says(reason), 60)
    assert gang.status["history"][0]["exitCode"] == code
    assert gang.names("jobs") == ["gang-1"]


INDEX = "batch.kubernetes.io/job-completion-index"
HELD = "gpufleet.dev/test"
"""Finalizer of a pod that is to be seen after its end."""


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        pytest.param("Succeeded", 0, id="with success"),
        pytest.param("Failed", 143, id="by the signal"),
        pytest.param("Failed", 1, id="as torchrun does"),
    ],
)
def test_a_worker_that_goes_as_its_gang_shrinks_neither_fails_nor_completes_it(
    gang: Gang, phase: str, code: int
) -> None:
    gang.apply(framework="Torch", torch={"rendezvous": "Elastic"}, workers={"min": 2, "max": 3})
    [name] = [
        one["metadata"]["name"]
        for one in gang.wait_running(1, 3)
        if one["metadata"]["labels"].get(INDEX) == "2"
    ]
    hold = json.dumps([{"op": "add", "path": "/metadata/finalizers/-", "value": HELD}])
    gang.kubectl("patch", "pod", name, "--type=json", "-p", hold)
    smaller = json.dumps({"status": {"assignment": {"workers": 2}}})
    gang.kubectl("patch", "tjob", "gang", "--subresource=status", "--type=merge", "-p", smaller)
    process.wait_for(
        "the worker told to go", lambda: "deletionTimestamp" in gang.get("pod", name)["metadata"], 60
    )
    [container] = gang.get("pod", name)["status"]["containerStatuses"]
    container |= {"ready": False, "started": False, "state": {"terminated": {"exitCode": code}}}
    ended = json.dumps({"status": {"phase": phase, "containerStatuses": [container]}})
    gang.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", ended)
    process.wait_for(
        "its end counted by the Job", lambda: gang.get("pod", name)["metadata"]["finalizers"] == [HELD], 60
    )
    assert gang.get("job", "gang-1")["status"].get("conditions", []) == []
    gang.kubectl("patch", "pod", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    process.wait_for("the worker gone", lambda: gang.get("pod", name) == {}, 60)
    gang.wait_running(1, 2)
    gang.end(1)
    process.wait_for("success", gang.says("Completed"), 60)
    [record] = gang.status["history"]
    assert (record["endedBy"], record["attempt"], record["workers"]) == ("Completed", 1, 2)


def test_a_suspended_gang_gives_its_place_back_and_goes_on_later(gang: Gang) -> None:
    gang.apply(accelerator={"count": 1})
    gang.wait_running(1)
    gang.kubectl("patch", "tjob", "gang", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    process.wait_for("no workers", lambda: gang.names("pods") == [], 60)
    process.wait_for("the place given back", lambda: gang.status["assignment"]["workers"] == 0, 30)
    assert gang.status["history"][0]["endedBy"] == "Suspended"
    assert gang.says("Suspended")()
    gang.kubectl("patch", "tjob", "gang", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    gang.wait_running(2)
    assert gang.status["failures"] == dict.fromkeys(gang.status["failures"], 0)


def test_a_job_that_has_ended_keeps_a_record_and_nothing_else(gang: Gang) -> None:
    gang.apply(accelerator={"count": 1}, ttlSecondsAfterFinished=1)
    gang.wait_running(1)
    gang.end(1)
    process.wait_for("success", gang.says("Completed"), 60)
    process.wait_for("no Jobs", lambda: gang.names("jobs") == [], 30)
    process.wait_for("no Services", lambda: gang.names("services") == [], 30)
    assert gang.status["usage"]["acceleratorSeconds"] == 2 * gang.status["usage"]["runSeconds"]
    assert gang.status["history"][0]["endedBy"] == "Completed"


def test_a_deadline_that_its_job_enforces_ends_it(gang: Gang) -> None:
    gang.apply(activeDeadlineSeconds=2, failurePolicy={"maxRestarts": 9, "backoffSeconds": 1})
    process.wait_for("the end", gang.says("DeadlineExceeded"), 60)
    assert gang.status["history"][0]["endedBy"] == "DeadlineExceeded"


def test_another_managers_job_is_left_alone(gang: Gang, operator: process.Operator) -> None:
    gang.apply(managedBy="kueue.x-k8s.io/multikueue")
    other = Gang(gang.cluster, gang.namespace)
    # Once a job that came later runs, this one was looked at.
    wanted = builders_api.make_training_job("later", gang.namespace)
    gang.cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(wanted))
    process.wait_for("the later one", lambda: other.names("jobs") == ["later-1"], 60)
    assert "status" not in gang.get("tjob", "gang")


class StandIn:
    """Writes into a Job what Kueue writes on admission and on eviction, as its job integration does."""

    def __init__(self, gang: Gang, job: str) -> None:
        self._gang, self._job = gang, job

    def admit(self, node: str) -> None:
        chosen = {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"key": "gpufleet.dev/test-flavor", "operator": "Exists"}],
        }
        self._update(lambda spec: spec["template"]["spec"].update(chosen))
        self._update(lambda spec: spec.update(suspend=False))

    def evict(self) -> None:
        self._update(lambda spec: spec.update(suspend=True))

    def _update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """As an Update of the whole object, by another field manager; again where the Job has changed."""

        def is_written() -> bool:
            job = self._gang.get("job", self._job)
            change(job["spec"])
            argv = ("replace", "--field-manager=kueue", "-n", self._gang.namespace, "-f", "-")
            result = self._gang.cluster.try_kubectl(*argv, input=json.dumps(job))
            assert result.returncode == 0 or "Conflict" in result.stderr, result.stderr
            return result.returncode == 0

        process.wait_for("the update", is_written)


def test_a_queue_admits_evicts_and_admits_again(gang: Gang, operator: process.Operator) -> None:
    gang.apply(queue={"kind": "LocalQueue", "name": "team"})
    process.wait_for("the wait", gang.says("AwaitingQueue"), 60)
    job = gang.get("job", "gang-1")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    queue = StandIn(gang, "gang-1")
    queue.admit("kwok-0002")
    first = gang.wait_running(1)
    assert {pod["spec"]["nodeName"] for pod in first} == {"kwok-0002"}
    process.wait_for("running", gang.says("Running"), 30)
    queue.evict()
    process.wait_for("no workers", lambda: gang.names("pods") == [], 60)
    process.wait_for("the wait", gang.says("AwaitingQueue"), 60)
    assert gang.names("jobs") == ["gang-1"]
    assert not gang.status.get("history")
    gang.cluster.kubectl("label", "tjob", "gang", "-n", gang.namespace, "touched=yes")
    queue.admit("kwok-0003")
    again = gang.wait_running(1)
    assert {pod["spec"]["nodeName"] for pod in again} == {"kwok-0003"}
    gang.end(1)
    process.wait_for("success", gang.says("Completed"), 60)


def test_a_failed_gang_queues_again_as_a_new_job(gang: Gang) -> None:
    gang.apply(queue={"kind": "LocalQueue", "name": "team"}, failurePolicy=QUICK | {"maxRestarts": 1})
    process.wait_for("the wait", gang.says("AwaitingQueue"), 60)
    StandIn(gang, "gang-1").admit("kwok-0001")
    gang.wait_running(1)
    gang.end(1, 1)
    process.wait_for(
        "the next Job", lambda: gang.get("job", "gang-2").get("spec", {}).get("suspend") is True, 60
    )
    assert gang.status["failures"]["programError"] == 1
