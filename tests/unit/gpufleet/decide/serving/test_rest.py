"""Services in any state: what a pass decides, the next one finds done."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet import settings
from gpufleet.api import reasons, triton_service
from gpufleet.decide.serving import service as services
from gpufleet.state import children, decision, fleet, models, names, view
from tests import builders
from tests.builders import NOW
from tests.unit.gpufleet.decide import manifests, podsecurity

DEFAULTS = settings.Settings(agent_image="agent:1", triton_image="triton:1")
MODELS = [{"name": "b", "maxBatchSize": 4, "batching": {}}, {"name": "a"}]
REFUSED = {"reason": reasons.NO_MATCHING_ACCELERATOR, "message": "no node offers 1 × nvidia.com/gpu"}
GPU = {"resource": "nvidia.com/gpu", "count": 1, "products": []}
CASES: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    ({}, None),
    ({}, {"requested": "none"}),
    ({"template": {"image": "triton:2"}}, {"requested": "none"}),
    ({"accelerator": {"count": 1}}, {"requested": "count=1", "accelerator": GPU}),
    ({"accelerator": {"count": 1}}, {"requested": "count=1", **REFUSED}),
    ({"accelerator": {"count": 1}}, {"requested": "none"}),
    ({"models": [{"name": "a", "instanceGroups": [{"kind": "GPU"}]}]}, {"requested": "none"}),
]
"""(spec, assignment without replicas): waiting, served, refused, about another block, invalid."""

CONTAINERS = st.sampled_from(
    [
        (),
        (fleet.ContainerState("triton", waiting_reason="CrashLoopBackOff", exit_code=1),),
        (fleet.ContainerState("triton", waiting_reason="ErrImagePull", message="not found"),),
        (fleet.ContainerState("triton", waiting_reason="ErrImagePull", message="denied"),),
    ]
)


def decide(shown: view.ServiceView) -> decision.Decision:
    return services.decide(shown, DEFAULTS, NOW)


def revision_of(service: triton_service.TritonService) -> str:
    return str(decide(builders.make_service_view(service)).status.get("revision", ""))


@st.composite
def pods_of(draw: st.DrawFn, revision: str) -> list[fleet.Pod]:
    return [
        builders.make_service_pod(
            f"{revision}-{index}",
            revision=revision,
            ready=draw(st.booleans()),
            phase=draw(st.sampled_from(["Pending", "Running", "Failed"])),
            deleting=draw(st.sampled_from([False, False, True])),
            containers=draw(CONTAINERS),
            unschedulable_message=draw(st.sampled_from(["", "0/1 nodes are available"])),
        )
        for index in range(draw(st.integers(0, 3)))
    ]


@st.composite
def reports_of(draw: st.DrawFn, pods: list[fleet.Pod]) -> dict[str, models.AgentReport]:
    states = st.sampled_from(["Pending", "Loading", "Ready", "Failed:no weights", "Failed:no memory"])
    return {
        pod.uid: builders.make_report("1", a=draw(states), b=draw(states))
        for pod in pods
        if draw(st.booleans())
    }


@st.composite
def views(draw: st.DrawFn) -> view.ServiceView:
    spec, assignment = draw(st.sampled_from(CASES + 3 * CASES[1:4]))
    given_ = {"assignment": {"replicas": draw(st.integers(0, 3)), **assignment}} if assignment else {}
    service = builders.make_service(**{"models": MODELS, **spec}, status=given_, created_s=-60.0)
    revisions = sorted({"r0", "r1", revision_of(service)} - {""})
    pods = [pod for revision in revisions for pod in draw(pods_of(revision))]
    owned = [
        builders.make_child(
            "Deployment", f"vision-{revision}", labels={names.REVISION_LABEL: revision}, spec={}
        )
        for revision in revisions
    ]
    return builders.make_service_view(
        service,
        children=(builders.make_child("ConfigMap", "vision-wanted-models"), *owned),
        pods=tuple(pods),
        reports=draw(reports_of(pods)),
    )


def told(shown: view.ServiceView, decided: decision.Decision) -> view.ServiceView:
    """The view once the status was written."""
    status = triton_service.TritonServiceStatus.model_validate(decided.status)
    status = status.model_copy(update={"assignment": shown.service.status.assignment})
    return dataclasses.replace(shown, service=shown.service.model_copy(update={"status": status}))


@how(max_examples=60, deadline=None)
@given(views())
def test_the_next_pass_has_nothing_to_say(shown: view.ServiceView) -> None:
    first = decide(shown)
    again = decide(told(shown, first))
    assert again == dataclasses.replace(first, events=())
    assert "assignment" not in first.status


@how(max_examples=40, deadline=None)
@given(views(), st.randoms(use_true_random=False))
def test_the_order_of_pods_and_children_says_nothing(shown: view.ServiceView, random: Any) -> None:
    pods, owned = list(shown.pods), list(shown.children)
    random.shuffle(pods)
    random.shuffle(owned)
    assert decide(dataclasses.replace(shown, pods=tuple(pods), children=tuple(owned))) == decide(shown)


@how(max_examples=60, deadline=None)
@given(views())
def test_nothing_that_serves_goes_before_its_successor_is_ready(shown: view.ServiceView) -> None:
    decided = decide(shown)
    here = {child.ref for child in shown.children}
    if not decided.apply:
        assert decided.keep == here
        return
    applied = {children.ChildRef(one["kind"], one["metadata"]["name"]) for one in decided.apply}
    gone = {ref.name for ref in here - applied - decided.keep}
    ready = [pod for pod in shown.pods if pod.ready and not pod.deleting and not pod.is_terminal]
    serving = {f"vision-{pod.labels[names.REVISION_LABEL]}" for pod in ready}
    successors = sum(pod.labels[names.REVISION_LABEL] == decided.status["revision"] for pod in ready)
    assignment = shown.service.status.assignment
    if assignment and successors < assignment.replicas:
        assert gone.isdisjoint(serving)
    if "rollout" not in decided.status:
        assert gone == {ref.name for ref in here if ref.kind == "Deployment"} - {ref.name for ref in applied}


@how(max_examples=60, deadline=None)
@given(views())
def test_every_child_is_stored_as_it_is_and_may_run(shown: view.ServiceView) -> None:
    for manifest in decide(shown).apply:
        assert list(manifests.find_unstable(manifest)) == []
        if manifest["kind"] == "Deployment":
            assert podsecurity.find_violations(manifest["spec"]["template"]["spec"]) == []
