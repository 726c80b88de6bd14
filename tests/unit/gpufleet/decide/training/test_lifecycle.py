"""An end is recorded first and acted on later: failures, suspension, deadlines, and what stays in the end."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import reasons, training_job
from gpufleet.decide.training import job as jobs
from gpufleet.state import children, decision, fleet
from tests import builders
from tests.builders import NOW, make_attempt, make_worker

DEFAULTS = settings.Settings()
GPUS = {"resource": "nvidia.com/gpu", "count": 8}
ADMITTED = {"workers": 2, "requested": "count=8", "accelerator": GPUS}
STARTED = "2030-01-01T11:50:00Z"
EVICTED = fleet.Interruption("EvictionByEvictionAPI", "2030-01-01T11:59:59Z")
REFUSED = fleet.Interruption("DeletionByTaintManager", "2030-01-01T11:59:59Z")
SERVICE = builders.make_child("Service", "llm")


def make(status: dict[str, Any] | None = None, **spec: Any) -> training_job.TrainingJob:
    given = {"attempt": 1, **(status or {}), "assignment": ADMITTED}
    return builders.make_job(status=given, created_s=-900.0, accelerator={"count": 8}, **spec)


def decide(
    job: training_job.TrainingJob,
    *owned: children.Child,
    pods: tuple[fleet.Pod, ...] = (),
    later_s: float = 0,
    **fields: Any,
) -> decision.Decision:
    view = builders.make_job_view(job, children=(SERVICE, *owned), pods=pods, **fields)
    return jobs.decide(view, DEFAULTS, NOW + datetime.timedelta(seconds=later_s))


def after(job: training_job.TrainingJob, decided: decision.Decision) -> training_job.TrainingJob:
    """The job once status is written."""
    status = training_job.TrainingJobStatus.model_validate({**decided.status, "assignment": ADMITTED})
    return job.model_copy(update={"status": status})


def condition(decided: decision.Decision, type_: str = "Succeeded") -> tuple[str, str, str]:
    [found] = [one for one in decided.status["conditions"] if one["type"] == type_]
    return found["status"], found["reason"], found["message"]


def started(decided: decision.Decision) -> list[str]:
    return [one["metadata"]["name"] for one in decided.apply if one["kind"] == "Job"]


def kept(decided: decision.Decision) -> set[str]:
    return {ref.name for ref in decided.keep}


RUNNING = make_attempt(1, startTime=STARTED, active=2)
ENDED = {"type": "Failed", "status": "True", "message": "m", "lastTransitionTime": "2030-01-01T12:00:00Z"}


def worker(index: int, **fields: Any) -> fleet.Pod:
    return make_worker(f"llm-1-{index}", **{"phase": "Running", "node": f"node-{index}", **fields})


def test_an_evicted_worker_ends_the_attempt_before_its_job_knows() -> None:
    job, pods = make(), (worker(0), worker(1, interrupted=REFUSED, deleting=True))
    noted = decide(job, RUNNING, pods=pods)
    assert started(noted) == []
    assert "llm-1" in kept(noted), "nothing follows from an end that status does not know"
    [record] = noted.status["history"]
    assert (record["endedBy"], record["node"], record["workers"]) == ("Infrastructure", "node-1", 2)
    assert "Infrastructure" in [event.reason for event in noted.events]
    job = after(job, noted)
    acted = decide(job, RUNNING, pods=pods)
    assert "llm-1" not in kept(acted), "the Job goes, and with it the worker that waits for the other"
    assert started(acted) == []
    assert started(decide(job, pods=(worker(0, deleting=True),))) == []
    assert decide(job).requeue_after_s == 10
    again = decide(job, later_s=11)
    assert started(again) == ["llm-2"]
    wishes = again.apply[-1]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    [wish] = wishes["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["preference"]["matchFields"] == [
        {"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}
    ]


@pytest.mark.parametrize(
    ("pods", "is_success"),
    [
        pytest.param(
            (worker(0, phase="Succeeded"), worker(1, phase="Succeeded")), True, id="both ended well"
        ),
        pytest.param((), True, id="pods have gone"),
        pytest.param(
            (worker(0, phase="Succeeded"), worker(1, phase="Succeeded", interrupted=EVICTED, deleting=True)),
            False,
            id="exit code 0 after an eviction",
        ),
    ],
)
def test_what_was_told_to_end_has_not_succeeded(pods: tuple[fleet.Pod, ...], is_success: bool) -> None:
    complete = make_attempt(1, "Complete", startTime=STARTED, completionTime="2030-01-01T12:00:00Z")
    decided = decide(make(), complete, pods=pods)
    assert condition(decided)[0] == ("True" if is_success else "Unknown")
    assert decided.status["history"][0]["endedBy"] == ("Completed" if is_success else "Infrastructure")


def test_a_failed_job_waits_a_moment_for_the_pod_that_tells_why() -> None:
    failed = make_attempt(1, startTime=STARTED)
    failed.body["status"]["conditions"].append(ENDED | {"type": "FailureTarget"})
    unaware = decide(make(), failed, pods=(worker(0), worker(1)))
    assert "history" not in unaware.status or not unaware.status["history"]
    assert unaware.requeue_after_s == 5
    told = worker(1, phase="Failed", containers=(fleet.ContainerState("worker", exit_code=2),))
    assert decide(make(), failed, pods=(worker(0), told)).status["history"][0]["endedBy"] == "UserError"
    late = decide(make(), failed, pods=(worker(0), worker(1)), later_s=5)
    assert late.status["history"][0]["endedBy"] == "ProgramError"


def test_a_worker_that_deleted_itself_with_its_node_holds_nobody_back() -> None:
    job = after(make(), decide(make(), RUNNING, pods=(worker(1, interrupted=REFUSED, deleting=True),)))
    ghost = (worker(1, deleting=True),)
    assert started(decide(job, pods=ghost, later_s=60)) == []
    assert started(decide(job, pods=ghost, later_s=60, lost_nodes=frozenset({"node-1"}))) == ["llm-2"]


def test_suspension_ends_the_gang_and_resuming_starts_another() -> None:
    job = make(suspend=True)
    noted = decide(job, RUNNING, pods=(worker(0), worker(1)))
    assert noted.status["history"][0]["endedBy"] == "Suspended"
    assert condition(noted)[:2] == ("Unknown", reasons.SUSPENDED)
    job = after(job, noted)
    acted = decide(job, RUNNING, pods=(worker(0), worker(1)))
    assert "llm-1" not in kept(acted)
    assert condition(acted, "Reconciling")[0] == "True"
    rests = decide(job)
    assert (started(rests), condition(rests, "Reconciling")[0]) == ([], "False")
    resumed = job.model_copy(update={"spec": job.spec.model_copy(update={"suspend": False})})
    assert started(decide(resumed)) == ["llm-2"]
    assert decide(resumed).status["failures"] == {
        "infrastructure": 0, "outOfMemory": 0, "programError": 0, "stalled": 0, "final": 0
    }  # fmt: skip


def test_a_job_that_is_suspended_from_the_start_says_so_at_once() -> None:
    job = builders.make_job(suspend=True)
    decided = jobs.decide(builders.make_job_view(job), DEFAULTS, NOW)
    assert (condition(decided)[1], decided.apply) == (reasons.SUSPENDED, ())


@pytest.mark.parametrize(
    ("used_s", "left_s"), [pytest.param(0, 3600, id="first"), pytest.param(3000, 600, id="after an attempt")]
)
def test_the_deadline_is_that_of_all_attempts(used_s: int, left_s: int) -> None:
    usage = {"queueSeconds": 0, "runSeconds": used_s, "acceleratorSeconds": 0}
    decided = decide(make({"attempt": 0, "usage": usage}, activeDeadlineSeconds=3600))
    assert decided.apply[-1]["spec"]["activeDeadlineSeconds"] == left_s


def test_without_time_left_nothing_starts() -> None:
    usage = {"queueSeconds": 0, "runSeconds": 3600, "acceleratorSeconds": 0}
    decided = decide(make({"usage": usage}, activeDeadlineSeconds=3600))
    assert condition(decided)[:2] == ("False", reasons.DEADLINE_EXCEEDED)


def test_a_deadline_ends_the_job() -> None:
    failed = make_attempt(1, startTime=STARTED)
    failed.body["status"]["conditions"].append(ENDED | {"reason": "DeadlineExceeded"})
    decided = decide(make(activeDeadlineSeconds=600, failurePolicy={"maxRestarts": 9}), failed)
    assert condition(decided)[:2] == ("False", reasons.DEADLINE_EXCEEDED)
    assert "600 s" in condition(decided)[2]
    assert decided.status["completionTime"] == "2030-01-01T12:00:00Z"


def test_what_a_job_has_cost() -> None:
    complete = make_attempt(1, "Complete", startTime=STARTED, completionTime="2030-01-01T12:00:00Z")
    usage = {"queueSeconds": 300, "runSeconds": 1000, "acceleratorSeconds": 16000}
    decided = decide(make({"startTime": STARTED, "usage": usage}), complete)
    assert decided.status["usage"] == {
        "queueSeconds": 300, "runSeconds": 1600, "acceleratorSeconds": 16000 + 600 * 2 * 8
    }  # fmt: skip
    assert decide(make(), complete).status["usage"]["queueSeconds"] == 300


def test_a_clock_that_was_set_back_holds_nobody_back() -> None:
    job = after(make(), decide(make(), RUNNING, pods=(worker(1, interrupted=EVICTED, deleting=True),)))
    assert started(decide(job, later_s=5)) == []
    assert started(decide(job, later_s=-3600)) == ["llm-2"]


def test_a_clock_that_was_set_back_costs_nothing() -> None:
    complete = make_attempt(1, "Complete", startTime=STARTED, completionTime="2030-01-01T11:00:00Z")
    assert decide(make(), complete).status["usage"]["runSeconds"] == 0


DONE = {
    "completionTime": "2030-01-01T12:00:00Z",
    "conditions": [builders.make_condition("Succeeded", "True", reasons.COMPLETED).to_wire()],
}


@pytest.mark.parametrize(
    ("ttl_s", "later_s", "left", "again_s"),
    [
        pytest.param(None, 9e9, {"llm-1"}, None, id="for ever"),
        pytest.param(60, 20, {"llm-1"}, 40, id="not yet"),
        pytest.param(60, 60, set(), None, id="over"),
        pytest.param(0, 0, set(), None, id="at once"),
    ],
)
def test_jobs_that_have_ended_keep_their_logs_for_a_while(
    ttl_s: int | None, later_s: float, left: set[str], again_s: float | None
) -> None:
    spec = {} if ttl_s is None else {"ttlSecondsAfterFinished": ttl_s}
    decided = decide(make(DONE, **spec), make_attempt(1, "Complete"), later_s=later_s)
    assert kept(decided) == left, "the Service is of no use any more"
    assert decided.requeue_after_s == again_s


def test_a_job_that_is_given_up_leaves_no_worker() -> None:
    evicted = (worker(0), worker(1, interrupted=EVICTED, deleting=True))
    job = make(failurePolicy={"maxAttempts": 1})
    given_up = decide(job, RUNNING, pods=evicted)
    assert condition(given_up)[:2] == ("False", reasons.ATTEMPTS_EXHAUSTED)
    assert "llm-1" not in kept(decide(after(job, given_up), RUNNING, pods=evicted))


@pytest.mark.parametrize(
    ("manager", "is_ours"),
    [(None, True), ("gpufleet.dev/operator", True), ("kueue.x-k8s.io/multikueue", False)],
)
def test_the_job_of_another_manager_is_left_alone(manager: str | None, is_ours: bool) -> None:
    job = make({"attempt": 0}, **({"managedBy": manager} if manager else {}))
    decided = decide(job)
    assert bool(decided.apply) == is_ours
    if not is_ours:
        assert decided.keep == {SERVICE.ref}
        assert "conditions" not in decided.status or not decided.status["conditions"]
