"""Alibaba's openb trace on MIG: pods that share a GPU, mapped to slices, under several ways to cut the fleet.

The trace has no MIG GPUs. A pod of one GPU with gpu_milli below 1000 gets ceil(gpu_milli · 7 / 1000) sevenths
of an A100-80GB, and the smallest profile with so many compute slices: 5 and 6 sevenths need 7g. Pods come in
the trace's order, some at a time, until more was asked for than there is, and stay (the inflation of FGD,
USENIX ATC 2023): how many have a slice then? No pod ever moves.
"""

from __future__ import annotations

import abc
import collections
import csv
import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Sequence

from gpufleet.decide.mig import geometry, layouts
from gpufleet.decide.mig.planning import planner, values
from tests import mig_checks, mig_fleets

MODEL = mig_fleets.BY_NAME["A100-80GB"]
PROFILES = ("1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")
COMPUTE = {name: geometry.profile_of(MODEL, name).shape.compute for name in PROFILES}
GPUS = 64
BATCH = 8
"""Pods that come at a time."""
LOAD = 1.3
"""Sevenths asked for in the end, as a share of those there are."""
STARTS = 12
"""Places of the trace to begin at."""
MOST_ORDERS = 20


@dataclasses.dataclass(frozen=True)
class Pod:
    number: int
    profile: str
    sevenths: int


