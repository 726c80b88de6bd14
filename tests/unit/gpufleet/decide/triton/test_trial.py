from __future__ import annotations

import datetime
from typing import Any

import pytest

from gpufleet.api import model_profile, tuning
from gpufleet.decide.triton import profiles, trial
from gpufleet.state import models

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
OBJECTIVE = tuning.LatencyObjective(percentile="P99", target_milliseconds=100)
OLD = tuning.BatchSetting(batch_size=16)
NEW = tuning.BatchSetting(batch_size=8)


def pod(name: str, p99_ms: float | None = 50, *, requests: int = 500, **fields: Any) -> trial.Pod:
    latency = {} if p99_ms is None else {"P99": round(1000 * p99_ms)}
    window_s = fields.pop("window_s", 80)
    batches = fields.pop("batches", ())
    seen = models.Measured(window_s, requests, fields.pop("failures", 0), batches, latency)
    return trial.Pod(name, measured=seen, **fields)


def begun(on: str = "a", baseline_ms: float | None = 60, **changes: Any) -> tuning.TuningStatus:
    tried = tuning.Trial(
        setting=changes.pop("setting", NEW),
        pod=on,
        started_at=NOW,
        baseline_microseconds=None if baseline_ms is None else round(1000 * baseline_ms),
    )
    phase: tuning.Phase = "Trial" if on else "Confirming"
    return tuning.TuningStatus(phase=phase, setting=OLD, trial=tried, question="q", **changes)


def judge(
    before: tuning.TuningStatus,
    *pods: trial.Pod,
    after_s: float = 100,
    profile: model_profile.ModelProfileSpec | None = None,
) -> tuning.TuningStatus:
    assert before.trial is not None
    later = NOW + datetime.timedelta(seconds=after_s)
    return trial.judge(before, before.trial, OBJECTIVE, pods, profile, later)


@pytest.mark.parametrize(
    ("pods", "phase", "says"),
    [
        pytest.param([pod("a"), pod("b")], "Confirming", "goes to all pods", id="as good as its sibling"),
        pytest.param([pod("a")], "Tuned", "P99 50.0 ms", id="the only pod"),
        pytest.param([pod("a", None)], "Tuned", "no latency seen", id="no latency"),
        pytest.param([pod("a", 90), pod("b", 20)], "Confirming", "", id="slower within the objective"),
        pytest.param(
            [pod("a", 101), pod("b", 99)],
            "Returned",
            "keeps it with 99.0 ms",
            id="misses what its sibling meets",
        ),
        pytest.param([pod("a", 101)], "Returned", "keeps it with 60.0 ms", id="misses what was met before"),
        pytest.param(
            [pod("a", 200), pod("b", 150)],
            "Returned",
            "nearer with 150.0 ms",
            id="both miss it, this by more",
        ),
        pytest.param([pod("a", 200), pod("b", 190)], "Confirming", "", id="both miss it alike"),
        pytest.param([pod("a", failures=50), pod("b")], "Returned", "9.1% of its requests", id="it fails"),
        pytest.param(
            [pod("a", failures=50), pod("b", failures=50)], "Confirming", "", id="both fail: not its fault"
        ),
        pytest.param(
            [pod("a", failure="out of memory"), pod("b")], "Returned", "out of memory", id="does not load"
        ),
        pytest.param([pod("b")], "Measuring", "another pod", id="its pod is gone"),
        pytest.param(
            [pod("a", ready=False), pod("b")], "Measuring", "another pod", id="its pod is not ready"
        ),
        pytest.param([pod("a", requests=199), pod("b")], "Trial", "", id="too few requests"),
        pytest.param([pod("a", window_s=74), pod("b")], "Trial", "", id="too soon"),
        pytest.param([pod("a", settled=False), pod("b")], "Trial", "", id="not loaded yet"),
    ],
)
def test_one_pod(pods: list[trial.Pod], phase: str, says: str) -> None:
    found = judge(begun(), *pods)
    assert found.phase == phase
    assert says in found.message
    assert (found.trial is None) is (phase in ("Tuned", "Returned", "Measuring"))
    assert found.setting == (NEW if phase == "Tuned" else OLD)


@pytest.mark.parametrize(
    ("pods", "phase"),
    [
        pytest.param([pod("a"), pod("b")], "Tuned", id="all well"),
        pytest.param([pod("a"), pod("b"), pod("c", requests=0)], "Tuned", id="most have seen enough"),
        pytest.param([pod("a"), pod("b", requests=0)], "Confirming", id="half of them have not"),
        pytest.param(
            [pod("a"), pod("b", window_s=1), pod("c", window_s=1)], "Confirming", id="most have not"
        ),
        pytest.param([pod("a", 120), pod("b", 130)], "Returned", id="misses what was met before"),
        pytest.param([pod("a"), pod("b", failure="no memory")], "Returned", id="one cannot load it"),
        pytest.param([], "Confirming", id="no pods"),
    ],
)
def test_all_pods(pods: list[trial.Pod], phase: str) -> None:
    found = judge(begun(""), *pods)
    assert found.phase == phase
    assert found.setting == (NEW if phase == "Tuned" else OLD)


def test_what_is_not_loaded_in_time_comes_back() -> None:
    found = judge(begun(), pod("a", settled=False), after_s=901)
    assert (found.phase, found.setting) == ("Returned", OLD)


@pytest.mark.parametrize(
    ("us", "phase", "percent"),
    [
        pytest.param(25_000, "Tuned", 0, id="side by side"),
        pytest.param(30_000, "Tuned", 20, id="a little slower"),
        pytest.param(50_000, "Returned", 100, id="in turns"),
    ],
)
def test_what_instances_cost_each_other_is_learnt(us: int, phase: str, percent: int) -> None:
    points = [models.BatchTime(1, 200, 200 * 25_000), models.BatchTime(2, 200, 200 * 30_000)]
    pooled = profiles.pool_points([models.Measured(80, batches=tuple(points))])
    profile = profiles.build("s", "m", "cpu", 1, pooled, NOW)
    two = tuning.BatchSetting(batch_size=16, instances=2)
    seen = pod("a", batches=(models.BatchTime(1, 200, 200 * us),))
    found = judge(begun(setting=two), seen, profile=profile)
    assert (found.phase, found.contention_percent) == (phase, percent)


def test_an_objective_that_was_met_is_never_given_up() -> None:
    for p99_ms in range(10, 400, 10):
        for others_ms in range(10, 400, 30):
            for on in ("a", ""):
                pods = [pod("a", p99_ms), *([pod("b", others_ms)] if on else [])]
                found = judge(begun(on, baseline_ms=others_ms), *pods)
                is_kept = found.phase in ("Tuned", "Confirming")
                assert not (is_kept and p99_ms > 100 >= others_ms), (p99_ms, others_ms)
