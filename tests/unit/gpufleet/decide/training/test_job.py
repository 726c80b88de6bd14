from __future__ import annotations

from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import reasons, training_job
from gpufleet.decide.training import job as jobs
from gpufleet.state import children, decision, fleet
from tests import builders
from tests.builders import NOW, make_attempt, make_worker
from tests.unit.gpufleet.decide import manifests

DEFAULTS = settings.Settings()
ADMITTED = {"workers": 2, "requested": "none"}
STARTED = "2030-01-01T11:00:00Z"


def make(
    assignment: dict[str, Any] | None = ADMITTED, *, restarts: int = 1, **fields: Any
) -> training_job.TrainingJob:
    status = {**fields.pop("status", {}), **({"assignment": assignment} if assignment else {})}
    spec = {"failurePolicy": {"maxRestarts": restarts, "backoffSeconds": 0}, **fields}
    return builders.make_job(status=status, created_s=-60.0, **spec)


def decide(job: training_job.TrainingJob, **fields: Any) -> decision.Decision:
    """What follows once all ends are in status."""
    while True:
        decided = jobs.decide(builders.make_job_view(job, **fields), DEFAULTS, NOW)
        if len(decided.status.get("history", ())) == len(job.status.history):
            return decided
        job = with_status(job, decided)


def with_status(job: training_job.TrainingJob, decided: decision.Decision) -> training_job.TrainingJob:
    """The job once the decision's status is written."""
    given = job.status.assignment
    status = training_job.TrainingJobStatus.model_validate(decided.status)
    return job.model_copy(update={"status": status.model_copy(update={"assignment": given})})


def read(decided: decision.Decision, type_: str = "Succeeded") -> tuple[str, str]:
    [found] = [one for one in decided.status["conditions"] if one["type"] == type_]
    return found["status"], found["reason"]


def message_of(decided: decision.Decision) -> str:
    [found] = [one for one in decided.status["conditions"] if one["type"] == "Succeeded"]
    return str(found["message"])


def applied(decided: decision.Decision) -> list[tuple[str, str]]:
    return [(one["kind"], one["metadata"]["name"]) for one in decided.apply]


def running(attempt: int = 1, count: int = 2, **fields: Any) -> tuple[fleet.Pod, ...]:
    given = {"phase": "Running", "node": "node-a", **fields}
    return tuple(make_worker(f"llm-{attempt}-{index}", attempt=attempt, **given) for index in range(count))


SERVICE = ("Service", "llm")
FIRST_FAILED = {"attempt": 1, "endedBy": "ProgramError", "endTime": STARTED}


