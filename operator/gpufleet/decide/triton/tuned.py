"""One model with `batching.mode: Tuned`: its next phase (docs/designs/0002-tuned-batching.md)."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping

from gpufleet.api import model_profile, tuning
from gpufleet.api.triton import model
from gpufleet.decide.triton import profiles, service_time, trial
from gpufleet.decide.triton import tuning as searches

_TRIALS = 30
_US = 1e6


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """`pods` are those of this model, `profile` the live one, `answers` what searches have found.

    `most_copies` is what the device's memory allows, None where that is not known.
    """

    service: str
    model: model.Model
    objective: tuning.Objective
    hardware: str
    pods: tuple[trial.Pod, ...]
    most_copies: int | None = None
    profile: model_profile.ModelProfileSpec | None = None
    before: tuning.TuningStatus | None = None
    answers: Mapping[searches.Question, searches.Choice] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """The model's next status, the profile that is to be kept, and a search that is wanted."""

    status: tuning.TuningStatus
    profile: model_profile.ModelProfileSpec | None = None
    question: searches.Question | None = None
    due_s: float | None = None


def plan(facts: Facts, now: datetime.datetime) -> Step:
    """The next step. A trial is judged before anything else is looked at."""
    before = _begin(facts)
    if before.trial is not None:
        latency = facts.objective.latency
        status = trial.judge(before, before.trial, latency, facts.pods, facts.profile, now)
        return Step(status, facts.profile, due_s=trial.LOOK_AGAIN_S)
    points = _read_points(facts, before)
    profile = _find_profile(facts, before, points, now)
    if profile is None:
        return Step(_say(before, "Measuring", profiles.describe_lack(points)))
    return _choose(facts, before, profile, now)


def record(facts: Facts, now: datetime.datetime) -> model_profile.ModelProfileSpec | None:
    """The profile of a model that is not tuned, as its pods show it; None while they show too little."""
    before = _begin(facts)
    return _find_profile(facts, before, _read_points(facts, before), now)


def start(one: model.Model) -> tuning.BatchSetting:
    """What the author's own fields say."""
    count = one.instance_groups[0].count if one.instance_groups else 1
    return tuning.BatchSetting(batch_size=max(1, one.max_batch_size), instances=count)


def ask(
    facts: Facts, before: tuning.TuningStatus, profile: model_profile.ModelProfileSpec
) -> searches.Question:
    """The question whose answer is the best setting."""
    latency = facts.objective.latency
    fewest, most = _limit_instances(facts)
    return searches.Question(
        time=profiles.read_time(profile),
        objective=searches.Objective(
            tuning.QUANTILES[latency.percentile], latency.target_milliseconds / 1000
        ),
        limits=searches.Limits(facts.model.max_batch_size, most, _TRIALS, fewest),
        contention=(before.contention_percent or 0) / 100,
        spread=min(1.0, profile.fit.error),
    )


def _limit_instances(facts: Facts) -> tuple[int, int]:
    """Without maxInstances the author's own number stays."""
    one = facts.model
    most = one.batching.max_instances if one.batching else None
    fixed = start(one).instances
    if not most:
        return fixed, fixed
    return 1, min(most, facts.most_copies or most)


def _begin(facts: Facts) -> tuning.TuningStatus:
    """The status as it was; what the author's limits no longer allow is forgotten."""
    before, one = facts.before, facts.model
    fewest, most = _limit_instances(facts)

    def fits(setting: tuning.BatchSetting) -> bool:
        return setting.batch_size <= one.max_batch_size and fewest <= setting.instances <= most

    if before is None or not fits(before.setting):
        first = start(one)
        instances = min(first.instances, most)
        return tuning.TuningStatus(setting=first.model_copy(update={"instances": instances}))
    if before.trial is not None and not fits(before.trial.setting):
        return before.model_copy(update={"trial": None, "phase": "Measuring", "question": ""})
    return before


def _read_points(facts: Facts, before: tuning.TuningStatus) -> list[service_time.Point]:
    """What the pods have counted, without what their instances cost each other."""
    slowdown = 1 + (before.contention_percent or 0) / 100 * (before.setting.instances - 1)
    return profiles.pool_points((one.measured for one in facts.pods if one.measured), slowdown)


def _find_profile(
    facts: Facts, before: tuning.TuningStatus, points: list[service_time.Point], now: datetime.datetime
) -> model_profile.ModelProfileSpec | None:
    """The live profile while it holds, else one of what the pods show now, else the old one."""
    known = facts.profile
    if known is not None and known.hardware != facts.hardware:
        known = None
    if known is not None and not profiles.has_drifted(known, points):
        return known
    made = profiles.build(
        facts.service, facts.model.name, facts.hardware, before.setting.instances, points, now
    )
    return made or known


def _choose(
    facts: Facts, before: tuning.TuningStatus, profile: model_profile.ModelProfileSpec, now: datetime.datetime
) -> Step:
    question = ask(facts, before, profile)
    mark = _hash(question)
    if before.question == mark:
        return Step(before, profile)
    choice = facts.answers.get(question)
    if choice is None:
        searching = f"{profiles.describe(profile)}: looking for the best setting"
        return Step(_say(before, "Measuring", searching), profile, question)
    said = f"{profiles.describe(profile)}, {choice.reason}"
    wanted = _to_setting(choice.setting)
    answered = before.model_copy(update={"question": mark})
    if choice.capacity <= 0:
        return Step(_say(answered, "Tuned", f"{said}; {trial.describe(before.setting)} stays"), profile)
    if wanted == before.setting:
        return Step(_say(answered, "Tuned", f"{trial.describe(wanted)}: {said}"), profile)
    ready = sorted(one.name for one in facts.pods if one.ready)
    if not ready:
        waiting = f"{trial.describe(wanted)} waits for a ready pod to be tried on"
        return Step(_say(before, "Measuring", waiting), profile)
    begun = tuning.Trial(
        setting=wanted,
        pod=ready[0],
        started_at=now.replace(microsecond=0),
        baseline_microseconds=trial.find_latency(facts.pods, facts.objective.latency),
    )
    message = f"{trial.describe(wanted)} on pod {ready[0]}: {said}"
    status = _say(answered, "Trial", message).model_copy(update={"trial": begun})
    return Step(status, profile, due_s=trial.LOOK_AGAIN_S)


def _to_setting(found: service_time.Setting) -> tuning.BatchSetting:
    return tuning.BatchSetting(
        batch_size=found.max_batch,
        max_queue_delay_microseconds=round(found.delay_s * _US),
        instances=found.instances,
    )


def _say(status: tuning.TuningStatus, phase: tuning.Phase, message: str) -> tuning.TuningStatus:
    return status.model_copy(update={"phase": phase, "message": message[:1024]})


def _hash(question: searches.Question) -> str:
    return hashlib.sha256(repr(question).encode()).hexdigest()[:10]
