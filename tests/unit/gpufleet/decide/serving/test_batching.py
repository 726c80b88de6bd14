"""Tuned models in a service: the list for the agents, the profiles, the status."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import tuning
from gpufleet.api.triton import model
from gpufleet.decide.serving import batching, models, service
from gpufleet.decide.triton import config
from gpufleet.decide.triton import tuning as searches
from gpufleet.decide.triton.service_time import Setting
from gpufleet.state import models as reports
from gpufleet.state import names, view
from tests import builders

TUNED = {"name": "m", "backend": "python", "maxBatchSize": 16, "batching": {"mode": "Tuned"}}
OBJECTIVE = {"latency": {"percentile": "P99", "targetMilliseconds": 100}}
OLD = {"batchSize": 16}
NEW = {"batchSize": 8, "maxQueueDelayMicroseconds": 500}


def tuned(**fields: Any) -> model.Model:
    return model.Model.model_validate({**TUNED, **fields})


def wanted(tuning_status: dict[str, Any] | None) -> dict[str, Any]:
    given = builders.make_service(models=[TUNED], objective=OBJECTIVE)
    chosen = {"m": tuning.TuningStatus.model_validate(tuning_status)} if tuning_status else {}
    [entry] = models.build_wanted(given, chosen)["models"]
    return dict(entry)


def trial(pod: str) -> dict[str, Any]:
    return {"setting": NEW, "pod": pod, "startedAt": "2030-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("status", "batcher", "tried"),
    [
        pytest.param(None, {}, None, id="at first the author's"),
        pytest.param(
            {"setting": NEW},
            {"preferred_batch_size": [8], "max_queue_delay_microseconds": "500"},
            None,
            id="chosen",
        ),
        pytest.param({"setting": OLD, "trial": trial("a")}, {}, {"pod": "a", "preferred": [8]}, id="one pod"),
        pytest.param(
            {"setting": OLD, "trial": trial("")},
            {"preferred_batch_size": [8], "max_queue_delay_microseconds": "500"},
            None,
            id="all pods",
        ),
    ],
)
def test_what_agents_are_told(
    status: dict[str, Any] | None, batcher: dict[str, Any], tried: dict[str, Any] | None
) -> None:
    entry = wanted(status)
    assert entry["measured"] is True
    assert entry["config"]["dynamic_batching"] == batcher
    assert entry["config"]["max_batch_size"] == 16, "clients may send as many as the author said"
    if tried is None:
        assert "trial" not in entry
    else:
        assert entry["trial"]["pod"] == tried["pod"]
        batched = entry["trial"]["config"]["dynamic_batching"]
        assert batched["preferred_batch_size"] == tried["preferred"]


def test_instances_are_set_only_where_they_may_be_chosen() -> None:
    two = tuning.BatchSetting(batch_size=16, instances=2)
    assert batching.apply_setting(tuned(), two).instance_groups == []
    chosen = tuned(
        batching={"mode": "Tuned", "maxInstances": 4}, instanceGroups=[{"kind": "GPU", "count": 1}]
    )
    [group] = batching.apply_setting(chosen, two).instance_groups
    assert (group.kind, group.count) == ("GPU", 2)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"backend": None, "vllm": {}}, "backend vllm, which batches in flight", id="vllm"),
        pytest.param({"backend": "tensorrtllm"}, "backend tensorrtllm, which batches", id="tensorrtllm"),
        pytest.param({"maxBatchSize": 1}, "at least 2, and it is 1", id="nothing to batch"),
        pytest.param(
            {"batching": {"mode": "Tuned", "preferredBatchSizes": [4]}},
            "chooses preferredBatchSizes",
            id="sizes",
        ),
        pytest.param(
            {"batching": {"mode": "Tuned", "maxQueueDelayMicroseconds": 0}}, "leave them out", id="delay"
        ),
        pytest.param(
            {
                "batching": {"mode": "Tuned", "maxInstances": 2},
                "instanceGroups": [{"count": 1}, {"count": 1}],
            },
            "one instance group",
            id="groups",
        ),
        pytest.param({"batching": {"maxInstances": 2}}, "is for mode Tuned", id="static"),
    ],
)
def test_what_cannot_be_tuned_is_said(fields: dict[str, Any], says: str) -> None:
    faults = config.check([tuned(**fields)], has_accelerator=True)
    assert [fault for fault in faults if says in fault], faults


def test_tuned_needs_an_objective() -> None:
    with pytest.raises(config.ConfigError, match=r"models\[m\].batching.mode Tuned needs an objective"):
        models.build_wanted(builders.make_service(models=[TUNED]))


def see(
    status: dict[str, Any], answers: dict[Any, Any], listed: dict[str, Any] | None = None
) -> view.ServiceView:
    """A service with one pod that has run batches of two sizes."""
    assigned = {"replicas": 1, "requested": "none"}
    given = builders.make_service(
        models=[listed or TUNED],
        objective=OBJECTIVE,
        accelerator=None,
        status={"assignment": assigned, **status},
    )
    measured = reports.Measured(
        80,
        500,
        0,
        (reports.BatchTime(1, 150, 150 * 25_000), reports.BatchTime(4, 150, 150 * 40_000)),
        {"P99": 50_000},
    )
    published = models.build_wanted(given, batching.read_tunings(given))["revision"]
    pod = builders.make_pod("a", ready=True)
    said = reports.AgentReport(published, (reports.ModelReport("m", "Ready", measured=measured),))
    return view.ServiceView(given, pods=(pod,), reports={pod.uid: said}, answers=answers)


class Anything(dict[Any, Any]):
    """Answers every question alike."""

    def get(self, _: Any, __: Any = None) -> Any:
        return searches.Choice(Setting(8), 100.0, 5, "100 per second")


def test_a_pass_asks_and_the_next_one_tries() -> None:
    seen = see({}, {})
    first = batching.plan(seen, seen.pods, models.build_wanted(seen.service)["revision"], builders.NOW)
    assert len(first.questions) == 1
    [profile] = first.profiles
    assert profile["kind"] == "ModelProfile"
    assert profile["metadata"]["labels"][names.SERVICE_LABEL] == "vision"
    assert profile["spec"]["fit"]["alphaMicroseconds"] == pytest.approx(20_000)
    second = batching.plan(see({}, Anything()), seen.pods, "r", builders.NOW)
    assert second.tunings["m"].phase == "Trial"
    assert second.tunings["m"].trial is not None
    assert second.tunings["m"].trial.pod == "a"
    assert second.due_s is not None


STATIC = {**TUNED, "batching": {}}
ENSEMBLE = {
    "name": "e",
    "maxBatchSize": 16,
    "inputs": [{"name": "X", "dataType": "FP32", "dims": [1]}],
    "outputs": [{"name": "Y", "dataType": "FP32", "dims": [1]}],
    "ensemble": {"steps": [{"modelName": "m", "inputMap": {"X": "X"}, "outputMap": {"Y": "Y"}}]},
}


@pytest.mark.parametrize(
    ("given", "objective", "measured"),
    [
        pytest.param(STATIC, OBJECTIVE, True, id="its time tells what a server carries"),
        pytest.param(STATIC, None, False, id="nothing is promised"),
        pytest.param({"name": "m", "vllm": {}, "backend": None}, OBJECTIVE, False, id="batches in flight"),
    ],
)
def test_models_of_a_promise_are_measured(
    given: dict[str, Any], objective: dict[str, Any] | None, measured: bool
) -> None:
    made = builders.make_service(models=[given], **({"objective": objective} if objective else {}))
    [entry] = models.build_wanted(made)["models"]
    assert entry.get("measured", False) is measured


def test_an_ensemble_is_not_measured_and_its_model_is() -> None:
    made = builders.make_service(models=[STATIC, ENSEMBLE], objective=OBJECTIVE)
    found = {one["name"]: one.get("measured", False) for one in models.build_wanted(made)["models"]}
    assert found == {"m": True, "e": False}


def test_a_model_that_is_not_tuned_gets_a_profile_and_no_trial() -> None:
    seen = see({}, {}, STATIC)
    found = batching.plan(seen, seen.pods, models.build_wanted(seen.service)["revision"], builders.NOW)
    [profile] = found.profiles
    assert profile["spec"]["fit"]["betaMicroseconds"] == pytest.approx(5_000)
    assert (found.tunings, found.questions) == ({}, ())


def test_a_decision_carries_questions_profiles_and_status() -> None:
    seen = see({}, {})
    decided = service.decide(seen, settings.Settings(), builders.NOW)
    assert decided.status["models"][0]["tuning"]["phase"] == "Measuring"
    assert len(decided.questions) == 1 or "no line yet" in decided.status["models"][0]["tuning"]["message"]


def test_a_profile_that_somebody_measured_is_kept() -> None:
    name = batching.profile_name("vision", "m", "cpu")
    smaller = batching.profile_name("vision", "m", "1 × nvidia.com/mig-1g.10gb on any")
    spec = {
        "service": "vision",
        "model": "m",
        "hardware": "cpu",
        "source": "Load",
        "measuredAt": "2030-01-01T00:00:00Z",
        "points": [
            {"batchSize": 1, "count": 9, "meanMicroseconds": 25_000},
            {"batchSize": 4, "count": 9, "meanMicroseconds": 40_000},
        ],
        "fit": {"alphaMicroseconds": 20_000.0, "betaMicroseconds": 5_000.0, "rSquared": 1.0, "error": 0.0},
    }
    on_slice = {**spec, "hardware": "1 × nvidia.com/mig-1g.10gb on any"}
    held = (
        builders.make_child("ModelProfile", name, spec=spec),
        builders.make_child("ModelProfile", smaller, spec=on_slice),
        builders.make_child("ModelProfile", "another", spec=spec),
    )
    given = builders.make_service(models=[{**TUNED, "batching": {}}])
    found = batching.plan(view.ServiceView(given, children=held), (), "r", builders.NOW)
    assert {ref.name for ref in found.keep} == {name, smaller}, "one for each hardware"
    gone = builders.make_service(models=[{**TUNED, "name": "other"}])
    assert not batching.plan(view.ServiceView(gone, children=held), (), "r", builders.NOW).keep
