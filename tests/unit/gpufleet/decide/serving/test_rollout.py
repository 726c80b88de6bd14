"""Steps of a rollout, and what holds at every moment of any rollout."""

from __future__ import annotations

import dataclasses
import datetime
import random
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.api import rollout as rollouts
from gpufleet.decide.serving import rollout
from tests.builders import NOW
from tests.unit.gpufleet.decide.serving import rollout_world

OLD, NEW = "old", "new"
ONE_BY_ONE = rollouts.Rollout(step_percent=1)
worlds = st.builds(
    rollout_world.World,
    replicas=st.integers(1, 9),
    places=st.integers(0, 12),
    policy=st.builds(rollouts.Rollout, step_percent=st.integers(1, 100)),
    rng=st.builds(random.Random, st.integers(0, 10**6)),
).map(lambda world: dataclasses.replace(world, places=max(world.places, world.replicas)))


def ways(world: rollout_world.World) -> set[str]:
    return {one.strategy for one in world.seen if one is not None and one.phase == "Progressing"}


@hypothesis.given(worlds)
def test_a_good_revision_takes_over_and_no_more_is_lost_than_was_said(world: rollout_world.World) -> None:
    world.wanted = NEW
    size = rollout.step_size(world.replicas, world.policy)
    surges = world.places > world.replicas
    for _ in range(400):
        world.step()
        assert len(world.servers) <= world.replicas + (size if surges else 0)
        assert world.ready() >= world.replicas - (0 if surges else size)
    assert world.deployments == {NEW: world.replicas}
    assert world.ready(NEW) == world.replicas
    assert world.status is None
    assert ways(world) == {"Surge" if surges else "DrainFirst"}


@hypothesis.given(worlds)
def test_a_broken_revision_goes_and_the_old_one_comes_back(world: rollout_world.World) -> None:
    world.wanted, world.broken = NEW, frozenset({NEW})
    world.run()
    assert world.ready(OLD) == world.replicas
    assert world.deployments == {OLD: world.replicas}
    assert world.status is not None
    assert world.status.phase == "Returned"
    assert f"revision {OLD} serves" in world.status.message


@hypothesis.given(worlds, st.integers(0, 60), st.booleans())
def test_a_change_in_the_middle_ends_well(world: rollout_world.World, after: int, reverts: bool) -> None:
    world.wanted, world.broken = NEW, frozenset({NEW} if not reverts else ())
    world.run(after)
    world.wanted = OLD if reverts else "newer"
    world.run()
    assert world.deployments == {world.wanted: world.replicas}
    assert world.ready(world.wanted) == world.replicas
    assert world.status is None


@hypothesis.given(worlds, st.integers(1, 99), st.integers(0, 100))
@hypothesis.example(rollout_world.World(1, 2, ONE_BY_ONE, rng=random.Random(0)), 50, 0)
def test_a_canary_holds_its_share_and_follows_its_weight(
    world: rollout_world.World, first: int, then: int
) -> None:
    hypothesis.assume(world.places > world.replicas)
    world.wanted = NEW
    for weight in (first, then):
        canary = rollouts.Canary(weight=weight)
        world.policy = world.policy.model_copy(update={"canary": canary})
        for _ in range(400):
            world.step()
            assert world.ready() >= world.replicas
        assert world.ready(NEW) == pytest.approx(world.replicas * weight / 100, abs=1)
        assert (world.ready(NEW) > 0) is (weight > 0)
        if weight < 100:
            assert world.ready(OLD) >= 1
            assert world.status is not None
            assert world.status.phase == "Canary"


@hypothesis.given(worlds, st.integers(1, 12), st.integers(0, 40))
def test_a_rollout_follows_the_replicas(world: rollout_world.World, replicas: int, after: int) -> None:
    world.wanted = NEW
    world.run(after)
    world.replicas, world.places = replicas, max(world.places, replicas)
    world.run()
    assert world.deployments == {NEW: replicas}
    assert world.ready(NEW) == replicas


@dataclasses.dataclass(frozen=True)
class Case:
    """Replicas 4; the old revision has all of them ready unless said otherwise."""

    policy: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    before: dict[str, Any] | None = None
    phase: str = "Waiting"
    strategy: str = ""
    replicas: dict[str, int] = dataclasses.field(default_factory=lambda: {OLD: 4})
    says: str = ""


