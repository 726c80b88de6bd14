from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import reasons, triton_service
from gpufleet.decide.serving import service as services
from gpufleet.state import children, decision, fleet, names
from tests import builders
from tests.builders import NOW
from tests.unit.gpufleet.decide import manifests

DEFAULTS = settings.Settings(agent_image="agent:1", triton_image="triton:1")
TWO = {"replicas": 2, "requested": "none"}


def make(assignment: dict[str, Any] | None = TWO, **fields: Any) -> triton_service.TritonService:
    status = fields.pop("status", {})
    return builders.make_service(
        status={**status, **({"assignment": assignment} if assignment else {})}, **fields
    )


def decide(service: triton_service.TritonService, **fields: Any) -> decision.Decision:
    return services.decide(builders.make_service_view(service, **fields), DEFAULTS, NOW)


def by_kind(decided: decision.Decision, kind: str) -> list[dict[str, Any]]:
    return [dict(one) for one in decided.apply if one["kind"] == kind]


def deployment(decided: decision.Decision) -> dict[str, Any]:
    [found] = by_kind(decided, "Deployment")
    return found


def revision_of(service: triton_service.TritonService) -> str:
    return str(decide(service).status["revision"])


def wanted_of(decided: decision.Decision) -> dict[str, Any]:
    [found] = by_kind(decided, "ConfigMap")
    read: dict[str, Any] = json.loads(found["data"][names.WANTED_MODELS_KEY])
    return read


def pods(revision: str, *readiness: bool, **fields: Any) -> tuple[fleet.Pod, ...]:
    return tuple(
        builders.make_service_pod(f"{revision}-{index}", revision=revision, ready=ready, **fields)
        for index, ready in enumerate(readiness)
    )


def old_deployment(revision: str, replicas: int = 2) -> children.Child:
    labels = {names.SERVICE_LABEL: "vision", names.REVISION_LABEL: revision}
    return builders.make_child("Deployment", f"vision-{revision}", labels=labels, spec={"replicas": replicas})


def read(decided: decision.Decision) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in decided.status["conditions"]}


def test_children() -> None:
    service = make()
    decided = decide(service)
    revision = decided.status["revision"]
    assert [(one["kind"], one["metadata"]["name"]) for one in decided.apply] == [
        ("ConfigMap", "vision-wanted-models"),
        ("Deployment", f"vision-{revision}"),
        ("Service", "vision"),
        ("Service", "vision-headless"),
    ]
    assert deployment(decided)["spec"]["replicas"] == 2
    assert [unstable for one in decided.apply for unstable in manifests.find_unstable(one)] == []
    selector = deployment(decided)["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment(decided)["spec"]["template"]["metadata"]["labels"].items()
    assert decided == decide(service), "the same view gives the same decision"


@pytest.mark.parametrize(
    ("change", "rolls"),
    [
        pytest.param({"models": [{"name": "other"}]}, False, id="a list of models"),
        pytest.param({"replicas": 5}, False, id="replicas"),
        pytest.param({"template": {"image": "triton:2"}}, True, id="image"),
        pytest.param({"template": {"env": [{"name": "A", "value": "1"}]}}, True, id="environment"),
        pytest.param(
            {"modelRepository": {"configMap": None, "image": {"reference": "m:1"}}}, True, id="repository"
        ),
    ],
)
def test_only_the_pod_template_makes_a_revision(change: dict[str, Any], rolls: bool) -> None:
    assert (revision_of(make(**change)) != revision_of(make())) is rolls


def test_replicas_are_always_those_assigned() -> None:
    before, after = (decide(make({"replicas": count, "requested": "none"})) for count in (0, 40))
    assert (deployment(before)["spec"]["replicas"], deployment(after)["spec"]["replicas"]) == (0, 40)
    assert before.status["revision"] == after.status["revision"]


def test_wanted_models() -> None:
    listed = [{"name": "z"}, {"name": "a", "maxBatchSize": 4, "batching": {}}]
    wanted = wanted_of(decide(make(models=listed)))
    assert wanted["models"] == [
        {"name": "a", "config": {"name": "a", "max_batch_size": 4, "dynamic_batching": {}}},
        {"name": "z"},
    ]
    again = wanted_of(decide(make(models=listed[::-1])))
    assert again == wanted, "the order in the spec says nothing"
    assert wanted_of(decide(make(models=[{"name": "z"}])))["revision"] != wanted["revision"]


INVALID = [{"name": "m", "instanceGroups": [{"kind": "GPU"}]}]


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        pytest.param(make(None, created_s=-60.0), None, id="not assigned yet"),
        pytest.param(make({"replicas": 2, "requested": "count=2"}), None, id="assigned for another block"),
        pytest.param(make(models=INVALID), reasons.INVALID_SPEC, id="a model that Triton would refuse"),
        pytest.param(
            make(
                {
                    "replicas": 2,
                    "requested": "count=1",
                    "reason": reasons.NO_MATCHING_ACCELERATOR,
                    "message": "m",
                },
                accelerator={"count": 1},
            ),
            reasons.NO_MATCHING_ACCELERATOR,
            id="nothing matches",
        ),
    ],
)
@pytest.mark.parametrize("serves", [True, False])
def test_what_cannot_proceed_keeps_all_it_has(service, reason, serves) -> None:
    conditions = [builders.make_condition(reasons.READY, "True", reasons.ALL_MODELS_READY)] if serves else []
    status = service.status.model_copy(update={"conditions": conditions, "replicas": 2})
    owned = (old_deployment("r1"), builders.make_child("Service", "vision"))
    decided = decide(service.model_copy(update={"status": status}), children=owned)
    assert decided.apply == ()
    assert decided.keep == {child.ref for child in owned}
    found = read(decided)
    assert found["Stalled"] == (("True", reason) if reason else ("False", reasons.SETTLED))
    assert (found["Ready"] == ("True", reasons.ALL_MODELS_READY)) is serves
    assert decided.status["replicas"] == 2
    assert "assignment" not in decided.status


