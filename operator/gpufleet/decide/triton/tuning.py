"""Which batch size, delay and number of instances serve the most requests within a latency objective.

Each answer of `measure` costs a load run, on a server or in `sim/`, so few settings are tried: the search
starts where the line τ(b) says and goes uphill from there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from gpufleet.decide.triton.service_time import ServiceTime, Setting

WORTH = 1.02
"""What costs more memory or delay has to be better by this factor than what costs less."""
COMPUTE_BOUND = 0.1
"""Below this share of τ(1) that is paid once per batch, batches win next to nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Objective:
    """So large a share of the requests is to be answered within `target_s`."""

    quantile: float
    target_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What the model and its memory allow, and how many settings may be measured."""

    max_batch: int = 128
    max_instances: int = 1
    trials: int = 20
    min_instances: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """The setting with the highest capacity (requests per second within the objective), and why."""

    setting: Setting
    capacity: float
    trials: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What a search is for: equal questions have equal answers.

    `contention` says what a second busy instance costs the first, `spread` is the coefficient of variation
    of a batch's time.
    """

    time: ServiceTime
    objective: Objective
    limits: Limits
    contention: float = 0.0
    spread: float = 0.0


Measure = Callable[[Setting], float]


def guess(time: ServiceTime, objective: Objective, limits: Limits) -> Setting:
    """The largest batch with which a request that just missed one is still in time: 2 τ(b) ≤ target.

    It waits for the batch before its own. Waiting for more on purpose wins nothing while work is left.
    """
    if time.beta_s <= 0:
        return Setting(limits.max_batch, instances=limits.min_instances)
    batch = (objective.target_s / 2 - time.alpha_s) / time.beta_s
    size = 2 ** math.floor(math.log2(batch)) if batch >= 1 else 1
    return Setting(min(limits.max_batch, size), instances=limits.min_instances)


def search(time: ServiceTime, objective: Objective, limits: Limits, measure: Measure) -> Choice:
    """Uphill from the guess, by one change at a time, until nothing is better or the trials are spent.

    Of what was measured the cheapest is chosen that is about as good as the best.
    """
    top = guess(time, objective, limits)
    known = {top: measure(top)}
    while (better := _find_better(top, time, limits, measure, known)) is not None:
        top = better
    about_as_good = [one for one, capacity in known.items() if capacity * WORTH >= known[top]]
    best = min(about_as_good, key=_cost)
    return Choice(best, known[best], len(known), _explain(time, objective, best, known))


def _find_better(
    top: Setting, time: ServiceTime, limits: Limits, measure: Measure, known: dict[Setting, float]
) -> Setting | None:
    """The best of all that differ in one thing: the first that is better may lead to a lesser hill."""
    around = list(_neighbours(top, time, limits))
    for setting in around:
        if setting not in known and len(known) < limits.trials:
            known[setting] = measure(setting)
    best = max((one for one in around if one in known), key=lambda one: known[one], default=top)
    return best if known[best] > known[top] else None


def _neighbours(setting: Setting, time: ServiceTime, limits: Limits) -> Iterator[Setting]:
    """What usually matters most comes first."""
    change = dataclasses.replace
    if setting.instances < limits.max_instances:
        yield change(setting, instances=setting.instances + 1)
    if setting.max_batch * 2 <= limits.max_batch:
        yield change(setting, max_batch=setting.max_batch * 2)
    if setting.max_batch > 1:
        yield change(setting, max_batch=setting.max_batch // 2)
    if setting.instances > limits.min_instances:
        yield change(setting, instances=setting.instances - 1)
    if setting.delay_s == 0 and setting.max_batch > 1:
        yield change(setting, delay_s=round(time.alpha_s / 4, 6))


def _cost(setting: Setting) -> tuple[int, float, int]:
    return setting.instances, setting.delay_s, setting.max_batch


def describe_gain(time: ServiceTime) -> str:
    """What batching can win at most, in a sentence."""
    if time.beta_s <= 0:
        return "a batch takes as long as one request: larger batches cost nothing"
    if time.alpha_s <= COMPUTE_BOUND * time.predict_s(1):
        won = 100 * (time.predict_s(1) / time.beta_s - 1)
        return f"the model is compute-bound at one request already: batches win at most {won:.0f} %"
    return f"batches win up to {time.predict_s(1) / time.beta_s:.1f} times the throughput of single requests"


def _explain(time: ServiceTime, objective: Objective, best: Setting, known: dict[Setting, float]) -> str:
    share, target_ms = f"{objective.quantile:.0%}", 1000 * objective.target_s
    if known[best] <= 0:
        return (
            f"no setting answers {share} within {target_ms:.0f} ms: one request alone takes "
            f"{1000 * time.predict_s(1):.1f} ms"
        )
    return (
        f"{known[best]:.0f} requests per second with {share} within {target_ms:.0f} ms, the most of "
        f"{len(known)} settings that were tried; {describe_gain(time)}"
    )