ANSWER = {"answered": f"{NEW}:100"}
DRAINS = {"phase": "Progressing", "strategy": "DrainFirst"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(says="looking for a free"), id="asks first"),
        pytest.param(
            Case(
                facts={**ANSWER, "granted": 1},
                phase="Progressing",
                strategy="Surge",
                replicas={OLD: 4, NEW: 1},
                says="starts beside",
            ),
            id="room for one",
        ),
        pytest.param(
            Case(facts=ANSWER, **DRAINS, says="no free place: 1 of 4 servers (25 %)"),
            id="no room: says so first",
        ),
        pytest.param(
            Case(facts=ANSWER, before=DRAINS, **DRAINS, replicas={OLD: 3, NEW: 0}), id="then drains"
        ),
        pytest.param(
            Case(policy={"strategy": "DrainFirst"}, **DRAINS, says="1 of 4"), id="drains without being asked"
        ),
        pytest.param(
            Case(
                policy={"strategy": "DrainFirst", "step_percent": 100},
                **DRAINS,
                says="4 of 4 servers (100 %)",
            ),
            id="all at once",
        ),
        pytest.param(
            Case(policy={"strategy": "Surge"}, facts=ANSWER, says="set rollout.strategy to DrainFirst"),
            id="insists on room",
        ),
        pytest.param(
            Case(facts={**ANSWER, "draining_frees_it": False}, says="do not hold any"),
            id="draining would win nothing",
        ),
        pytest.param(Case(facts={"answered": "older:100", "granted": 3}), id="an answer to another question"),
        pytest.param(
            Case(facts={"replicas": 6}, replicas={OLD: 6}), id="replicas are followed while it waits"
        ),
    ],
)
def test_how_it_begins(case: Case) -> None:
    step = plan(case)
    assert step.status is not None
    assert (step.status.phase, step.status.strategy) == (case.phase, case.strategy)
    assert step.replicas == case.replicas
    assert case.says in step.status.message


def plan(case: Case, **revisions: rollout.Revision) -> rollout.Step:
    status = {"revision": NEW, "previous": OLD, **(case.before or {})}
    facts = rollout.Facts(
        **{
            "wanted": NEW,
            "replicas": 4,
            "revisions": {OLD: rollout.Revision(OLD, 4, 4, 4), **revisions},
            "policy": rollouts.Rollout(**case.policy),
            "before": rollouts.RolloutStatus(**status) if case.before else None,
            **case.facts,
        }
    )
    return rollout.plan(facts, NOW)


UNDER_WAY = {"phase": "Progressing", "strategy": "Surge"}
LATE = NOW - datetime.timedelta(seconds=601)


@pytest.mark.parametrize(
    ("before", "policy", "phase"),
    [
        pytest.param({**UNDER_WAY, "progressed_at": NOW}, {}, "Progressing", id="in time"),
        pytest.param({**UNDER_WAY, "progressed_at": LATE}, {}, "Returned", id="too late"),
        pytest.param(
            {**UNDER_WAY, "progressed_at": LATE},
            {"progress_deadline_seconds": 900},
            "Progressing",
            id="more time",
        ),
        pytest.param({"phase": "Returned", "progressed_at": LATE}, {}, "Returned", id="stays returned"),
        pytest.param(
            {"phase": "Returned", "progressed_at": LATE}, {"attempt": 2}, "Waiting", id="another attempt"
        ),
        pytest.param({"phase": "Returned", "revision": "newer"}, {}, "Waiting", id="another revision failed"),
    ],
)
def test_the_deadline(before: dict[str, Any], policy: dict[str, Any], phase: str) -> None:
    facts = {**ANSWER, "granted": 1, "failure": "the image is missing"} if phase != "Waiting" else {}
    new = {} if before["phase"] == "Returned" else {NEW: rollout.Revision(NEW, 1, 0, 1)}
    step = plan(Case(policy=policy, before=before, facts=facts), **new)
    assert step.status is not None
    assert step.status.phase == phase
    if before["phase"] == "Progressing" and phase == "Returned":
        assert "0 of 4 servers ready and no more within 600 s: the image is missing" in step.status.message
    if phase == "Progressing":
        assert step.due_s is not None
        assert 0 < step.due_s <= 600


def test_a_revision_that_never_served_holds_nobody_up() -> None:
    step = plan(Case(), **{OLD: rollout.Revision(OLD, 4, 0, 4)})
    assert (step.replicas, step.status) == ({NEW: 4}, None)


def test_scaled_to_zero_there_is_nothing_to_roll() -> None:
    step = plan(Case(facts={"replicas": 0}))
    assert (step.replicas, step.status) == ({NEW: 0}, None)


def test_a_single_server_needs_a_second_for_its_canary() -> None:
    policy = {"canary": rollouts.Canary(weight=10)}
    one = {OLD: rollout.Revision(OLD, 1, 1, 1)}
    alone = plan(Case(policy=policy, facts={"replicas": 1, "answered": f"{NEW}:10"}), **one)
    assert alone.status is not None
    assert alone.status.phase == "Waiting"
    beside = plan(Case(policy=policy, facts={"replicas": 1, "answered": f"{NEW}:10", "granted": 1}), **one)
    assert beside.replicas == {OLD: 1, NEW: 1}