def read_pods() -> list[Pod] | None:
    """Pods that share a GPU, in the order of their arrival; None where the trace is not there."""
    root = pathlib.Path(
        os.environ.get("GPUFLEET_TRACES", pathlib.Path(__file__).parents[2] / "../shared/data")
    )
    path = root / "openb_pod_list_default.csv"
    if not path.exists():
        return None
    pods = []
    with path.open(encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            milli = int(row["gpu_milli"])
            if row["num_gpu"] == "1" and 0 < milli < 1000:
                sevenths = math.ceil(milli * 7 / 1000)
                profile = next(name for name in PROFILES if COMPUTE[name] >= sevenths)
                pods.append((int(row["creation_time"]), Pod(number, profile, sevenths)))
    return [pod for _, pod in sorted(pods, key=lambda one: (one[0], one[1].number))]


class Way(abc.ABC):
    """A way to cut GPUs: busy placements and idle ones of each."""

    def __init__(self) -> None:
        self.busy: list[list[geometry.Placement]] = [[] for _ in range(GPUS)]
        self.idle: list[list[geometry.Placement]] = [[] for _ in range(GPUS)]

    def admit(self, pods: Sequence[Pod]) -> set[int]:
        """Give slices to pods that wait; the numbers of those that got one."""
        self.cut(pods)
        admitted = set()
        for pod in pods:
            for busy, idle in zip(self.busy, self.idle, strict=True):
                found = next((one for one in idle if one.profile == pod.profile), None)
                if found is not None:
                    idle.remove(found)
                    busy.append(found)
                    admitted.add(pod.number)
                    break
        return admitted

    @abc.abstractmethod
    def cut(self, pods: Sequence[Pod]) -> None:
        """Change idle slices for the pods that wait."""


class Planned(Way):
    """gpufleet's planner, which forecasts the mix that it has seen so far."""

    def __init__(self, grain: values.Grain) -> None:
        super().__init__()
        self.grain = grain
        self.seen: collections.Counter[str] = collections.Counter()

    def cut(self, pods: Sequence[Pod]) -> None:
        counts = collections.Counter(pod.profile for pod in pods)
        self.seen.update(pod.profile for pod in pods)
        if self.grain is values.Grain.INSTANCE:
            self.idle = [[] for _ in self.busy]
        gpus = [self._read(index) for index in range(len(self.busy))]
        demands = [values.Demand(name, count) for name, count in sorted(counts.items())]
        plan = planner.plan(gpus, demands, values.Policy(forecast=dict(self.seen)))
        mig_checks.check(gpus, plan)
        for change in plan.changes:
            after = change.recipe.after.placements
            self.idle[change.index] = [one for one in after if one not in self.busy[change.index]]

    def _read(self, index: int) -> values.Gpu:
        held = [values.Instance(one, busy=True) for one in self.busy[index]]
        held += [values.Instance(one) for one in self.idle[index]]
        ordered = tuple(sorted(held, key=lambda one: one.placement.start))
        return values.Gpu("n", index, MODEL, ordered, self.grain)


class FirstFit(Way):
    """As DRA: a slice is made when its pod comes, at the lowest start of the first GPU, and goes with it."""

    def cut(self, pods: Sequence[Pod]) -> None:
        self.idle = [[] for _ in self.busy]
        for pod in pods:
            for busy, idle in zip(self.busy, self.idle, strict=True):
                if starts := geometry.legal_starts(MODEL, [*busy, *idle], pod.profile):
                    idle.append(geometry.Placement(pod.profile, starts[0]))
                    break


class Static(Way):
    """mig-manager's all-balanced on every GPU, for ever."""

    def __init__(self) -> None:
        super().__init__()
        order = geometry.creation_order(MODEL, ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"])
        self.idle = [list(order) for _ in range(GPUS)]

    def cut(self, pods: Sequence[Pod]) -> None:
        pass


class Counted(Way):
    """As nos: small profiles first, the known geometry with most lacking slices, some orders of creation.

    Its geometries are counts, twelve of the fourteen there are, and know nothing of placements: what
    cannot be created beside the busy instances is missing afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        unknown = ({"3g.40gb": 1, "4g.40gb": 1}, {"1g.10gb": 4, "3g.40gb": 1})
        every = {
            tuple(cut.layout.counts.items())
            for cut in layouts.enumerate_cuts(MODEL, PROFILES)
            if cut.is_maximal and cut.layout.counts not in unknown
        }
        self.geometries = [collections.Counter(dict(one)) for one in sorted(every)]

    def cut(self, pods: Sequence[Pod]) -> None:
        lacking = collections.Counter(pod.profile for pod in pods)
        for idle in self.idle:
            lacking -= collections.Counter(one.profile for one in idle)
        for index in range(len(self.busy)):
            if lacking:
                self._change(index, lacking)

    def _change(self, index: int, lacking: collections.Counter[str]) -> None:
        used = collections.Counter(one.profile for one in self.busy[index])
        free = collections.Counter(one.profile for one in self.idle[index])
        best, most = None, 0
        for known in self.geometries:
            if used <= known:
                offered = known - used - free
                gained = sum((offered & lacking).values())
                if gained > most:
                    best, most = known - used, gained
        if best is not None:
            self.idle[index] = self._create(index, sorted(best.elements(), key=COMPUTE.__getitem__))
            lacking -= collections.Counter(one.profile for one in self.idle[index]) - free

    def _create(self, index: int, names: Sequence[str]) -> list[geometry.Placement]:
        most: list[geometry.Placement] = []
        for order in itertools.islice(itertools.permutations(names), MOST_ORDERS):
            made: list[geometry.Placement] = []
            for name in order:
                if starts := geometry.legal_starts(MODEL, [*self.busy[index], *made], name):
                    made.append(geometry.Placement(name, starts[-1]))
            if len(made) > len(most):
                most = made
        return most


@dataclasses.dataclass(frozen=True)
class Result:
    """What has a slice in the end."""

    slices: int
    sevenths: int


def inflate(way: Way, pods: Sequence[Pod], start: int) -> Result:
    """Let pods come from a place in the trace on."""
    waiting: list[Pod] = []
    slices = sevenths = asked = 0
    for place in range(start, len(pods) + start, BATCH):
        batch = [pods[number % len(pods)] for number in range(place, place + BATCH)]
        asked += sum(pod.sevenths for pod in batch)
        waiting += batch
        admitted = way.admit(waiting)
        slices += len(admitted)
        sevenths += sum(pod.sevenths for pod in waiting if pod.number in admitted)
        waiting = [pod for pod in waiting if pod.number not in admitted]
        if asked >= LOAD * 7 * GPUS:
            break
    return Result(slices, sevenths)


def compare(pods: Sequence[Pod]) -> dict[str, Result]:
    """Every way from every start, added up."""
    ways: dict[str, Callable[[], Way]] = {
        "planner": lambda: Planned(values.Grain.INSTANCE),
        "planner, whole GPUs": lambda: Planned(values.Grain.GPU),
        "first-fit as DRA": FirstFit,
        "counts as nos": Counted,
        "all-balanced": Static,
    }
    found = {}
    for name, build in ways.items():
        results = [inflate(build(), pods, start * len(pods) // STARTS) for start in range(STARTS)]
        found[name] = Result(sum(one.slices for one in results), sum(one.sevenths for one in results))
    return found
