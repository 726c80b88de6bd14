"""One look at the whole fleet: what pools want, where each node is, and what is to be done now."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.api import gpu_pool
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.mig.repartition import begins, configs, machine, pools, reasons, reports
from gpufleet.decide.mig.repartition import demand as waiting
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import refusals as refusing
from gpufleet.decide.mig.repartition.steps import Context, Limits, Step, Verdict
from gpufleet.decide.placement import disruption
from gpufleet.state import fleet, mig, names, snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """A step on a node, with what it was decided from: it is decided again, live, before it is done."""

    node: str
    uid: str
    step: Step
    context: Context
    layout: mig.Layout | None
    gpus: int = 0
    """GPUs that a change which begins takes away for a while."""


@dataclasses.dataclass(frozen=True, slots=True)
class Round:
    """All of it. `file` is mig-manager's as it should be, `trouble` why nobody may write it."""

    nodes: tuple[reports.NodeReport, ...] = ()
    orders: tuple[Order, ...] = ()
    pools: tuple[reports.PoolReport, ...] = ()
    file: configs.File | None = None
    needs: configs.Needs = dataclasses.field(default_factory=configs.Needs)
    trouble: reading.Trouble | None = None
    again_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What the installation says."""

    limits: Limits = dataclasses.field(default_factory=Limits)
    namespace: str = "gpu-operator"
    disruption_gpus_per_hour: float = 0.0
    """Of the whole fleet, and of all that disrupts; 0: no limit."""


is_managed = pools.is_managed


def is_idle(view: snapshot.Snapshot) -> bool:
    """Whether no pool says anything about MIG and no node is being changed."""
    changing = (one.is_fenced or names.MIG_CHANGE_ANNOTATION in one.annotations for one in view.nodes)
    return not any(map(pools.is_managed, view.pools)) and not any(changing)


def _is_marked(node: fleet.Node) -> bool:
    is_ours = node.labels.get(names.MIG_CONFIG_LABEL, "").startswith(names.MIG_CONFIG_PREFIX)
    return node.is_fenced or bool(node.annotations) or is_ours


def decide(
    view: snapshot.Snapshot,
    live_file: str | None,
    now: datetime.datetime,
    settings: Settings | None = None,
    scalings: Mapping[str, scaler.Scaling] | None = None,
    refused: Mapping[str, str] | None = None,
) -> Round:
    """The round for this view. `live_file` is mig-manager's file as it is, None where there is none.

    `refused` says by UID why pods were not evicted when they were last asked to go.
    """
    known = settings or Settings()
    clashes = pools.find_contradictions(view)
    managed = [pool for pool in view.pools if pools.is_managed(pool)]
    by_pool = {
        pool.metadata.name: [node.name for node in view.nodes_of(pool) if node.name not in clashes]
        for pool in managed
    }
    facts = _read_all(view, {name for ours in by_pool.values() for name in ours} | clashes.keys())
    needs = configs.find_needs(facts.values())
    file, trouble = _plan_file(live_file, needs)
    cases, wishes = _plan_pools(view, managed, by_pool, facts, scalings or {}, now)
    ledger = disruption.read(view, known.disruption_gpus_per_hour, now)
    beginning = begins.Begins(facts.values(), file, trouble, ledger, now)
    contexts = _build_contexts(cases, wishes, file, beginning, known)
    verdicts = {
        name: machine.advance(one, contexts.get(name) or _orphan(file, known), now)
        for name, one in facts.items()
    }
    verdicts |= {name: refusing.tell(one, facts[name], refused or {}) for name, one in verdicts.items()}
    verdicts |= {name: _tell_clash(name, clashes[name], verdicts.get(name)) for name in clashes}
    return Round(
        nodes=tuple(
            reports.of_node(facts[name], contexts.get(name), verdict)
            for name, verdict in sorted(verdicts.items())
            if name in contexts or name in clashes or verdict.phase != "Idle" or verdict.step
        ),
        orders=tuple(_order(facts, contexts, verdicts, file, known)),
        pools=tuple(reports.of_pool(case, wishes[name], verdicts) for name, case in sorted(cases.items())),
        file=file,
        needs=needs,
        trouble=trouble,
        again_s=min((one.again_s for one in verdicts.values() if one.again_s), default=None),
    )


def check(order: Order, node: fleet.Node, pods: Iterable[fleet.Pod], now: datetime.datetime) -> Step | None:
    """The step as it is to be done on the node as it is now; None where it is not to be done any more."""
    if node.uid != order.uid:
        return None
    facts = reading.read(node, pods)
    step = machine.advance(facts, order.context, now).step
    if step is None or step.kind != order.step.kind:
        return None
    return None if step.kind == "Begin" and facts.layout != order.layout else step


def _read_all(view: snapshot.Snapshot, managed: set[str]) -> dict[str, reading.Facts]:
    pods: dict[str, list[fleet.Pod]] = collections.defaultdict(list)
    for pod in view.pods:
        if pod.node:
            pods[pod.node].append(pod)
    return {
        node.name: reading.read(node, pods[node.name])
        for node in view.nodes
        if node.name in managed or _is_marked(node)
    }


def _plan_file(live: str | None, needs: configs.Needs) -> tuple[configs.File | None, reading.Trouble | None]:
    try:
        return configs.plan_file(live, needs), None
    except configs.ConfigFileError as error:
        said = f"mig-manager's ConfigMap: {error}; correct it, or delete the key for a new one"
        return None, (reasons.CONFIG_MAP_UNREADABLE, said)


def _plan_pools(
    view: snapshot.Snapshot,
    managed: Sequence[gpu_pool.GPUPool],
    by_pool: Mapping[str, Sequence[str]],
    facts: Mapping[str, reading.Facts],
    scalings: Mapping[str, scaler.Scaling],
    now: datetime.datetime,
) -> tuple[dict[str, pools.Case], dict[str, pools.Wish]]:
    """Who acts is planned for first: what is served there does not wait for the others any more."""
    used = view.used_on_nodes()
    ours = [facts[name] for mine in by_pool.values() for name in mine]
    demand = waiting.read(view, ours, scalings)
    held = frozenset(one.node.name for one in ours if one.hold and now < one.hold.until)
    cases: dict[str, pools.Case] = {}
    wishes: dict[str, pools.Wish] = {}
    for pool in sorted(managed, key=lambda one: (not _is_active(one), one.metadata.name)):
        assert pool.spec.mig is not None
        name = pool.metadata.name
        nodes = tuple(facts[node] for node in by_pool[name])
        cases[name] = pools.Case(pool, pool.spec.mig, nodes, demand, used, held)
        wishes[name] = pools.wish(cases[name])
        if _is_active(pool):
            demand = waiting.take(demand, wishes[name].served, frozenset(by_pool[name]))
    return cases, wishes


def _is_active(pool: gpu_pool.GPUPool) -> bool:
    return pool.spec.mig is not None and pool.spec.mig.act == "Active"


def _build_contexts(
    cases: Mapping[str, pools.Case],
    wishes: Mapping[str, pools.Wish],
    file: configs.File | None,
    beginning: begins.Begins,
    settings: Settings,
) -> dict[str, Context]:
    """Begins are given out in the order of pools, and of nodes by who holds them."""
    found: dict[str, Context] = {}
    for name, case in sorted(cases.items()):
        for one in sorted(case.nodes, key=_urgency):
            target = wishes[name].targets.get(one.node.name)
            found[one.node.name] = Context(
                pool=name,
                target=target,
                against=beginning.find_against(case, one, target),
                published=file.published if file else frozenset(),
                needed=_is_needed(one, case),
                drains=case.policy.drain_policy == "Drain",
                drain_timeout_s=float(case.policy.drain_timeout_seconds),
                limits=settings.limits,
                namespace=settings.namespace,
            )
    return found


def _urgency(one: reading.Facts) -> tuple[int, str]:
    """Nodes that fewest pods hold are changed first."""
    return len(one.find_holders(one.holders)), one.node.name


def _is_needed(one: reading.Facts, case: pools.Case) -> bool:
    """Whether somebody still waits for what a fenced node is about to become."""
    change, policy = one.change, case.policy
    if change is None:
        return True
    if policy.act != "Active":
        return False
    if policy.mode == "Static" or policy.minimums:
        return True
    made = change.to.totals
    return any(it.profile in made and one.node.name in it.nodes for it in case.demand.slices)


def _orphan(file: configs.File | None, settings: Settings) -> Context:
    """Of a node that no pool manages: what was labelled is finished, what has touched nothing is given up."""
    published = file.published if file else frozenset()
    return Context(needed=False, published=published, limits=settings.limits, namespace=settings.namespace)


def _tell_clash(name: str, claims: Sequence[str], verdict: Verdict | None) -> Verdict:
    said = (
        f"node {name} is selected by {' and '.join(claims)}, which all have a MIG mode: nothing begins "
        "on it; make their nodeSelectors disjoint"
    )
    if verdict is None or verdict.phase == "Idle":
        return Verdict("Idle", reasons.POOLS_CONTRADICT, said, verdict.step if verdict else None)
    return verdict


def _order(
    facts: Mapping[str, reading.Facts],
    contexts: Mapping[str, Context],
    verdicts: Mapping[str, Verdict],
    file: configs.File | None,
    settings: Settings,
) -> Iterator[Order]:
    for name, verdict in sorted(verdicts.items()):
        if verdict.step is not None:
            one = facts[name]
            context = contexts.get(name) or _orphan(file, settings)
            begun = context.target if verdict.step.kind == "Begin" else None
            gpus = len(one.find_affected(one.layout, begun)) if begun else 0
            yield Order(name, one.node.uid, verdict.step, context, one.layout, gpus)
