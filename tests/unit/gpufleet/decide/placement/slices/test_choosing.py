"""Passes over services: who is told what of its slice, and who moves."""

from __future__ import annotations

import dataclasses
import datetime
import zlib
from typing import Any

import numpy
import pytest

from gpufleet.api import autoscaling, model_profile, triton_service
from gpufleet.decide.autoscaling import behavior, forecast, memories, scaler
from gpufleet.decide.placement import assign
from gpufleet.decide.placement.slices import choosing, judging
from gpufleet.state import snapshot
from tests import builders
from tests.unit.gpufleet.decide.autoscaling.builders import read
from tests.unit.gpufleet.decide.autoscaling.test_capacity import profile

SMALL, LARGE = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"
H100 = builders.H100
UID = "uid-vision"
LATE = datetime.timedelta(minutes=(-zlib.crc32(UID.encode()) - int(builders.NOW.timestamp() // 60)) % 5)
NOW = builders.NOW + LATE
"""A minute in which the service is looked at."""
OBJECTIVE = {"latency": {"percentile": "P99", "targetMilliseconds": 50}}
AUTO = {"mode": "Dynamic", "act": "Active", "sliceChoice": "Auto"}


def hardware(resource: str) -> str:
    return f"1 × {resource} on {H100}"


def measured(resource: str, error: float) -> model_profile.ModelProfileSpec:
    """Both have the same line; their errors tell the worker's questions apart."""
    found = profile(hardware=hardware(resource))
    return found.model_copy(update={"fit": found.fit.model_copy(update={"error": error})})


PROFILES = [measured(LARGE, 0.05), measured(SMALL, 0.04)]


def make_service(
    name: str = "vision",
    *,
    status: Any = None,
    mode: str = "Active",
    block: Any = None,
    memory: str = "1Gi",
    **spec: Any,
) -> triton_service.TritonService:
    assigned = {"resource": LARGE, "count": 1, "products": [H100], "pool": "h100"}
    given = {"replicas": 1, "accelerator": assigned, "requested": "memory=8Gi"}
    return builders.make_service(
        name,
        status={"assignment": given, **(status or {})},
        models=[{"name": "m", "backend": "python", "maxBatchSize": 8, "batching": {}, "memory": memory}],
        accelerator=block or {"memory": "8Gi"},
        autoscaling={"mode": mode, "maxReplicas": 20, "headroomPercent": 0},
        **({"objective": OBJECTIVE} | spec),
    )


def make_view(
    service: triton_service.TritonService, free: int = 7, profiles: Any = None, **mig: Any
) -> snapshot.Snapshot:
    node = builders.make_node("n", {LARGE: 2, SMALL: free}, product=H100, pool="h100")
    pool = builders.make_pool("h100", nodeSelector={"gpufleet.dev/pool": "h100"}, mig=mig or None)
    known = PROFILES if profiles is None else profiles
    return builders.make_snapshot([node], pools=[pool], services=[service], profiles={UID: known})


def make_pass(
    load: float = 30.0, hours: float = 24.0, demand: float | None = None, **fields: Any
) -> memories.Pass:
    """What autoscaling has seen: a steady load for so long."""
    packed = numpy.full(round(hours * 60), load, numpy.float32).tobytes()
    known = memories.Remembered(behavior.Memory(0.0), 1, history=forecast.History(loads=packed))
    weighed = None
    if demand is not None:
        figures = {"offered": load, "expected": load, "horizonSeconds": 60, "capacity": demand}
        weighed = autoscaling.Demand.model_validate({**figures, "source": "Profile"})
    scaling = scaler.Scaling(fields.pop("mode", "Active"), fields.pop("before", 1), 1, 1, demand=weighed)
    return memories.Pass({UID: scaling}, {UID: known}, {UID: read(1, served=load)})


def answer(view: snapshot.Snapshot, found: memories.Pass, large: float, small: float) -> dict[Any, float]:
    """What the worker would find out."""
    return {
        question: large if question.spread == 0.05 else small
        for question in choosing.choose_all(view, found, {}, NOW).questions
    }


def choose(
    service: triton_service.TritonService | None = None,
    found: memories.Pass | None = None,
    large: float = 40.0,
    small: float = 10.0,
    **view: Any,
) -> choosing.Chosen:
    seen = make_view(service or make_service(), **view)
    known = found or make_pass()
    return choosing.choose_all(seen, known, answer(seen, known, large, small), NOW)


@pytest.mark.parametrize(
    ("fields", "reason", "moves"),
    [
        pytest.param({}, judging.CHEAPER, False, id="advice, as installed"),
        pytest.param(AUTO, judging.MOVED, True, id="the pool lets it move"),
        pytest.param({**AUTO, "free": 2}, judging.LACKING, False, id="too few are free"),
        pytest.param({**AUTO, "small": 8.0}, judging.BEST, False, id="it is right"),
        pytest.param(
            {**AUTO, "service": make_service(mode="Advisory"), "found": make_pass(mode="Advisory")},
            judging.CHEAPER,
            False,
            id="autoscaling only advises",
        ),
        pytest.param(
            {
                **AUTO,
                "service": make_service(
                    status={"rollout": {"revision": "b", "previous": "a", "phase": "Returned"}}
                ),
            },
            judging.CHEAPER,
            False,
            id="a rollout came back",
        ),
        pytest.param(
            {
                **AUTO,
                "service": make_service(
                    status={
                        "sliceChoice": {
                            "reason": "X",
                            "movedAt": NOW - datetime.timedelta(seconds=3599),
                        }
                    }
                ),
            },
            judging.CHEAPER,
            False,
            id="it has just moved",
        ),
        pytest.param(
            {"found": make_pass(demand=24.0), "small": 9.0},
            judging.CHEAPER,
            False,
            id="practice has shown that a server carries less than its profile says",
        ),
    ],
)
def test_who_is_told_what_and_who_moves(fields: dict[str, Any], reason: str, *, moves: bool) -> None:
    chosen = choose(**fields)
    [wanted] = chosen.wanted
    assert wanted.told.reason == reason
    assert wanted.told.message
    assert bool(chosen.moves) == moves
    if moves:
        assert chosen.moves[UID].accelerator.resource == SMALL
        assert (chosen.moves[UID].servers, wanted.told.servers, wanted.told.moved_at) == (3, 3, NOW)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"service": make_service(block={"count": 1})}, id="it asks for a device"),
        pytest.param(
            {"service": make_service(block={"memory": "9Gi"})}, id="the block is another than assigned"
        ),
        pytest.param({"service": make_service(objective=None)}, id="no objective"),
        pytest.param({"profiles": PROFILES[:1]}, id="nobody has measured another size"),
        pytest.param({"profiles": PROFILES[1:]}, id="nobody has measured the present size"),
        pytest.param({"service": make_service(memory="12Gi")}, id="the models would not fit"),
        pytest.param({"found": make_pass(hours=3.0)}, id="too little was seen"),
        pytest.param({"found": memories.Pass()}, id="nothing was seen"),
    ],
)
def test_nothing_is_said_where_nothing_is_known(fields: dict[str, Any]) -> None:
    chosen = choose(**fields, **AUTO)
    assert (chosen.wanted, chosen.moves) == ((), {})


