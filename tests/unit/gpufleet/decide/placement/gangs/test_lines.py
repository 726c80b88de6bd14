"""Verdicts that gangs share, and that are kept from pass to pass, are those that each would get by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet.api import training_job
from gpufleet.decide.placement import assign, brakes
from gpufleet.decide.placement.gangs import lines, waiting
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.state import snapshot
from tests import builders, gang_world
from tests.builders import NOW, make_job, make_node, make_worker
from tests.unit.gpufleet.decide.placement.gangs.test_admission import NODES, POOL, gang
from tests.unit.gpufleet.decide.placement.gangs.test_preemption import running
from tests.unit.gpufleet.decide.placement.gangs.test_world import ACTIVE, URGENT


class Compared(gang_world.World):
    """Each pass is decided with kept lines, with new ones, and with each gang in a line of its own."""

    shared = 0

    def submit(self) -> None:
        """Four of a kind, so that most of them wait behind others."""
        super().submit()
        *_, spec = self.specs.values()
        for _ in range(3):
            self.add(f"g{len(self.specs)}", spec)

    def plan(self, view: snapshot.Snapshot) -> assign.Plan:
        kept = super().plan(view)
        told = [*waiting.describe(kept.queue)]
        for other in (lines.Lines(), lines.Lines(shape=lambda job: job.metadata.uid)):
            plan = assign.plan(view, {}, self.now, self.limits, kept=other)
            assert sort(plan) == sort(kept)
            assert [*waiting.describe(plan.queue)] == told
        self.shared += sum(len(crowd.members) > 1 for crowd in kept.queue.crowds)
        return kept


ASKS = st.fixed_dictionaries(
    {
        "framework": st.sampled_from(("Plain", "Torch")),
        "workers": st.sampled_from(({"max": 1}, {"max": 2}, {"min": 1, "max": 3}, {"max": 5}, {"max": 90})),
        "accelerator": st.sampled_from(({"count": 4}, {"count": 8}, {"count": 9}, {"memory": "4Gi"})),
    },
    optional={
        "topology": st.sampled_from(({"required": "rack"}, {"preferred": "rack"}, {"required": "nowhere"})),
        "activeDeadlineSeconds": st.sampled_from((60, 3570, 3571)),
        "parallelism": st.sampled_from(({"tensor": 2}, {"tensor": 8, "pipeline": 2})),
        "priorityClassName": st.sampled_from(("high", "middle")),
    },
)


def vary(first: dict[str, Any], others: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The first, and gangs that differ from it in one field: those are told apart least easily."""
    return [first, *({**first, **{key: one[key] for key in (field,) if key in one}} for field, one in others)]


FIELDS = ("workers", "accelerator", "topology", "activeDeadlineSeconds", "parallelism", "priorityClassName")
CHANGED = st.lists(st.tuples(st.sampled_from(FIELDS), ASKS), min_size=3, max_size=12)


SMALL = {"framework": "Plain", "workers": {"max": 1}, "accelerator": {"count": 8}}


@how(max_examples=200, deadline=None)
@example([SMALL | {"workers": {"max": 4}}, SMALL, SMALL, SMALL | {"activeDeadlineSeconds": 60}])
@given(st.builds(vary, ASKS, CHANGED))
def test_gangs_that_come_at_once_get_what_each_would_get_alone(asks: list[dict[str, Any]]) -> None:
    """One pass over a fleet of which half is held for another hour."""
    job, pods = running("held", "n0", ran_s=0.0, activeDeadlineSeconds=3600)
    spec = [make_job(f"g{number:02}", created_s=1.0 * number, **ask) for number, ask in enumerate(asks)]
    view = builders.make_snapshot(
        NODES[:4], pods, pools=[POOL], jobs=[job, *spec], priorities={"": 0, **URGENT}
    )
    plan = assign.plan(view, {}, NOW, ACTIVE)
    alone = assign.plan(view, {}, NOW, ACTIVE, kept=lines.Lines(shape=lambda job: job.metadata.uid))
    assert sort(alone) == sort(plan)
    assert [*waiting.describe(alone.queue)] == [*waiting.describe(plan.queue)]