@pytest.mark.parametrize(
    ("job", "attempts", "pods", "expected", "attempt"),
    [
        pytest.param(make(), [], (), [SERVICE, ("Job", "llm-1")], 1, id="admitted"),
        pytest.param(
            make({"workers": 1, "requested": "none"}), [], (), [("Job", "llm-1")], 1, id="a gang of one"
        ),
        pytest.param(make(None), [], (), [], 0, id="not looked at"),
        pytest.param(make({"workers": 0, "requested": "none"}), [], (), [], 0, id="not admitted"),
        pytest.param(make(), [make_attempt(1)], running(), [SERVICE], 1, id="runs"),
        pytest.param(make(), [make_attempt(1, "Complete")], (), [], 1, id="succeeded"),
        pytest.param(
            make(), [make_attempt(1, "Failed")], running(), [], 1, id="failed, workers still ending"
        ),
        pytest.param(
            make(),
            [make_attempt(1, "Failed")],
            running(phase="Failed"),
            [SERVICE, ("Job", "llm-2")],
            2,
            id="failed, workers ended",
        ),
        pytest.param(
            make(),
            [make_attempt(1, "Failed")],
            running(deleting=True),
            [],
            1,
            id="a worker on its way out still holds its devices",
        ),
        pytest.param(
            make(restarts=0), [make_attempt(1, "Failed")], (), [], 1, id="failed, no restart allowed"
        ),
        pytest.param(
            make(),
            [make_attempt(1, "Failed"), make_attempt(2)],
            running(2),
            [SERVICE],
            2,
            id="second attempt runs",
        ),
        pytest.param(
            make(status={"attempt": 2, "history": [FIRST_FAILED], "failures": {"programError": 1}}),
            [make_attempt(1, "Failed"), make_attempt(2, "Failed")],
            (),
            [],
            2,
            id="restarts exhausted",
        ),
        pytest.param(
            make(status={"attempt": 2}),
            [],
            (),
            [SERVICE, ("Job", "llm-2")],
            2,
            id="deleted by hand: made again",
        ),
        pytest.param(
            make(status={"attempt": 2}),
            [make_attempt(1, "Failed")],
            (),
            [SERVICE, ("Job", "llm-2")],
            2,
            id="the newest deleted by hand: made again",
        ),
        pytest.param(
            make(status={"attempt": 2}), [], running(2), [], 2, id="deleted by hand, its workers still ending"
        ),
        pytest.param(
            make(None),
            [make_attempt(1)],
            running(),
            [SERVICE],
            1,
            id="runs on though its assignment was lost",
        ),
        pytest.param(
            make({"workers": 0, "requested": "none"}),
            [make_attempt(1, "Failed")],
            (),
            [],
            1,
            id="may restart but has no place",
        ),
    ],
)
def test_which_attempt(job, attempts, pods, expected, attempt) -> None:
    decided = decide(job, children=tuple(attempts), pods=pods)
    assert applied(decided) == expected
    assert decided.status.get("attempt", 0) == attempt
    assert [unstable for one in decided.apply for unstable in manifests.find_unstable(one)] == []
    training_job.TrainingJobStatus.model_validate(decided.status)


def test_of_a_job_that_just_came_nothing_is_said_yet() -> None:
    decided = decide(builders.make_job())
    assert (decided.apply, decided.events, decided.status.get("conditions", [])) == ((), (), [])
    assert decided.requeue_after_s


