"""What a pool wants its nodes to be: planned for what waits, or the one layout of a static pool."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from gpufleet.api import gpu_pool, mig_policy
from gpufleet.decide.mig import catalogue
from gpufleet.decide.mig.planning import explain, fleet, planner, values
from gpufleet.decide.mig.repartition import demand as waiting
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import reasons, static
from gpufleet.state import mig, snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """Layouts by node, for nodes that are to change, and what there is to say about them."""

    targets: Mapping[str, mig.Layout] = dataclasses.field(default_factory=dict)
    reason: str = reasons.IN_PLACE
    message: str = ""
    gpus: int = 0
    fragmentation: float = 0.0
    served: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Slices by profile of what waits that the pool has, or will have."""
    changes: tuple[values.Change, ...] = ()
    """The same GPU by GPU, as far as instances are made or lost."""
    outcomes: tuple[values.Outcome, ...] = ()
    """What waits and had to be planned for, and how much of it is served then."""


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A pool with the nodes that it alone manages, and what waits for slices of them."""

    pool: gpu_pool.GPUPool
    policy: mig_policy.MigPolicy
    nodes: tuple[reading.Facts, ...]
    demand: waiting.Demand
    used: Mapping[str, collections.Counter[str]]
    """Extended resources that pods hold, by node."""
    held: frozenset[str] = frozenset()
    """Nodes that nothing may begin on for a while."""


def wish(case: Case) -> Wish:
    """What the pool wants now. GPUs of nodes in flight count with the slices that they are about to have."""
    return _wish_static(case) if case.policy.mode == "Static" else _wish_dynamic(case)


def _wish_static(case: Case) -> Wish:
    found = static.plan(case.nodes, case.policy, _policy(case))
    gpus = sum(
        len(found.targets[one.node.name].changed_from(one.layout or mig.Layout()))
        for one in case.nodes
        if one.node.name in found.targets
    )
    wanted = Wish(found.targets, gpus=gpus, changes=found.changes)
    if found.refused:
        message = f"mig.layout: {found.refusals}"
        return dataclasses.replace(wanted, reason=reasons.LAYOUT_IMPOSSIBLE, message=message)
    if not found.targets:
        return Wish(reason=reasons.IN_PLACE, message="every node has the layout of mig.layout")
    slices = reading.describe({one.profile: one.count for one in case.policy.layout})
    said = f"{len(found.targets)} nodes are to get the layout of mig.layout: {slices} on each GPU"
    return dataclasses.replace(wanted, reason=reasons.STATIC_LAYOUT, message=said)


def _wish_dynamic(case: Case) -> Wish:
    if not case.demand.slices and not case.policy.minimums:
        return Wish(reason=explain.NO_DEMAND, message="nothing waits for a slice")
    free = [one for one in case.nodes if _may_be_planned(one, case)]
    gpus = {one.node.name: _plannable(one, case) for one in free}
    served: collections.Counter[str] = collections.Counter()
    rest = _subtract(case, _find_supply(case, gpus), served)
    asked = sum(one.count for one in case.demand.slices)
    targets: dict[str, mig.Layout] = {}
    plans: list[values.Plan] = []
    for places, slices in _group(rest, case):
        mine = [gpu for name in sorted(places - targets.keys()) for gpu in gpus.get(name, ())]
        plan = planner.plan(mine, _demands(slices, case), _policy(case))
        plans.append(plan)
        targets |= _targets_of(plan, free)
        for outcome in plan.outcomes:
            served[outcome.demand.profile] += outcome.served
    every = [gpu for name in sorted(gpus) for gpu in gpus[name]]
    forecast = planner.mix(_demands(case.demand.slices, case))
    share = fleet.measure_fragmentation(every, forecast) if forecast else 0.0
    reason, message = _say(plans, asked)
    changes = tuple(one for plan in plans for one in plan.changes)
    outcomes = tuple(one for plan in plans for one in plan.outcomes)
    return Wish(targets, reason, message, len(changes), share, served, changes, outcomes)


def _say(plans: Sequence[values.Plan], asked: int) -> tuple[str, str]:
    """The plan that changes something speaks for all."""
    if not plans:
        if asked:
            return explain.ALL_SERVED, "slices that are free, or about to be made, serve all that waits"
        return explain.NO_DEMAND, "nothing waits for a slice"
    best = max(plans, key=lambda plan: (len(plan.changes), plan.wanted - plan.served))
    return best.reason, best.message


def _may_be_planned(one: reading.Facts, case: Case) -> bool:
    is_quiet = one.change is None and one.problem is None and not one.strangers
    return is_quiet and one.layout is not None and one.node.is_usable and one.node.name not in case.held


def _plannable(one: reading.Facts, case: Case) -> tuple[values.Gpu, ...]:
    """GPUs in MIG mode, and whole ones beyond the reserve that nobody holds or waits for."""
    cut = reading.build_gpus(one, drains=case.policy.drain_policy == "Drain")
    whole = [gpu for gpu in one.gpus if not gpu.mig]
    spare = len(whole) - case.policy.reserved_whole_gpus
    if spare <= 0 or one.model is None or one.node.name in case.demand.whole:
        return cut
    if one.model.keeps_mig_mode_over_reboot and any(gpu.pods for gpu in one.gpus):
        return cut
    idle = [gpu for gpu in whole if not gpu.pod][-spare:]
    return (*cut, *(values.Gpu(one.node.name, gpu.index, one.model) for gpu in idle))


def _find_supply(case: Case, gpus: Mapping[str, object]) -> list[tuple[str, collections.Counter[str]]]:
    """(node, idle slices) where the planner does not look: in flight as they will be, others as now."""
    found = []
    for one in case.nodes:
        name = one.node.name
        if name in gpus:
            continue
        held = case.used.get(name, collections.Counter())
        if one.change is not None and one.change.phase != "HandedOver":
            slices = one.change.target.totals if one.change.target else {}
        elif one.node.is_usable:
            slices = _slices(one.node.allocatable)
        else:
            continue
        idle = {
            profile: number - held[catalogue.resource_name(profile)] for profile, number in slices.items()
        }
        found.append((name, collections.Counter({key: n for key, n in idle.items() if n > 0})))
    return found


def _slices(resources: Mapping[str, int]) -> dict[str, int]:
    named = ((catalogue.profile_of_resource(name), number) for name, number in resources.items())
    return {name: number for name, number in named if name}


def _subtract(
    case: Case, supply: list[tuple[str, collections.Counter[str]]], served: collections.Counter[str]
) -> list[waiting.Waiting]:
    """What waits still when that is taken; who may go to fewest nodes takes first. Then the minimums."""
    allowed = set(case.policy.allowed_profiles)
    here = {one.node.name for one in case.nodes}
    left: list[waiting.Waiting] = []
    for one in sorted(case.demand.slices, key=lambda it: (len(it.nodes), it.profile, sorted(it.nodes))):
        missing = one.count
        for name, idle in supply:
            if name in one.nodes and missing > 0:
                taken = min(missing, idle[one.profile])
                idle[one.profile] -= taken
                served[one.profile] += taken
                missing -= taken
        if missing > 0 and one.nodes & here and (not allowed or one.profile in allowed):
            left.append(waiting.Waiting(one.profile, missing, one.nodes & here))
    return [*left, *_find_minimums(case, left, supply)]


def _find_minimums(
    case: Case, left: Sequence[waiting.Waiting], supply: Iterable[tuple[str, collections.Counter[str]]]
) -> list[waiting.Waiting]:
    """Slices that the pool is to have at least, beyond those that are held or waited for."""
    idle: collections.Counter[str] = collections.Counter()
    for _, slices in supply:
        idle.update(slices)
    held: collections.Counter[str] = collections.Counter()
    for one in case.nodes:
        held.update(case.used.get(one.node.name, {}))
    asked = collections.Counter[str]()
    for it in left:
        asked[it.profile] += it.count
    everywhere = frozenset(one.node.name for one in case.nodes)
    found = []
    for least in case.policy.minimums:
        name = least.profile
        missing = least.count - held[catalogue.resource_name(name)] - asked[name] - idle[name]
        if missing > 0:
            found.append(waiting.Waiting(name, missing, everywhere))
    return found


def _group(
    slices: Iterable[waiting.Waiting], case: Case
) -> list[tuple[frozenset[str], list[waiting.Waiting]]]:
    """By where they may go: what only models tell apart is planned together, on all nodes, and last."""
    everywhere = frozenset(one.node.name for one in case.nodes)
    by_model: dict[str, set[str]] = collections.defaultdict(set)
    for node in case.nodes:
        by_model[node.model.name if node.model else ""].add(node.node.name)
    groups: dict[frozenset[str], list[waiting.Waiting]] = collections.defaultdict(list)
    for one in slices:
        is_whole = all(one.nodes >= names or not one.nodes & names for names in by_model.values())
        groups[everywhere if is_whole else one.nodes].append(one)
    return sorted(groups.items(), key=lambda item: (len(item[0]), sorted(item[0])))


def _demands(slices: Iterable[waiting.Waiting], case: Case) -> list[values.Demand]:
    models = {one.node.name: one.model for one in case.nodes if one.model}
    found = []
    for one in slices:
        fitting = {model.name: model for name in one.nodes if (model := models.get(name))}
        profiles = [known for model in fitting.values() if (known := catalogue.profile(model, one.profile))]
        if profiles:
            weight = float(max(known.shape.compute for known in profiles))
            found.append(values.Demand(profiles[0].name, one.count, weight, frozenset(fitting)))
    return found


def _policy(case: Case) -> values.Policy:
    return values.Policy(float(case.policy.blackout_seconds), float(case.policy.horizon_seconds))


def _targets_of(plan: values.Plan, nodes: Iterable[reading.Facts]) -> dict[str, mig.Layout]:
    now = {one.node.name: one.layout for one in nodes}
    cut: dict[str, dict[int, mig.Counts | None]] = {}
    for change in plan.changes:
        layout = now[change.node] or mig.Layout()
        gpus = cut.setdefault(change.node, layout.by_index)
        gpus[change.index] = mig.counts_of(change.recipe.after.counts)
    return {name: mig.Layout(tuple(sorted(gpus.items()))) for name, gpus in cut.items()}


def count_use(case: Case) -> list[mig_policy.ProfileUse]:
    """Slices by profile: what nodes offer, what pods hold, and what a pod could have now."""
    total: collections.Counter[str] = collections.Counter()
    used: collections.Counter[str] = collections.Counter()
    free: collections.Counter[str] = collections.Counter()
    for one in case.nodes:
        held = case.used.get(one.node.name, collections.Counter())
        for profile, number in _slices(one.node.allocatable).items():
            mine = held[catalogue.resource_name(profile)]
            total[profile] += number
            used[profile] += mine
            free[profile] += max(0, number - mine) if one.node.is_usable else 0
    return [
        mig_policy.ProfileUse(profile=profile, total=total[profile], used=used[profile], free=free[profile])
        for profile in sorted(total)
        if total[profile] or used[profile]
    ]


def find_contradictions(view: snapshot.Snapshot) -> Mapping[str, tuple[str, ...]]:
    """Pools with a MIG mode, by node, where more than one would have it."""
    claims: dict[str, list[str]] = collections.defaultdict(list)
    for pool in view.pools:
        if is_managed(pool):
            for node in view.nodes_of(pool):
                claims[node.name].append(pool.metadata.name)
    return {name: tuple(sorted(pools)) for name, pools in claims.items() if len(pools) > 1}


def is_managed(pool: gpu_pool.GPUPool) -> bool:
    """Whether the pool says anything about MIG."""
    return pool.spec.mig is not None and pool.spec.mig.mode != "Off"