def sort(plan: assign.Plan) -> list[Any]:
    """Gangs that wait are told line by line, so that only the order of their writes may differ."""
    return sorted(plan.assignments, key=lambda one: (one.namespace, one.name))


@pytest.mark.parametrize("levels", [pytest.param(True, id="with places"), pytest.param(False, id="anywhere")])
def test_a_verdict_that_is_shared_is_that_of_each(levels: bool) -> None:
    world = Compared(5, nodes=4, levels=levels, priorities=URGENT, limits=ACTIVE)
    gang_world.run(world, 400, rest_every=100)
    assert world.shared > 10, "the life has to have gangs that share one"


@how(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_whatever_happens(seed: int) -> None:
    world = Compared(seed, nodes=3, priorities=URGENT, limits=ACTIVE)
    gang_world.run(world, 80, rest_every=40)


def follow(kept: lines.Lines, *jobs: training_job.TrainingJob, **priorities: int) -> list[str]:
    """Names in the order in which they have their turns, where each takes its own."""
    kept.follow(jobs, orders.ByPriority(builders.make_snapshot(priorities={"": 0, **priorities})))
    return [turn.job.metadata.name for turn in kept.take_turns(())]


def test_lines_follow_what_comes_and_goes() -> None:
    kept = lines.Lines()
    old, new, other = gang("old", created_s=-9.0), gang("new"), gang("other", workers=3, created_s=-5.0)
    assert follow(kept, new, old, other) == ["old", "other", "new"]
    assert follow(kept, new, other) == ["other", "new"]
    held = make_job("new", status={"assignment": {"workers": 1}})
    assert (follow(kept, held, other), [*kept.holding]) == (["other"], [held])
    ended = builders.make_condition("Succeeded", "True", "Completed").to_wire()
    assert follow(kept, held, gang("other", status={"conditions": [ended]})) == []
    assert [job.metadata.name for job in kept.ours] == ["new"]


def test_a_priority_that_has_changed_changes_the_order() -> None:
    kept, first, second = lines.Lines(), gang("first", priorityClassName="low"), gang("second", created_s=9.0)
    assert follow(kept, first, second) == ["first", "second"]
    assert follow(kept, first, second, low=-1) == ["second", "first"]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"suspend": True}, id="suspended"),
        pytest.param({"queue": {"kind": "LocalQueue", "name": "team"}}, id="of a queue"),
        pytest.param({"managedBy": "example.com/other"}, id="of another manager"),
    ],
)
def test_gangs_that_are_not_the_cycles_have_no_turn(spec: dict[str, Any]) -> None:
    kept, job = lines.Lines(), gang(**spec)
    assert (follow(kept, job), [*kept.left_out]) == ([], [job])


def test_a_line_whose_gang_does_not_fit_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand gangs that wait for the same are no more work than two."""
    looks: list[str] = []
    look = orders.ByPriority.may_displace
    monkeypatch.setattr(
        orders.ByPriority,
        "may_displace",
        lambda self, first, other: looks.append(first.metadata.name) or look(self, first, other),
    )
    holder = make_job(
        "holder", status={"assignment": {"workers": 1, "accelerator": {"resource": builders.GPU, "count": 8}}}
    )
    pods = [make_worker("holder-0", "holder", node="n0", requests={builders.GPU: 8}, phase="Running")]
    crowd = [gang(f"g{number:04}", workers=1, created_s=float(number)) for number in range(1000)]
    view = builders.make_snapshot([make_node("n0", {builders.GPU: 8})], pods, jobs=[holder, *crowd])
    plan = assign.plan(view, {}, NOW, brakes.NONE)
    assert len(plan.assignments) == len(plan.queue) == 1000
    assert {one.value["reason"] for one in plan.assignments} == {"InsufficientCapacity"}
    assert looks == ["g0000"]
    assert [one.position for one in waiting.describe(plan.queue)] == [*range(1, 1001)]
