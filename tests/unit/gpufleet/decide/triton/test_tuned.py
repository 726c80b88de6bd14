"""The walk of one tuned model, with what its pods show and what searches answer."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from gpufleet.api import model_profile, tuning
from gpufleet.api.triton import model
from gpufleet.decide.triton import trial, tuned
from gpufleet.decide.triton import tuning as searches
from gpufleet.decide.triton.service_time import Setting
from gpufleet.state import models

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
OBJECTIVE = tuning.Objective(latency=tuning.LatencyObjective(target_milliseconds=100))
LINE = {1: 25_000, 4: 40_000}
SLOWER = {1: 50_000, 4: 80_000}
EIGHT = searches.Choice(Setting(8), 100.0, 7, "100 per second")


def make_model(**batching: Any) -> model.Model:
    wire = {"name": "m", "maxBatchSize": 16, "batching": {"mode": "Tuned", **batching}}
    return model.Model.model_validate(wire)


def pod(name: str, line: dict[int, int] | None = None, **fields: Any) -> trial.Pod:
    """A pod that has run batches whose times in microseconds these are."""
    batches = tuple(
        models.BatchTime(size, 150, 150 * us) for size, us in (LINE if line is None else line).items()
    )
    return trial.Pod(name, measured=models.Measured(80, 500, 0, batches, {"P99": 50_000}), **fields)


@dataclasses.dataclass
class World:
    """Passes over one model; what was decided is there in the next pass."""

    model: model.Model = dataclasses.field(default_factory=make_model)
    objective: tuning.Objective = OBJECTIVE
    hardware: str = "cpu"
    pods: tuple[trial.Pod, ...] = (pod("a"), pod("b"))
    most_copies: int | None = None
    answer: searches.Choice | None = EIGHT
    now: datetime.datetime = NOW
    status: tuning.TuningStatus | None = None
    profile: model_profile.ModelProfileSpec | None = None
    answers: dict[searches.Question, searches.Choice] = dataclasses.field(default_factory=dict)
    asked: list[searches.Question] = dataclasses.field(default_factory=list)

    def step(self) -> tuning.TuningStatus:
        facts = tuned.Facts(
            "vision",
            self.model,
            self.objective,
            self.hardware,
            self.pods,
            self.most_copies,
            self.profile,
            self.status,
            dict(self.answers),
        )
        found = tuned.plan(facts, self.now)
        if found.question is not None:
            self.asked.append(found.question)
            if self.answer is not None:
                self.answers[found.question] = self.answer
        self.status, self.profile = found.status, found.profile
        self.now += datetime.timedelta(seconds=10)
        return found.status

    def phases(self, steps: int) -> list[str]:
        return [self.step().phase for _ in range(steps)]


def test_the_whole_way() -> None:
    world = World()
    assert world.phases(6) == ["Measuring", "Trial", "Confirming", "Tuned", "Tuned", "Tuned"]
    assert world.status is not None
    assert world.status.setting == tuning.BatchSetting(batch_size=8)
    assert len(world.asked) == 1, "the question stays the same, so nobody asks again"
    assert world.asked[0].limits == searches.Limits(16, 1, 30)
    assert world.asked[0].time.alpha_s == pytest.approx(0.02)


def test_without_two_sizes_nothing_is_asked() -> None:
    world = World(pods=(pod("a", {1: 25_000}),))
    assert world.phases(2) == ["Measuring", "Measuring"]
    assert world.status is not None
    assert "gpufleet profile" in world.status.message
    assert (world.asked, world.profile) == ([], None)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(searches.Choice(Setting(16), 90.0, 5, "best"), "batches of 16", id="what runs is best"),
        pytest.param(
            searches.Choice(Setting(1), 0.0, 5, "too slow"), "16, 1 instance stays", id="none will do"
        ),
    ],
)
def test_nothing_is_tried_where_nothing_would_win(answer: searches.Choice, says: str) -> None:
    world = World(answer=answer)
    assert world.phases(3) == ["Measuring", "Tuned", "Tuned"]
    assert world.status is not None
    assert says in world.status.message


def test_what_came_back_is_not_tried_again_until_the_question_changes() -> None:
    world = World()
    world.phases(2)
    world.pods = (pod("a", failure="no memory"), pod("b"))
    assert world.step().phase == "Returned"
    world.pods = (pod("a"), pod("b"))
    assert world.phases(3) == ["Returned"] * 3
    world.objective = tuning.Objective(latency=tuning.LatencyObjective(target_milliseconds=200))
    assert world.phases(2) == ["Measuring", "Trial"]


def test_drift_makes_a_new_profile_and_a_new_question() -> None:
    world = World()
    world.phases(4)
    before = world.profile
    world.pods = (pod("a", SLOWER), pod("b", SLOWER))
    assert world.step().phase == "Measuring"
    assert before is not None
    assert world.profile is not None
    assert world.profile.fit.alpha_microseconds == pytest.approx(2 * before.fit.alpha_microseconds)
    assert len(world.asked) == 2


def test_a_profile_of_other_hardware_is_measured_anew() -> None:
    world = World()
    world.phases(4)
    world.hardware = "1 × nvidia.com/gpu on H100"
    world.pods = (pod("a", {}), pod("b", {}))
    assert world.step().phase == "Measuring"
    assert world.profile is None
    world.pods = (pod("a"), pod("b"))
    world.step()
    assert world.profile is not None
    assert world.profile.hardware == world.hardware


def test_a_trial_whose_pod_leaves_begins_again_on_another() -> None:
    world = World()
    world.phases(2)
    world.pods = (pod("b"), pod("c"))
    assert world.phases(2) == ["Measuring", "Trial"]
    assert world.status is not None
    assert world.status.trial is not None
    assert world.status.trial.pod == "b"


def test_no_pod_is_ready_for_a_trial() -> None:
    world = World(pods=(pod("a", ready=False),))
    assert world.phases(3) == ["Measuring"] * 3
    assert world.status is not None
    assert "waits for a ready pod" in world.status.message


def test_a_lower_limit_forgets_what_exceeds_it() -> None:
    world = World()
    world.phases(4)
    world.model = model.Model.model_validate({"name": "m", "maxBatchSize": 4, "batching": {"mode": "Tuned"}})
    world.answer = None
    assert world.step().setting == tuning.BatchSetting(batch_size=4)


def test_instances_are_chosen_up_to_the_limit() -> None:
    world = World(model=make_model(maxInstances=3))
    world.step()
    assert world.asked[0].limits == searches.Limits(16, 3, 30, 1)
    world = World(
        model=model.Model.model_validate(
            {**make_model().to_wire(), "instanceGroups": [{"kind": "GPU", "count": 2}]}
        )
    )
    world.step()
    assert world.asked[0].limits == searches.Limits(16, 2, 30, 2), "the author's own number stays"
    world = World(model=make_model(maxInstances=3), most_copies=2)
    world.step()
    assert world.asked[0].limits == searches.Limits(16, 2, 30, 1), "memory has the last word"


def test_status_is_quiet_while_nothing_is_decided() -> None:
    world = World(answer=None)
    first = world.step()
    assert [world.step() for _ in range(5)] == [first] * 5