def test_of_a_service_that_just_came_nothing_is_said_yet() -> None:
    decided = decide(make(None))
    assert (decided.apply, decided.events, decided.status.get("conditions", [])) == ((), (), [])
    assert decided.requeue_after_s


@dataclasses.dataclass(frozen=True)
class Rollout:
    """Ready pods by revision: r0 and r1 are older, `new` is what the spec asks for."""

    older: tuple[bool, ...] = ()
    old: tuple[bool, ...] = ()
    new: tuple[bool, ...] = ()
    before: dict[str, Any] | None = None
    surge: int | None = None


UNDER_WAY = {"phase": "Progressing", "strategy": "Surge"}
RETURNED = {"phase": "Returned", "message": "no image"}


@pytest.mark.parametrize(
    ("rollout", "scaled", "applied", "phase"),
    [
        pytest.param(Rollout(old=(True, True)), {"r1": 2}, None, "Waiting", id="room is looked for"),
        pytest.param(
            Rollout(old=(True, True), surge=1), {"r1": 2}, 1, "Progressing", id="one more beside it"
        ),
        pytest.param(
            Rollout(old=(True, True), new=(True,), before=UNDER_WAY, surge=1),
            {"r1": 1},
            1,
            "Progressing",
            id="one for one",
        ),
        pytest.param(
            Rollout(old=(True,), new=(True, True), before=UNDER_WAY, surge=1), {}, 2, None, id="all new ready"
        ),
        pytest.param(
            Rollout(old=(True, True), new=(False,), before=RETURNED),
            {"r1": 2},
            None,
            "Returned",
            id="returned",
        ),
        pytest.param(
            Rollout(older=(True, True), old=(False,), before={"phase": "Waiting", "previous": "r0"}),
            {"r0": 2, "r1": 1},
            None,
            "Waiting",
            id="one superseded before it served",
        ),
        pytest.param(Rollout(older=(False,), old=(False,)), {}, 2, None, id="none of the old served"),
    ],
)
def test_revisions_side_by_side(
    rollout: Rollout, scaled: dict[str, int], applied: int | None, phase: str | None
) -> None:
    revision = revision_of(make())
    answer = {"rollout": f"{revision}:100", "surge": rollout.surge} if rollout.surge is not None else {}
    before = {"revision": revision, "previous": "r1", **rollout.before} if rollout.before else None
    service = make({**TWO, **answer}, status={"rollout": before} if before else {})
    shown = (*pods("r0", *rollout.older), *pods("r1", *rollout.old), *pods(revision, *rollout.new))
    owned = tuple(
        old_deployment(name, len(held))
        for name, held in (("r0", rollout.older), ("r1", rollout.old), (revision, rollout.new))
        if held
    )
    decided = decide(service, children=owned, pods=shown)
    assert {ref.name.removeprefix("vision-"): count for ref, count in decided.scale.items()} == scaled
    assert decided.keep == decided.scale.keys()
    assert [one["spec"]["replicas"] for one in by_kind(decided, "Deployment")] == (
        [] if applied is None else [applied]
    )
    assert decided.status.get("rollout", {}).get("phase") == phase
    assert (read(decided)["Stalled"] == ("True", reasons.ROLLOUT_FAILED)) is (phase == "Returned")
    assert decided.status["revision"] == ("r1" if phase == "Returned" else revision)