def test_the_job_starts_all_workers_once() -> None:
    decided = decide(make())
    [job] = [one for one in decided.apply if one["kind"] == "Job"]
    assert {key: value for key, value in job["spec"].items() if key != "template"} == {
        "completionMode": "Indexed",
        "completions": 2,
        "parallelism": 2,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
            ]
        },
    }
    [service] = [one for one in decided.apply if one["kind"] == "Service"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True


H200 = {"resource": "nvidia.com/gpu", "count": 8, "products": ["NVIDIA-H200"]}
ON_H200 = {"workers": 3, "requested": "count=8", "accelerator": H200}


def test_a_layout_that_fits_no_size_is_a_stall_with_its_numbers() -> None:
    job = make({**ON_H200, "workers": 1}, parallelism={"tensor": 16}, accelerator={"count": 8})
    decided = decide(job)
    assert decided.apply == ()
    assert read(decided, "Stalled") == ("True", reasons.WORLD_SIZE_MISMATCH)
    assert "1 workers × 8 devices = 8" in message_of(decided)


def test_workers_that_the_layout_cannot_use_do_not_start() -> None:
    job = make(ON_H200, workers={"min": 2, "max": 4}, parallelism={"tensor": 16}, accelerator={"count": 8})
    [started] = [one for one in decide(job).apply if one["kind"] == "Job"]
    assert started["spec"]["parallelism"] == 2


def test_a_format_that_the_device_lacks_is_told_when_the_gang_starts() -> None:
    job = make(ON_H200, workers={"max": 3}, precision="FP4", accelerator={"count": 8})
    told = [event.reason for event in decide(job).events]
    assert reasons.PRECISION_NOT_NATIVE in told
    later = decide(job, children=(make_attempt(1, workers=3),), pods=running(count=3))
    assert reasons.PRECISION_NOT_NATIVE not in [event.reason for event in later.events]


def test_mpirun_gets_a_hostfile_and_ends_the_job() -> None:
    template = {"image": "t", "command": ["mpirun"]}
    decided = decide(make(framework="MPI", mpi={"sshSecretName": "keys"}, template=template))
    assert applied(decided) == [SERVICE, ("ConfigMap", "llm-1-hosts"), ("Job", "llm-1")]
    assert decided.apply[-1]["spec"]["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert decided.apply[1]["data"]["hostfile"].splitlines()[1] == "llm-1-1.llm.default.svc slots=1"


FAILED_WORKER = builders.make_worker(
    "llm-1-1-x",
    phase="Failed",
    containers=(
        fleet.ContainerState("worker", exit_code=137, terminated_reason="OOMKilled", message="no room\n"),
    ),
)
PULLING = fleet.ContainerState("worker", waiting_reason="ErrImagePull", message="not found")


@pytest.mark.parametrize(
    ("job", "attempts", "pods", "condition", "words"),
    [
        pytest.param(make(), [], (), ("Unknown", reasons.STARTING), [], id="starts"),
        pytest.param(
            make(), [make_attempt(1)], running(), ("Unknown", reasons.RUNNING), ["attempt 1"], id="runs"
        ),
        pytest.param(
            make(),
            [make_attempt(1)],
            running(count=1),
            ("Unknown", reasons.STARTING),
            [],
            id="a worker is missing",
        ),
        pytest.param(
            make(),
            [make_attempt(1)],
            running(phase="Pending", containers=(PULLING,)),
            ("Unknown", reasons.IMAGE_PULL_FAILED),
            ["not found", "imagePullSecrets"],
            id="no image",
        ),
        pytest.param(
            make(),
            [make_attempt(1)],
            running(phase="Succeeded"),
            ("Unknown", reasons.RUNNING),
            [],
            id="workers that ended are not yet a job that ended",
        ),
        pytest.param(
            make(),
            [make_attempt(1, "Complete")],
            (),
            ("True", reasons.COMPLETED),
            ["every worker"],
            id="succeeded",
        ),
        pytest.param(
            make(),
            [make_attempt(1, "Failed", message="backoff")],
            (FAILED_WORKER,),
            ("Unknown", reasons.RESTARTING),
            ["attempt 1 failed", "llm-1-1-x", "137", "OOMKilled", "no room"],
            id="starts again",
        ),
        pytest.param(
            make(restarts=0),
            [make_attempt(1, "Failed", message="backoff limit")],
            (),
            ("False", reasons.RESTARTS_EXHAUSTED),
            ["backoff limit", "maxRestarts"],
            id="failed for good",
        ),
        pytest.param(
            make(
                {
                    "workers": 0,
                    "requested": "none",
                    "reason": reasons.INSUFFICIENT_CAPACITY,
                    "message": "needs 2",
                }
            ),
            [],
            (),
            ("Unknown", reasons.INSUFFICIENT_CAPACITY),
            ["needs 2"],
            id="waits for room",
        ),
    ],
)
def test_condition(job, attempts, pods, condition, words) -> None:
    decided = decide(job, children=tuple(attempts), pods=pods)
    assert read(decided) == condition
    assert [word for word in words if word not in message_of(decided)] == []


@pytest.mark.parametrize(
    ("reason", "stalled"),
    [
        pytest.param(reasons.INSUFFICIENT_CAPACITY, "False", id="room will come"),
        pytest.param(reasons.NO_MATCHING_ACCELERATOR, "True", id="what is asked for does not exist"),
    ],
)
def test_a_queue_is_no_stall(reason: str, stalled: str) -> None:
    job = make({"workers": 0, "requested": "none", "reason": reason, "message": "m"})
    decided = decide(job)
    assert read(decided, "Stalled")[0] == stalled
    assert read(decided, "Reconciling")[0] == "False"


def owned(*attempts: children.Child) -> tuple[children.Child, ...]:
    return (builders.make_child("Service", "llm"), *attempts)


@pytest.mark.parametrize(
    ("job", "newest"),
    [
        pytest.param(make(), 1, id="first attempt"),
        pytest.param(make(None), 1, id="assignment lost"),
        pytest.param(make(restarts=9), 3, id="third attempt"),
    ],
)
def test_what_exists_is_kept(job: training_job.TrainingJob, newest: int) -> None:
    attempts = [make_attempt(one, "Failed" if one < newest else "") for one in range(1, newest + 1)]
    assert decide(job, children=owned(*attempts)).keep == {child.ref for child in owned(*attempts)}


def test_logs_of_attempts_long_ago_go() -> None:
    attempts = [*(make_attempt(one, "Failed") for one in range(1, 6)), make_attempt(6)]
    decided = decide(make(restarts=9), children=owned(*attempts), pods=running(6))
    assert {ref.name for ref in decided.keep} == {"llm", "llm-4", "llm-5", "llm-6"}


ENDED = {
    "attempt": 2,
    "succeededWorkers": 2,
    "startTime": STARTED,
    "completionTime": "2030-01-01T11:30:00Z",
}


@pytest.mark.parametrize(
    ("status", "reason"), [("True", reasons.COMPLETED), ("False", reasons.RESTARTS_EXHAUSTED)]
)
@pytest.mark.parametrize("attempts", [[], [make_attempt(2, "Failed")], [make_attempt(1, "Failed")]])
@pytest.mark.parametrize("assignment", [ADMITTED, None])
def test_what_has_ended_stays_ended(status, reason, attempts, assignment) -> None:
    conditions = [builders.make_condition("Succeeded", status, reason).to_wire()]
    job = make(assignment, restarts=9, status={**ENDED, "conditions": conditions})
    decided = decide(job, children=tuple(attempts))
    assert decided.apply == ()
    assert decided.keep == {child.ref for child in attempts}
    assert read(decided) == (status, reason)
    assert decided.status["attempt"] == 2
    assert decided.status["startTime"] == STARTED
    assert decided.status["completionTime"] == ENDED["completionTime"]
    assert decided.events == ()


def test_times_span_all_attempts() -> None:
    first = make_attempt(1, "Failed", startTime=STARTED)
    second = make_attempt(
        2, "Complete", startTime="2030-01-01T11:20:00Z", completionTime="2030-01-01T11:40:00Z"
    )
    begun = decide(make(), children=(first,), pods=running()).status
    assert begun["startTime"] == STARTED
    assert "completionTime" not in begun
    ended = decide(make(status={"startTime": STARTED}), children=(first, second)).status
    assert (ended["startTime"], ended["completionTime"]) == (STARTED, "2030-01-01T11:40:00Z")


def test_a_job_that_failed_has_an_end_too() -> None:
    failed = make_attempt(1, startTime=STARTED)
    failed.body["status"]["conditions"].append(
        {"type": "Failed", "status": "True", "lastTransitionTime": "2030-01-01T11:50:00Z"}
    )
    assert decide(make(restarts=0), children=(failed,)).status["completionTime"] == "2030-01-01T11:50:00Z"


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_a_gang_that_always_fails_starts_so_often_and_ends(restarts: int) -> None:
    """Plays the whole life; a decision repeated before anything has changed asks for nothing new."""
    job, attempts = make(restarts=restarts), []
    for _ in range(20):
        decided = decide(job, children=tuple(attempts))
        assert decided == decide(job, children=tuple(attempts))
        started = [one for one in decided.apply if one["kind"] == "Job"]
        job = with_status(job, decided)
        if not started:
            break
        attempts.append(make_attempt(len(attempts) + 1, "Failed"))
        assert started[0]["metadata"]["name"] == attempts[-1].name
    assert len(attempts) == restarts + 1
    assert read(decided) == ("False", reasons.RESTARTS_EXHAUSTED)
