from __future__ import annotations

import datetime
from typing import Any

import pytest

from gpufleet import settings
from gpufleet.decide.training import job as jobs
from gpufleet.decide.training import pod
from gpufleet.decide.training import progress as deciding
from gpufleet.state import fleet, names, progress
from tests import builders
from tests.builders import NOW, make_attempt

ADMITTED = {"workers": 2, "requested": "none"}
MADE = NOW - datetime.timedelta(minutes=5)


def known(
    step: int = 120, *, moved_s: float = 0, checkpoint: int | None = 100, **more: Any
) -> progress.Progress:
    report = progress.Report(step, more.pop("total", 1000), checkpoint, MADE if checkpoint else None)
    given = {"reported_at": NOW, "first": progress.Report(20), "first_s": 0.0}
    return progress.Progress(50 + moved_s, 50, newest=report, **(given | more))


def silent(still_s: float) -> progress.Progress:
    return progress.Progress(asked_s=still_s, moved_s=0)


def leader(phase: fleet.PodPhase = "Running") -> fleet.Pod:
    labels = {names.JOB_LABEL: "llm", names.ATTEMPT_LABEL: "1", names.COMPLETION_INDEX_ANNOTATION: "0"}
    return builders.make_pod("llm-1-0", labels=labels, phase=phase, node="n")


def decide(
    seen: progress.Progress | None,
    *,
    stall: int | None = 300,
    phase: fleet.PodPhase = "Running",
    **status: Any,
) -> Any:
    spec = {"port": 8080} | ({"stallSeconds": stall} if stall else {})
    job = builders.make_job(
        status={"attempt": 1, "assignment": ADMITTED, **status}, created_s=-900.0, progress=spec
    )
    given = {"uid-llm-1-0": seen} if seen else {}
    view = builders.make_job_view(
        job,
        children=(make_attempt(1),),
        pods=(leader(phase), builders.make_worker("llm-1-1")),
        progress=given,
    )
    return jobs.decide(view, settings.Settings(), NOW)


@pytest.mark.parametrize(
    ("seen", "more", "again_s"),
    [
        pytest.param(known(moved_s=100), {}, 200, id="moves"),
        pytest.param(known(moved_s=299), {}, 1, id="hardly"),
        pytest.param(known(moved_s=900), {"stall": None}, None, id="nobody asked"),
        pytest.param(known(moved_s=900), {"phase": "Pending"}, None, id="does not run"),
        pytest.param(None, {}, None, id="was not asked yet"),
        pytest.param(silent(10), {}, 290, id="has not answered yet"),
    ],
)
def test_a_gang_that_goes_on_is_looked_at_in_time(
    seen: Any, more: dict[str, Any], again_s: int | None
) -> None:
    decided = decide(seen, **more)
    assert decided.requeue_after_s == again_s
    assert not decided.status.get("history")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param(known(moved_s=300), ["300 s", "last step was 120"], id="stopped"),
        pytest.param(silent(301), ["never answered"], id="never began"),
    ],
)
def test_a_gang_that_stands_still_starts_again(seen: progress.Progress, words: list[str]) -> None:
    [record] = decide(seen).status["history"]
    assert (record["endedBy"], record["worker"]) == ("Stalled", "llm-1-0")
    assert [word for word in words if word not in record["message"]] == []


TOLD = {"step": 50, "checkpointStep": 50, "reportedAt": "2030-01-01T11:58:00Z"}
SAME = TOLD | {"checkpointStep": 100}
RECENT = TOLD | {"reportedAt": "2030-01-01T11:59:30Z"}
SAYS = {
    "step": 120,
    "totalSteps": 1000,
    "checkpointStep": 100,
    "checkpointTime": "2030-01-01T11:55:00Z",
    "reportedAt": "2030-01-01T12:00:00Z",
}


@pytest.mark.parametrize(
    ("seen", "before", "after"),
    [
        pytest.param(known(), None, SAYS, id="the first"),
        pytest.param(known(), TOLD, SAYS, id="another checkpoint"),
        pytest.param(known(), SAME, SAME, id="only steps"),
        pytest.param(known(), RECENT, RECENT, id="another checkpoint too soon"),
        pytest.param(known(moved_s=300), SAME, SAYS, id="at the end of an attempt"),
        pytest.param(None, TOLD, TOLD, id="nothing"),
    ],
)
def test_status_tells_of_checkpoints_and_ends(seen: Any, before: Any, after: Any) -> None:
    assert decide(seen, **({"progress": before} if before else {})).status["progress"] == after


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param(
            known(),
            {
                "step": 120,
                "totalSteps": 1000,
                "checkpointStep": 100,
                "checkpointAgeSeconds": 300,
                "etaSeconds": 440,
                "message": "880 of 1000 steps left at 2 per second, the rate of this attempt",
            },
            id="all",
        ),
        pytest.param(
            known(total=None, checkpoint=None),
            {"step": 120, "message": "no estimate: the job does not report totalSteps"},
            id="steps alone",
        ),
        pytest.param(
            known(20, checkpoint=None),
            {"step": 20, "totalSteps": 1000, "message": "no estimate: no step was seen to end yet"},
            id="just began",
        ),
        pytest.param(silent(0), {"message": "no answer yet"}, id="silent"),
    ],
)
def test_what_the_read_api_says(seen: progress.Progress, told: dict[str, Any]) -> None:
    assert deciding.describe(seen, NOW) == told


def build(**spec: Any) -> dict[str, Any]:
    built: dict[str, Any] = pod.build_template(builders.make_job(**spec), 2, None, None, 1)["spec"]
    return built


def test_a_worker_has_time_for_its_checkpoint() -> None:
    built = build(framework="Torch", checkpoint={"gracePeriodSeconds": 300})
    env = {one["name"]: one.get("value") for one in built["containers"][0]["env"]}
    assert built["terminationGracePeriodSeconds"] == 300
    assert env["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "295"
    assert "lifecycle" not in built["containers"][0]
    assert "terminationGracePeriodSeconds" not in build(framework="Torch")


def test_another_signal_comes_before_the_kubelets() -> None:
    built = build(checkpoint={"signal": "SIGUSR1", "gracePeriodSeconds": 60})
    hook = built["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook == ["/bin/sh", "-c", "kill -USR1 1; sleep 55"]


def test_a_program_is_told_where_to_answer() -> None:
    [worker] = build(progress={"port": 8080})["containers"]
    assert {"name": "GPUFLEET_PROGRESS_PORT", "value": "8080"} in worker["env"]