def test_nothing_is_said_before_the_worker_knows() -> None:
    seen, known = make_view(make_service(), **AUTO), make_pass()
    chosen = choosing.choose_all(seen, known, {}, NOW)
    assert (len(chosen.questions), chosen.wanted, chosen.moves) == (2, (), {})


def test_services_are_looked_at_in_turn() -> None:
    seen, known = make_view(make_service(), **AUTO), make_pass()
    turns = [
        len(choosing.choose_all(seen, known, {}, NOW + datetime.timedelta(minutes=minute)).questions)
        for minute in range(5)
    ]
    assert turns == [2, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("before", "fields", "told"),
    [
        pytest.param({"reason": judging.CHEAPER, "resource": SMALL}, {}, False, id="the same word"),
        pytest.param({"reason": judging.CHEAPER, "resource": "x"}, {}, True, id="another slice"),
        pytest.param(
            {"reason": judging.MOVED, "resource": LARGE}, {"small": 8.0}, False, id="it has moved here"
        ),
        pytest.param(
            {"reason": judging.BEST, "resource": LARGE}, {"small": 8.0}, False, id="right as before"
        ),
        pytest.param(
            {"reason": judging.CHEAPER, "resource": SMALL},
            {"profiles": PROFILES[:1]},
            True,
            id="what it was said from is gone",
        ),
    ],
)
def test_status_is_written_for_words_and_not_for_figures(
    before: dict[str, Any], fields: dict[str, Any], *, told: bool
) -> None:
    chosen = choose(make_service(status={"sliceChoice": before}), **fields)
    assert bool(chosen.wanted) == told


def test_a_move_is_an_assignment_with_enough_servers() -> None:
    service = make_service()
    chosen = choose(service, **AUTO)
    view = make_view(service, **AUTO)
    found = make_pass()
    plan = assign.plan(view, found.scalings, NOW, moves=chosen.moves)
    [change] = plan.assignments
    assert change.value["replicas"] == 3
    assert change.value["accelerator"]["resource"] == SMALL
    assert change.value["requested"] == "memory=8Gi"


def test_two_services_do_not_move_onto_the_same_slices() -> None:
    turn = zlib.crc32(UID.encode()) % 5
    name = next(one for n in range(99) if zlib.crc32(f"uid-{(one := f'w{n}')}".encode()) % 5 == turn)
    services = [make_service(), make_service(name)]
    alone, known = make_view(services[0], free=4, **AUTO), make_pass()
    found = memories.Pass(
        *({one.metadata.uid: held[UID] for one in services} for held in (known.scalings, known.memories)),
        readings={one.metadata.uid: known.readings[UID] for one in services},
    )
    profiles = {one.metadata.uid: PROFILES for one in services}
    both = dataclasses.replace(alone, services=tuple(services), profiles=profiles)
    chosen = choosing.choose_all(both, found, answer(alone, known, 40.0, 10.0), NOW)
    assert [one.told.reason for one in chosen.wanted] == [judging.MOVED, judging.LACKING]
    assert chosen.moves.keys() == {UID}
