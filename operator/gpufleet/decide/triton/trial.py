"""Whether a setting that is being tried stays: on one pod beside its siblings, then on all."""

from __future__ import annotations

import dataclasses
import datetime
import statistics
from collections.abc import Iterable, Sequence

from gpufleet.api import model_profile, tuning
from gpufleet.decide.triton import profiles
from gpufleet.state import models

SHORTEST_S = 75
"""Triton's latency quantiles look back one minute, so that nothing of the setting before is in them."""
FEWEST_REQUESTS = 200
LOAD_LIMIT_S = 900
"""A pod that has not loaded the setting by then will not."""
LOOK_AGAIN_S = 10.0
_WORSE = 1.1
_MORE_FAILURES = 0.01
_LEAST_GAIN = 1.02


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """One pod as its agent reports this model.

    `settled` says that it runs what was published for it last; `failure` holds Triton's words where that
    could not be loaded.
    """

    name: str
    ready: bool = True
    settled: bool = True
    failure: str = ""
    measured: models.Measured | None = None

    @property
    def is_judgeable(self) -> bool:
        """Whether enough was seen since the last load."""
        seen = self.measured
        return (
            self.settled
            and seen is not None
            and seen.window_s >= SHORTEST_S
            and seen.requests >= FEWEST_REQUESTS
        )


def judge(
    before: tuning.TuningStatus,
    tried: tuning.Trial,
    objective: tuning.LatencyObjective,
    pods: Sequence[Pod],
    profile: model_profile.ModelProfileSpec | None,
    now: datetime.datetime,
) -> tuning.TuningStatus:
    """The status after a look at the trial: as it was while too little is known."""
    subjects = [one for one in pods if one.ready and tried.pod in ("", one.name)]
    if tried.pod and not subjects:
        # Its pod is gone or not serving: the question is asked anew, and another pod takes its place.
        again = f"pod {tried.pod} left while it tried {describe(tried.setting)}: another pod will"
        return _end(before, "Measuring", again).model_copy(update={"question": ""})
    if failed := [one for one in subjects if one.settled and one.failure]:
        return _go_back(before, tried, f"pod {failed[0].name} could not load it: {failed[0].failure}")
    seen = [one for one in subjects if one.is_judgeable]
    # Among many pods there is always one that has just started.
    if 2 * len(seen) <= len(subjects):
        return _wait(before, tried, subjects, now)
    siblings = [one for one in pods if one not in subjects and one.is_judgeable]
    if worse := find_worse(before, tried, objective, seen, siblings):
        return _go_back(before, tried, worse)
    status = _learn(before, tried, seen, profile)
    if status.phase == "Returned":
        return status
    return _go_on(status, tried, objective, pods, seen, now)


def find_worse(
    before: tuning.TuningStatus,
    tried: tuning.Trial,
    objective: tuning.LatencyObjective,
    subjects: Sequence[Pod],
    siblings: Sequence[Pod],
) -> str:
    """Why the tried setting may not stay; empty where nothing speaks against it."""
    target_us = 1000 * objective.target_milliseconds
    latency_us = find_latency(subjects, objective)
    others_us = find_latency(siblings, objective) or tried.baseline_microseconds
    if latency_us is not None and latency_us > target_us:
        said = f"{objective.percentile} was {_ms(latency_us)}, the objective is {_ms(target_us)}"
        if others_us is not None and others_us <= target_us:
            return f"{said}, and {describe(before.setting)} keeps it with {_ms(others_us)}"
        if others_us is not None and latency_us > _WORSE * others_us:
            return f"{said}, and {describe(before.setting)} is nearer with {_ms(others_us)}"
    failures = _share_failed(subjects)
    if failures > _share_failed(siblings) + _MORE_FAILURES:
        return f"{failures:.1%} of its requests failed, and {_share_failed(siblings):.1%} of its siblings'"
    return ""


def find_latency(pods: Iterable[Pod], objective: tuning.LatencyObjective) -> int | None:
    """The middle of the pods' latencies at the objective's percentile, in microseconds."""
    known = [one.measured.latency_us.get(objective.percentile) for one in pods if one.measured]
    found = [value for value in known if value is not None]
    return round(statistics.median(found)) if found else None


def describe(setting: tuning.BatchSetting) -> str:
    """A setting in words."""
    delay_us = setting.max_queue_delay_microseconds
    delay = f", delay {delay_us} µs" if delay_us else ""
    copies = f"{setting.instances} instance{'s' if setting.instances > 1 else ''}"
    return f"batches of {setting.batch_size}{delay}, {copies}"


def _learn(
    before: tuning.TuningStatus,
    tried: tuning.Trial,
    subjects: Sequence[Pod],
    profile: model_profile.ModelProfileSpec | None,
) -> tuning.TuningStatus:
    """What more instances cost each other; back where that is all that they win."""
    more = tried.setting.instances / before.setting.instances
    if profile is None or more <= 1 or before.contention_percent is not None:
        return before
    points = profiles.pool_points(one.measured for one in subjects if one.measured)
    ratio = profiles.compute_ratio(profiles.read_time(profile), points)
    if ratio is None:
        return before
    cost = max(0.0, (ratio - 1) / (tried.setting.instances - 1))
    learnt = before.model_copy(update={"contention_percent": min(1000, round(100 * cost))})
    if more / ratio < _LEAST_GAIN:
        said = (
            f"{tried.setting.instances} instances hinder each other, batches take {ratio:.1f} times as long"
        )
        return _go_back(learnt, tried, said)
    return learnt


def _wait(
    before: tuning.TuningStatus, tried: tuning.Trial, subjects: Sequence[Pod], now: datetime.datetime
) -> tuning.TuningStatus:
    age_s = (now - tried.started_at).total_seconds()
    if age_s > LOAD_LIMIT_S and any(not one.settled for one in subjects):
        return _go_back(before, tried, f"it was not loaded within {LOAD_LIMIT_S} s")
    return before


def _go_on(
    status: tuning.TuningStatus,
    tried: tuning.Trial,
    objective: tuning.LatencyObjective,
    pods: Sequence[Pod],
    subjects: Sequence[Pod],
    now: datetime.datetime,
) -> tuning.TuningStatus:
    """From one pod to all, or, where it already is on all, done."""
    latency_us = find_latency(subjects, objective)
    seen = f"{objective.percentile} {_ms(latency_us)}" if latency_us is not None else "no latency seen"
    if tried.pod and len(pods) > 1:
        everywhere = tried.model_copy(update={"pod": "", "started_at": now.replace(microsecond=0)})
        message = f"{describe(tried.setting)} goes to all pods: on pod {tried.pod} {seen}"
        return status.model_copy(
            update={"phase": "Confirming", "trial": everywhere, "message": message[:1024]}
        )
    message = f"{describe(tried.setting)} instead of {describe(status.setting)}: {seen}"
    return _end(status, "Tuned", message).model_copy(update={"setting": tried.setting})


def _go_back(status: tuning.TuningStatus, tried: tuning.Trial, why: str) -> tuning.TuningStatus:
    left, kept = describe(tried.setting), describe(status.setting)
    return _end(status, "Returned", f"{left} did not stay, {kept} did: {why}")


def _end(status: tuning.TuningStatus, phase: tuning.Phase, message: str) -> tuning.TuningStatus:
    return status.model_copy(update={"phase": phase, "trial": None, "message": message[:1024]})


def _share_failed(pods: Sequence[Pod]) -> float:
    seen = [one.measured for one in pods if one.measured]
    total = sum(one.requests + one.failures for one in seen)
    return sum(one.failures for one in seen) / total if total else 0.0


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.1f} ms"
