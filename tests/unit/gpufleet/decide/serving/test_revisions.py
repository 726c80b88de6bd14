"""Revisions as the cluster shows them, and the Events of a rollout."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import reasons
from gpufleet.api import rollout as rollouts
from gpufleet.decide.serving import revisions, rollout
from gpufleet.state import fleet, names
from tests import builders
from tests.builders import GPU, make_service_pod

STUCK = fleet.ContainerState("triton", waiting_reason="ErrImagePull", message="not found")


def find(pods: list[fleet.Pod], *deployments: tuple[str, int], accelerator: bool = True) -> rollout.Facts:
    service = builders.make_service()
    owned = tuple(
        builders.make_child(
            "Deployment", f"v-{name}", labels={names.REVISION_LABEL: name}, spec={"replicas": count}
        )
        for name, count in deployments
    )
    shown = builders.make_service_view(service, children=owned, pods=tuple(pods))
    given: dict[str, Any] = {"replicas": 2}
    if accelerator:
        given["accelerator"] = {"resource": GPU, "count": 2}
    status = builders.make_service(status={"assignment": given}).status.assignment
    assert status is not None
    return revisions.find_facts(shown, status, "new")


def pod(name: str, revision: str, **fields: Any) -> fleet.Pod:
    return make_service_pod(name, revision=revision, **fields)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], (2, 0, 0, False), id="no pods yet"),
        pytest.param([pod("a", "old", ready=True), pod("b", "old")], (2, 1, 2, False), id="one of two ready"),
        pytest.param([pod("a", "old", ready=True, deleting=True)], (2, 0, 1, False), id="one that leaves"),
        pytest.param([pod("a", "old", phase="Failed")], (2, 0, 0, False), id="one that has ended"),
        pytest.param([pod("a", "old", containers=(STUCK,))], (2, 0, 1, True), id="one that cannot start"),
    ],
)
def test_a_revision(pods: list[fleet.Pod], expected: tuple[int, int, int, bool]) -> None:
    found = find(pods, ("old", 2)).revisions["old"]
    assert (found.desired, found.ready, found.present, found.failing) == expected


def test_pods_without_a_deployment_hold_their_place_only() -> None:
    found = find([pod("a", "gone", ready=True)], ("old", 2)).revisions
    assert found["gone"] == rollout.Revision("gone", present=1)


@pytest.mark.parametrize(
    ("pods", "accelerator", "expected"),
    [
        pytest.param([pod("a", "old", requests={GPU: 2})], True, True, id="the same need"),
        pytest.param([pod("a", "old", requests={GPU: 1})], True, False, id="less than is needed"),
        pytest.param([pod("a", "old", requests={"other": 2})], True, False, id="something else"),
        pytest.param([pod("a", "new", requests={GPU: 2})], True, True, id="none left to drain"),
        pytest.param([pod("a", "old")], False, True, id="no accelerator at all"),
    ],
)
def test_whether_draining_helps(pods: list[fleet.Pod], accelerator: bool, expected: bool) -> None:
    assert find(pods, ("old", 1), accelerator=accelerator).draining_frees_it is expected


def status(phase: str, strategy: str = "", revision: str = "new", **fields: Any) -> rollouts.RolloutStatus:
    return rollouts.RolloutStatus.model_validate(
        {"revision": revision, "previous": "old", "phase": phase, "strategy": strategy, **fields}
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, None, [], id="nothing rolls"),
        pytest.param(None, status("Waiting"), [], id="not decided yet"),
        pytest.param(
            status("Waiting"), status("Progressing", "Surge"), [reasons.ROLLOUT_STARTED], id="it starts"
        ),
        pytest.param(
            status("Progressing", "Surge"),
            status("Progressing", "Surge", readyPeak=2),
            [],
            id="it goes on",
        ),
        pytest.param(
            status("Progressing", "DrainFirst"),
            status("Progressing", "Surge"),
            [reasons.ROLLOUT_STARTED],
            id="another way",
        ),
        pytest.param(status("Progressing"), status("Canary"), [reasons.CANARY_SERVES], id="it holds"),
        pytest.param(status("Progressing"), status("Returned"), [], id="it fails: Stalled tells"),
        pytest.param(status("Progressing"), None, [reasons.ROLLOUT_COMPLETE], id="it ends"),
        pytest.param(
            status("Progressing", revision="other"), None, [reasons.ROLLOUT_ABORTED], id="it is reverted"
        ),
    ],
)
def test_events(before: Any, after: Any, expected: list[str]) -> None:
    facts = rollout.Facts("new", 2, {}, rollouts.Rollout(), before=before)
    step = rollout.Step({}, frozenset(), after)
    assert [event.reason for event in revisions.events_of_change(facts, step)] == expected
