"""The yardstick: the whole fleet as an integer program over configurations, solved by HiGHS.

Needs `highspy` (extra `planner`). Everything that the planner does is left out but the question how much
weighted demand can be served at all: for each sort of GPU the number that takes each of the largest layouts
beside its pinned instances, for each demand the slices that it takes of each sort. Its layouts come from
`layouts`, not from the planner's own tables, so that one checks the other.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gpufleet.decide.mig import devices, geometry, layouts
from gpufleet.decide.mig.planning import values

if TYPE_CHECKING:
    import highspy

_Offer = tuple[tuple[str, int], ...]
"""Slices by profile."""


@dataclasses.dataclass(frozen=True, slots=True)
class Solved:
    """What HiGHS found. `bound` holds for every plan, `served` is the best that it has seen."""

    served: float
    bound: float

    @property
    def gap(self) -> float:
        """HiGHS's own: what the bound is above the best, as a share of it."""
        return (self.bound - self.served) / self.bound if self.bound else 0.0


def solve(gpus: Iterable[values.Gpu], demands: Sequence[values.Demand], time_limit_s: float) -> Solved:
    """Most weighted demand that the fleet can serve with every movable pod served again.

    Raises ImportError without highspy, RuntimeError where HiGHS fails.
    """
    import highspy

    program = highspy.Highs()  # type: ignore[no-untyped-call]
    program.silent()
    program.setOptionValue("time_limit", float(time_limit_s))
    program.setOptionValue("mip_rel_gap", 1e-6)
    fleet = list(gpus)
    running = _count_running(fleet)
    names = {demand.profile for demand in demands} | {profile for _, profile in running}
    offered = _Rows(program)
    for (model, frozen, pinned), number in _sort(fleet).items():
        if frozen is None:
            _add_layouts(offered, model, pinned, number, names)
        else:
            offered.fixed.update({(model.name, profile): count * number for profile, count in frozen})
    _add_demands(offered, fleet, demands, running)
    offered.close()
    if program.maximize() == highspy.HighsStatus.kError:
        raise RuntimeError(f"HiGHS failed: {program.modelStatusToString(program.getModelStatus())}")
    info = program.getInfo()
    served = max(0.0, info.objective_function_value)
    # Without a whole-numbered variable there is no bound of branches, and the optimum is one.
    return Solved(served, max(served, info.mip_dual_bound))


class _Rows:
    """One row for each (model, profile): slices taken are at most slices offered."""

    def __init__(self, program: highspy.Highs) -> None:
        self.program = program
        self.fixed: collections.Counter[tuple[str, str]] = collections.Counter()
        self._entries: dict[tuple[str, str], list[tuple[int, float]]] = collections.defaultdict(list)
        self._variables = 0

    def add(self, upper: float, gain: float, *, is_whole: bool) -> int:
        """A variable from 0 to `upper`."""
        import highspy

        sort = highspy.HighsVarType.kInteger if is_whole else highspy.HighsVarType.kContinuous
        self.program.addVariable(0.0, float(upper), gain, sort)
        self._variables += 1
        return self._variables - 1

    def enter(self, key: tuple[str, str], variable: int, slices: float) -> None:
        """The variable takes so many slices; less than 0 if it offers them."""
        self._entries[key].append((variable, slices))

    def limit(self, variables: Sequence[int], lower: float, upper: float) -> None:
        """Their sum lies within."""
        self.program.addRow(lower, upper, len(variables), list(variables), [1.0] * len(variables))

    def close(self) -> None:
        """Write the rows."""
        for key, entries in sorted(self._entries.items()):
            variables = [variable for variable, _ in entries]
            slices = [number for _, number in entries]
            self.program.addRow(float("-inf"), float(self.fixed[key]), len(entries), variables, slices)


_Sort = tuple[devices.DeviceModel, _Offer | None, tuple[geometry.Placement, ...]]
"""Model; what it offers if it is frozen; else the placements that stay."""


def _sort(gpus: Iterable[values.Gpu]) -> dict[_Sort, int]:
    found: dict[str, tuple[_Sort, int]] = {}
    for gpu in gpus:
        pinned = tuple(one.placement for one in gpu.instances if one.is_pinned)
        idle = collections.Counter(one.placement.profile for one in gpu.instances if not one.busy)
        frozen = tuple(sorted(idle.items())) if gpu.is_frozen else None
        sort: _Sort = (gpu.model, frozen, () if gpu.is_frozen else pinned)
        key = f"{gpu.model.name} {frozen} {sort[2]}"
        found[key] = (sort, found.get(key, (sort, 0))[1] + 1)
    return dict(found.values())


def _count_running(gpus: Iterable[values.Gpu]) -> collections.Counter[tuple[str, str]]:
    return collections.Counter(
        (gpu.model.name, one.placement.profile)
        for gpu in gpus
        for one in gpu.instances
        if one.busy and one.movable and not gpu.is_frozen
    )


def _add_layouts(
    rows: _Rows,
    model: devices.DeviceModel,
    pinned: tuple[geometry.Placement, ...],
    number: int,
    names: set[str],
) -> None:
    """How many of these GPUs take each of the largest layouts."""
    wanted = sorted({model.profiles_by_name[name].name for name in names if name in model.profiles_by_name})
    held = collections.Counter(one.profile for one in pinned)
    found = {tuple((cut.layout.counts.get(name, 0) - held[name]) for name in wanted)
             for cut in layouts.enumerate_cuts(model, wanted, pinned)} if wanted else set()  # fmt: skip
    taken = []
    for counts in sorted(found):
        larger = ((*counts[:at], counts[at] + 1, *counts[at + 1 :]) for at in range(len(counts)))
        if any(one in found for one in larger):
            continue
        variable = rows.add(number, 0.0, is_whole=True)
        taken.append(variable)
        for name, slices in zip(wanted, counts, strict=True):
            if slices:
                rows.enter((model.name, name), variable, -float(slices))
    if taken:
        rows.limit(taken, 0.0, float(number))


def _add_demands(
    rows: _Rows,
    gpus: Sequence[values.Gpu],
    demands: Sequence[values.Demand],
    running: collections.Counter[tuple[str, str]],
) -> None:
    models = {gpu.model.name: gpu.model for gpu in gpus}
    for key, count in sorted(running.items()):
        variable = rows.add(count, 0.0, is_whole=False)
        rows.limit([variable], float(count), float(count))
        rows.enter(key, variable, 1.0)
    for demand in demands:
        taken = []
        for name, model in sorted(models.items()):
            profile = model.profiles_by_name.get(demand.profile)
            if profile is None or (demand.models is not None and name not in demand.models):
                continue
            taken.append(rows.add(demand.count, demand.weight, is_whole=False))
            rows.enter((name, profile.name), taken[-1], 1.0)
        if taken:
            rows.limit(taken, 0.0, float(demand.count))