def test_scaled_to_zero_nothing_old_stays() -> None:
    decided = decide(make({"replicas": 0, "requested": "none"}), children=(old_deployment("r1"),))
    assert decided.keep == frozenset()
    assert read(decided)["Ready"] == ("False", reasons.SCALED_TO_ZERO)


CRASH = fleet.ContainerState("triton", waiting_reason="CrashLoopBackOff", exit_code=1)


@pytest.mark.parametrize(
    ("readiness", "fields", "ready", "reconciling"),
    [
        pytest.param((), {}, ("False", reasons.PODS_NOT_READY), "True", id="no pods"),
        pytest.param((True, True), {}, ("True", reasons.ALL_MODELS_READY), "False", id="all ready"),
        pytest.param((True, False), {}, ("True", reasons.ALL_MODELS_READY), "True", id="one serves already"),
        pytest.param(
            (False, False),
            {"containers": (CRASH,)},
            ("False", reasons.CONTAINER_CRASHING),
            "True",
            id="none starts",
        ),
        pytest.param(
            (False,),
            {"unschedulable_message": "0/1 nodes are available"},
            ("False", reasons.PODS_UNSCHEDULABLE),
            "True",
            id="no node",
        ),
        pytest.param(
            (True, True), {"deleting": True}, ("False", reasons.PODS_NOT_READY), "True", id="leaving pods"
        ),
        pytest.param(
            (True, True), {"phase": "Failed"}, ("False", reasons.PODS_NOT_READY), "True", id="dead pods"
        ),
    ],
)
def test_readiness_by_pods(readiness: Iterable[bool], fields, ready, reconciling) -> None:
    service = make()
    decided = decide(service, pods=pods(revision_of(service), *readiness, **fields))
    assert read(decided)["Ready"] == ready
    assert read(decided)["Reconciling"][0] == reconciling


@pytest.mark.parametrize(
    ("states", "settled", "ready", "reconciling", "models"),
    [
        pytest.param(
            ["Ready", "Ready"],
            True,
            ("True", reasons.ALL_MODELS_READY),
            "False",
            {("Ready", 2)},
            id="all answer",
        ),
        pytest.param(
            ["Ready", "Failed:no weights"],
            True,
            ("False", reasons.MODEL_LOAD_FAILED),
            "False",
            {("Failed", 1)},
            id="refused by one server",
        ),
        pytest.param(
            ["Loading", "Loading"],
            False,
            ("False", reasons.PODS_NOT_READY),
            "True",
            {("Loading", 0)},
            id="added",
        ),
        pytest.param(
            ["Ready", "Ready"],
            False,
            ("True", reasons.ALL_MODELS_READY),
            "True",
            {("Ready", 2)},
            id="the old copies answer while new ones load",
        ),
    ],
)
def test_models_by_reports(states, settled, ready, reconciling, models) -> None:
    service = make()
    revision = wanted_of(decide(service))["revision"] if settled else "before"
    shown = pods(revision_of(service), True, True)
    reports = {
        pod.uid: builders.make_report(revision, double=state)
        for pod, state in zip(shown, states, strict=True)
    }
    decided = decide(service, pods=shown, reports=reports)
    assert read(decided)["Ready"] == ready
    assert read(decided)["Reconciling"][0] == reconciling
    assert {(one["state"], one["readyPods"]) for one in decided.status["models"]} == models


def test_status_says_where_and_how_many() -> None:
    service = make()
    decided = decide(service, pods=(*pods(revision_of(service), True), *pods("r1", True, False)))
    assert decided.status["endpoint"] == "vision.default.svc:8000"
    assert decided.status["selector"] == "gpufleet.dev/service=vision"
    assert (decided.status["replicas"], decided.status["readyReplicas"]) == (3, 2)
    assert "assignment" not in decided.status
    triton_service.TritonServiceStatus.model_validate(decided.status)
