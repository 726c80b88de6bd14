"""The one layout of a static pool: which GPUs get it, which stay whole, and what that costs."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from gpufleet.api import mig_policy
from gpufleet.decide.mig import devices, geometry
from gpufleet.decide.mig.planning import recipes, values
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.state import mig


@dataclasses.dataclass(frozen=True, slots=True)
class Static:
    """Layouts of nodes that are to change, GPU by GPU as well, and why a model cannot have the layout."""

    targets: Mapping[str, mig.Layout]
    changes: tuple[values.Change, ...]
    refused: Mapping[str, str]

    @property
    def refusals(self) -> str:
        """All of them in a sentence."""
        return "; ".join(self.refused[name] for name in sorted(self.refused))


def plan(nodes: Iterable[reading.Facts], policy: mig_policy.MigPolicy, costs: values.Policy) -> Static:
    """What `mig.layout` makes of these nodes; those that change, or may not, are left out."""
    wanted = {one.profile: one.count for one in policy.layout}
    targets: dict[str, mig.Layout] = {}
    changes: list[values.Change] = []
    refused: dict[str, str] = {}
    for one in nodes:
        if one.model is None or one.layout is None or one.change is not None or one.problem:
            continue
        try:
            names = _canonical(one.model, wanted)
        except geometry.UnknownProfileError as error:
            refused[one.model.name] = str(error)
            continue
        if not geometry.is_count_feasible(one.model, names):
            refused[one.model.name] = f"{reading.describe(wanted)} do not fit on {one.model.name}"
            continue
        layout = _lay_out(one.layout, collections.Counter(names), policy.reserved_whole_gpus)
        if layout != one.layout:
            targets[one.node.name] = layout
            changes += _change(one, layout, drains=policy.drain_policy == "Drain", costs=costs)
    return Static(targets, tuple(changes), refused)


def _canonical(model: devices.DeviceModel, wanted: Mapping[str, int]) -> list[str]:
    found = ((geometry.profile_of(model, name).name, number) for name, number in sorted(wanted.items()))
    return [name for name, number in found for _ in range(number)]


def _lay_out(now: mig.Layout, slices: Mapping[str, int], reserved: int) -> mig.Layout:
    """GPUs that are whole already are the ones that stay so, then those with the lowest index."""
    order = sorted(now.gpus, key=lambda gpu: (gpu[1] is not None, gpu[0]))
    whole = {index for index, _ in order[:reserved]}
    return mig.Layout.of({index: None if index in whole else slices for index, _ in now.gpus})


def _change(
    one: reading.Facts, layout: mig.Layout, *, drains: bool, costs: values.Policy
) -> Iterator[values.Change]:
    """GPUs that are not as they are to be; between whole and empty nothing is made and nothing lost."""
    assert one.model is not None
    assert one.layout is not None
    cut = {gpu.index: gpu for gpu in reading.build_gpus(one, drains=drains)}
    for index in sorted(layout.changed_from(one.layout)):
        gpu = cut.get(index) or values.Gpu(one.node.name, index, one.model)
        slices = layout.by_index[index] or ()
        names = [name for name, number in slices for _ in range(number)]
        recipe = recipes.plan_gpu(gpu, geometry.creation_order(one.model, names), costs)
        if recipe is not None:
            yield values.Change(gpu.node, index, recipe, _explain(gpu))


def _explain(gpu: values.Gpu) -> str:
    busy = sum(one.busy for one in gpu.instances)
    return "as mig.layout says" + (f", once pods have left {busy} busy slices" if busy else "")
