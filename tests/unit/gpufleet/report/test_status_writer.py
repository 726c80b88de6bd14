"""When status is written: at once where it says something new, later where only counts move."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet import kube
from gpufleet.report import status
from gpufleet.state import names
from tests.unit.gpufleet import memory
from tests.unit.gpufleet.observe import fakes

MOVING = [{"type": "Reconciling", "status": "True", "reason": "R", "message": ""}]
MOVING_ON = [{"type": "Reconciling", "status": "True", "reason": "Further", "message": ""}]
SETTLED = [{"type": "Reconciling", "status": "False", "reason": "R", "message": ""}]


class Case:
    """One service, its writer and a clock."""

    def __init__(self) -> None:
        self.client = memory.MemoryClient()
        self.clock = fakes.ManualClock()
        self.writer = status.StatusWriter(self.client, self.clock)  # type: ignore[arg-type]
        self.raw = self.add("vision")

    def add(self, name: str) -> dict[str, Any]:
        raw = fakes.build_raw(name, kind="TritonService", apiVersion="gpufleet.dev/v1alpha1")
        return self.client.add(raw)

    async def write(self, **wanted: Any) -> tuple[bool, float]:
        """Whether it was written, and in how many seconds it wants to be."""
        written, due_s = await self.writer.write(self.raw, wanted)
        if written is not None:
            self.raw = dict(written)
        return written is not None, due_s


async def test_what_is_new_is_written_and_what_is_known_is_not() -> None:
    case = Case()
    assert await case.write(conditions=SETTLED, replicas=1) == (True, 0.0)
    assert await case.write(conditions=SETTLED, replicas=1) == (False, 0.0)
    assert await case.write(conditions=SETTLED, replicas=2) == (True, 0.0)
    assert case.client.managers == [(names.FIELD_MANAGER, True)] * 2


async def test_counts_on_the_way_wait_and_are_written_when_due() -> None:
    case = Case()
    await case.write(conditions=MOVING, replicas=1)
    case.clock.time_s += 4
    assert await case.write(conditions=MOVING, replicas=2) == (False, 26.0)
    case.clock.time_s += 26
    assert await case.write(conditions=MOVING, replicas=3) == (True, 0.0)


async def test_news_on_the_way_waits_a_moment_for_what_completes_it() -> None:
    case = Case()
    await case.write(conditions=MOVING, replicas=1)
    assert await case.write(conditions=MOVING_ON, replicas=1) == (False, 1.0)
    case.clock.time_s += 0.4
    assert await case.write(conditions=MOVING_ON, replicas=1) == (False, pytest.approx(0.6))
    assert await case.write(conditions=SETTLED, replicas=2) == (True, 0.0)


async def test_news_on_the_way_is_written_when_nothing_follows() -> None:
    case = Case()
    await case.write(conditions=MOVING, replicas=1)
    await case.write(conditions=MOVING_ON, replicas=1)
    case.clock.time_s += 1
    assert await case.write(conditions=MOVING_ON, replicas=1) == (True, 0.0)


async def test_news_that_was_taken_back_leaves_no_trace() -> None:
    case = Case()
    await case.write(conditions=MOVING, replicas=1)
    await case.write(conditions=MOVING_ON, replicas=1)
    case.clock.time_s += 5
    assert await case.write(conditions=MOVING, replicas=1) == (False, 0.0)
    assert await case.write(conditions=MOVING_ON, replicas=1) == (False, 1.0)


async def test_a_decision_does_not_wait_for_counts() -> None:
    case = Case()
    await case.write(conditions=MOVING, replicas=1)
    assert await case.write(conditions=SETTLED, replicas=2) == (True, 0.0)


async def test_the_assignment_of_the_cycle_is_never_written() -> None:
    case = Case()
    case.raw["status"] = {"assignment": {"replicas": 3}}
    await case.write(conditions=SETTLED, assignment={"replicas": 9})
    [stored] = case.client.objects.values()
    assert "assignment" not in stored["status"]


async def test_a_namesake_never_gets_the_status_of_its_predecessor() -> None:
    case = Case()
    case.raw = {**case.raw, "metadata": {**case.raw["metadata"], "uid": "uid-former"}}
    with pytest.raises(kube.Conflict):
        await case.write(conditions=SETTLED)


async def test_nothing_is_remembered_of_objects_that_have_gone() -> None:
    case = Case()
    for number in range(50):
        case.raw = case.add(f"s{number}")
        await case.write(conditions=SETTLED)
        case.clock.time_s += 1
    assert len(case.writer.written_s) <= status.COUNTS_EVERY_S + 1
