"""Which MIG profile a service would need, by what DCGM has seen of it; pure, and advice only.

On the same model, for a profile p (utilisation is relative to the instance, and SM is not proportional to g):
memory resident ≤ memory of p less a margin; 95th percentile of SM_ACTIVE (else GR_ENGINE_ACTIVE) × SM now ÷
SM of p ≤ 0.8; of DRAM_ACTIVE × memory units now ÷ units of p ≤ 0.7 (bandwidth follows memory units).
NVIDIA calls 0.8 of SM_ACTIVE needed for good use; DRAM_ACTIVE peaks near 0.8 in practice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.mig import catalogue, devices
from gpufleet.decide.mig.usage import HOURS, Usage

DOWNSIZE = "SmallerFits"
UPSIZE = "LargerNeeded"
RIGHT_SIZED = "RightSized"
SERIES_MISSING = "SeriesMissing"
SERIES_SHORT = "SeriesShort"
SERIES_DOUBTFUL = "SeriesDoubtful"
OBJECTIVE_AT_RISK = "ObjectiveAtRisk"
NOT_SIZED = "NotSized"

_PERCENTILE = 95
_UP_HOURS = 2
"""The running hour and the one before: a breach that lasts is told within two hours."""
_UP_MINUTES = 45
_COVERED = 0.9
_LATENCY_SLACK = 0.8
"""Share of the objective's latency that may be used before a smaller slice is out of the question."""
_PLATEAU = 0.9
"""A largest share below this that is also the 95th percentile: an instance of which one GPC is busy
(NVIDIA/DCGM#138)."""
_SIGNALS = {"dram": "DCGM_FI_PROF_DRAM_ACTIVE", "memory": "DCGM_FI_DEV_FB_USED"}


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How full an instance may be."""

    compute: float
    bandwidth: float
    memory: float


_TARGET = Limits(0.8, 0.7, 1 / 1.15)
_BREACH = Limits(0.9, 0.8, 0.97)
"""Of the present one: between both nothing is advised, so that advice once followed is not taken back."""


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """A whole device or a profile; `units` of memory."""

    name: str
    sm: int
    units: int
    memory_mib: int


@dataclasses.dataclass(frozen=True, slots=True)
class Advice:
    """`profile` is the one to take, or the present one; empty where nothing can be said."""

    reason: str
    message: str
    profile: str = ""


def advise(
    usage: Usage, assigned: accelerators.AssignedAccelerator | None, target_s: float | None = None
) -> Advice:
    """The advice for a service with this accelerator; `target_s` is the latency that it promises."""
    model, present = find_size(assigned)
    if model is None or present is None:
        return Advice(NOT_SIZED, "only one slice, or one whole device that can be cut, of one model is sized")
    if missing := _find_missing(usage):
        return Advice(SERIES_MISSING, f"Prometheus has no {missing} of its pods: nothing is advised")
    sizes = sorted(_sizes(model), key=lambda one: (one.units, one.sm, one.name))
    recent = usage.last(_UP_HOURS)
    if recent.minutes >= _UP_MINUTES and (found := _find_larger(recent, present, sizes)):
        return found
    if usage.minutes < _COVERED * HOURS * 60:
        seen = f"{usage.minutes / 60:.0f} of {HOURS} hours"
        return Advice(
            SERIES_SHORT, f"less than a day was seen ({seen}): nothing smaller is advised", present.name
        )
    return _find_smaller(usage, present, sizes, target_s)


def find_size(
    assigned: accelerators.AssignedAccelerator | None,
) -> tuple[devices.DeviceModel | None, Size | None]:
    """The model and the present size; None where there are several, or nothing that can be cut."""
    if assigned is None or assigned.count != 1:
        return None, None
    named = {model for one in assigned.products if (model := catalogue.model_of_product(one))}
    if len(named) != 1 or not (model := named.pop()).is_mig_capable:
        return None, None
    if assigned.resource == model.resource:
        units = model.family.memory_units if model.family else 0
        return model, Size("", model.multiprocessors, units, model.memory_mib)
    profile = catalogue.profile(model, catalogue.profile_of_resource(assigned.resource) or "")
    return model, _size(profile) if profile else None


def _sizes(model: devices.DeviceModel) -> list[Size]:
    """Profiles without media or graphics extension: whether those are needed, no signal tells."""
    return [_size(one) for one in model.profiles if not set(one.name) & {"+", "-"}]


def _size(profile: devices.Profile) -> Size:
    return Size(profile.name, profile.multiprocessors, profile.shape.size, profile.memory_mib)


def _find_missing(usage: Usage) -> str:
    if usage.memory_mib is None:
        return _SIGNALS["memory"]
    if not usage.looks("sm") and not usage.looks("engine"):
        return "DCGM_FI_PROF_SM_ACTIVE nor GR_ENGINE_ACTIVE"
    return "" if usage.looks("dram") else _SIGNALS["dram"]


def _compute(usage: Usage) -> float:
    """By SM_ACTIVE where it is known as often: it says more than that a context was bound."""
    signal = "sm" if usage.looks("sm") >= usage.looks("engine") else "engine"
    return usage.share(signal, _PERCENTILE) or 0.0


def why_not(usage: Usage, present: Size, target: Size, limits: Limits) -> str:
    """What of this use would be too much for `target`; empty where it fits."""
    compute = _compute(usage) * present.sm / target.sm
    bandwidth = (usage.share("dram", _PERCENTILE) or 0.0) * present.units / target.units
    memory_mib = usage.memory_mib or 0.0
    if memory_mib > limits.memory * target.memory_mib:
        return f"{memory_mib:.0f} of {target.memory_mib} MiB resident"
    if compute > limits.compute:
        return f"multiprocessors busy for {100 * compute:.0f} %"
    if bandwidth > limits.bandwidth:
        return f"memory interface busy for {100 * bandwidth:.0f} %"
    return ""


def _find_larger(usage: Usage, present: Size, sizes: Sequence[Size]) -> Advice | None:
    """The next size that fits, if the present one is too small and not the largest.

    A share of all cannot tell how much more there would be, so this is the least that is needed.
    """
    why = why_not(usage, present, present, _BREACH)
    if not why or not present.name:
        return None
    larger = [one for one in sizes if _is_larger(one, present)]
    fitting = [one for one in larger if not why_not(usage, present, one, _TARGET)] or larger[-1:]
    if not fitting:
        return None
    return Advice(UPSIZE, f"{present.name} is too small: {why}; {fitting[0].name} is next", fitting[0].name)


def _is_larger(one: Size, other: Size) -> bool:
    return one.units >= other.units and one.sm >= other.sm and one != other


def _find_smaller(usage: Usage, present: Size, sizes: Sequence[Size], target_s: float | None) -> Advice:
    smaller = [
        one for one in sizes if (_is_larger(present, one) if present.name else one.units < present.units)
    ]
    reasons = {one.name: why_not(usage, present, one, _TARGET) for one in smaller}
    fitting = [one for one in smaller if not reasons[one.name]]
    what = present.name or "the whole device"
    if not fitting:
        why = f" ({smaller[-1].name}: {reasons[smaller[-1].name]})" if smaller else ""
        return Advice(RIGHT_SIZED, f"{what} is right: nothing smaller would do{why}", present.name)
    most = usage.share("engine", 100) or 0.0
    if not usage.looks("sm") and most < _PLATEAU and usage.share("engine", _PERCENTILE) == most > 1 / 20:
        return Advice(
            SERIES_DOUBTFUL,
            f"GR_ENGINE_ACTIVE stands at {100 * most:.0f} %, which may be one busy GPC of several: "
            "let the exporter give SM_ACTIVE",
            present.name,
        )
    if target_s is not None and (usage.latency_s is None or usage.latency_s > _LATENCY_SLACK * target_s):
        seen = "is not known" if usage.latency_s is None else f"was up to {1000 * usage.latency_s:.0f} ms"
        return Advice(
            OBJECTIVE_AT_RISK,
            f"{fitting[0].name} would do, but latency {seen} of {1000 * target_s:.0f} ms promised",
            present.name,
        )
    return Advice(DOWNSIZE, _describe(usage, present, fitting[0], what), fitting[0].name)


def _describe(usage: Usage, present: Size, target: Size, what: str) -> str:
    compute = 100 * _compute(usage) * present.sm / target.sm
    return (
        f"{target.name} would do instead of {what}: {usage.memory_mib or 0:.0f} of {target.memory_mib} MiB "
        f"resident, multiprocessors busy for {compute:.0f} %"
    )
