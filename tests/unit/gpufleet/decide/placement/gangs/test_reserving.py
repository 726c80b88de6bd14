from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import assign, brakes
from gpufleet.decide.placement.gangs import waiting
from tests import builders
from tests.builders import NOW
from tests.unit.gpufleet.decide.placement.gangs.test_admission import NODES, POOL, gang, places
from tests.unit.gpufleet.decide.placement.gangs.test_preemption import running


def plan(others: list[Any], *queued: training_job.TrainingJob, left_s: Any = None) -> assign.Plan:
    view = builders.make_snapshot(
        NODES[:4],
        [pod for _, pods in others for pod in pods],
        pools=[POOL],
        jobs=[*(job for job, _ in others), *queued],
        live_workers={job.metadata.uid: len(pods) for job, pods in others},
        left_s=left_s or {},
    )
    return assign.plan(view, {}, NOW, brakes.NONE)


def told(others: list[Any], *queued: training_job.TrainingJob, **known: Any) -> dict[str, tuple[int, str]]:
    found = {one.name: one.value for one in plan(others, *queued, **known).assignments}
    return {name: (value["workers"], value["reason"]) for name, value in found.items()}


BIG = gang("big", workers=3, created_s=-9.0)
LACKS, RESERVED = (0, reasons.INSUFFICIENT_CAPACITY), (0, reasons.RESERVED)


def small(**spec: Any) -> training_job.TrainingJob:
    return gang("small", workers=1, **spec)


HOUR = running("a", "n0", ran_s=0.0, activeDeadlineSeconds=3600)
TWO_HOURS = running("b", "n1", ran_s=0.0, activeDeadlineSeconds=7200)
FOREVER = running("c", "n1", ran_s=0.0)


@pytest.mark.parametrize(
    ("others", "spec", "left_s", "expected"),
    [
        pytest.param([HOUR, FOREVER], {}, {}, RESERVED, id="it might stay for ever"),
        pytest.param([HOUR, FOREVER], {"activeDeadlineSeconds": 3570}, {}, (1, ""), id="it is over before"),
        pytest.param([HOUR, FOREVER], {"activeDeadlineSeconds": 3571}, {}, RESERVED, id="but for its grace"),
        pytest.param(
            [FOREVER, running("d", "n0")], {"activeDeadlineSeconds": 60}, {}, RESERVED, id="unknown ends"
        ),
        pytest.param(
            [FOREVER, running("d", "n0")],
            {"activeDeadlineSeconds": 60},
            {"uid-d": 90.0},
            (1, ""),
            id="a job tells its end",
        ),
        pytest.param(
            [HOUR, TWO_HOURS], {"activeDeadlineSeconds": 3700}, {}, RESERVED, id="the first to end counts"
        ),
    ],
)
def test_who_may_use_what_is_reserved(others: Any, spec: Any, left_s: Any, expected: tuple[int, str]) -> None:
    """Two of four nodes are free; the gang ahead needs three."""
    assert told(others, BIG, small(**spec), left_s=left_s) == {"big": LACKS, "small": expected}


def test_what_is_not_reserved_is_free_for_all() -> None:
    """The gang ahead needs a rack: that of a, which ends, and not the other one, in which c stays."""
    rack = gang("rack", workers=2, created_s=-9.0, topology={"required": "rack"})
    stays = running("c", "n2", ran_s=0.0)
    found = {one.name: one.value for one in plan([HOUR, stays], rack, small()).assignments}
    assert (found["rack"]["workers"], places(found["small"])) == (0, {"n3": 1})


def test_nothing_is_reserved_for_a_gang_that_can_never_start() -> None:
    foreign = builders.make_pod("foreign", node="n0", phase="Running", requests={builders.GPU: 1})
    view = builders.make_snapshot(
        NODES[:4], [foreign], pools=[POOL], jobs=[gang("whole", workers=4, created_s=-9.0), small()]
    )
    found = {one.name: one.value["workers"] for one in assign.assign(view, {}, NOW)}
    assert found == {"whole": 0, "small": 1}


def test_the_queue_tells_positions_and_an_estimate_with_its_basis() -> None:
    first, second = waiting.describe(plan([HOUR, FOREVER], BIG, small()).queue)
    assert (first.name, first.position, first.eta_s) == ("big", 1, 3600.0)
    assert first.basis == "default/a is the last of those before it: by its activeDeadlineSeconds"
    assert (second.name, second.position, second.eta_s) == ("small", 2, None)
    assert second.basis == "it is behind default/big"


def test_an_end_that_nobody_knows_is_said() -> None:
    [first] = waiting.describe(plan([FOREVER, running("d", "n0")], BIG).queue)
    assert (first.eta_s, first.basis) == (None, "nobody knows when default/c ends")
