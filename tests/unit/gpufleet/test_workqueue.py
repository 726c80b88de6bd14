"""The queue: each key once, never twice at a time, failing ones less often."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpufleet import workqueue
from tests.unit.gpufleet.observe import fakes


def take_all(schedule: workqueue.Schedule[str], now_s: float) -> list[str]:
    taken = []
    while (key := schedule.take(now_s)) is not None:
        taken.append(key)
    return taken


def test_a_key_waits_once() -> None:
    schedule: workqueue.Schedule[str] = workqueue.Schedule()
    for due_s in (3.0, 1.0, 2.0):
        schedule.add("a", due_s)
    assert len(schedule) == 1
    assert schedule.take(0.9) is None
    assert take_all(schedule, 5) == ["a"]


def test_the_longest_due_goes_first() -> None:
    schedule: workqueue.Schedule[str] = workqueue.Schedule()
    for key, due_s in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        schedule.add(key, due_s)
    assert take_all(schedule, 2.5) == ["a", "b"]
    assert schedule.next_due_s() == 3.0


def test_a_change_during_work_is_worked_on_afterwards() -> None:
    schedule: workqueue.Schedule[str] = workqueue.Schedule()
    schedule.add("a", 0)
    schedule.take(0)
    schedule.add("a", 1)
    assert schedule.take(9) is None
    schedule.succeeded("a", None)
    assert schedule.take(9) == "a"


@pytest.mark.parametrize(
    ("failures", "delay_s"),
    [
        pytest.param(1, 0.5, id="first"),
        pytest.param(2, 1.0, id="doubles"),
        pytest.param(8, 60.0, id="a minute at most"),
        pytest.param(10_000, 60.0, id="for ever"),
    ],
)
def test_backoff(failures: int, delay_s: float) -> None:
    assert workqueue.compute_backoff_s(failures) == delay_s


def test_failures_back_off_whatever_happens_and_success_forgets_them() -> None:
    schedule: workqueue.Schedule[str] = workqueue.Schedule()
    schedule.add("a", 0)
    schedule.take(0)
    schedule.add("a", 0.1)
    assert schedule.failed("a", 10.0) == 0.5
    schedule.add("a", 10.1)
    assert schedule.take(10.4) is None
    assert schedule.take(10.5) == "a"
    assert schedule.failed("a", 11.0) == 1.0
    schedule.take(12.0)
    schedule.succeeded("a", None)
    schedule.add("a", 13.0)
    assert schedule.take(13.0) == "a"
    assert schedule.failed("a", 13.0) == 0.5


class ScheduleMachine(RuleBasedStateMachine):
    """No key is lost, none runs twice, whatever the order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule: workqueue.Schedule[str] = workqueue.Schedule()
        self.now_s = 0.0
        self.waiting: set[str] = set()
        self.running: set[str] = set()
        self.again: set[str] = set()

    @rule(key=st.sampled_from("abcd"), delay_s=st.floats(0, 5))
    def add(self, key: str, delay_s: float) -> None:
        self.schedule.add(key, self.now_s + delay_s)
        (self.again if key in self.running else self.waiting).add(key)

    @rule(passed_s=st.floats(0, 100))
    def take(self, passed_s: float) -> None:
        self.now_s += passed_s
        key = self.schedule.take(self.now_s)
        if key is not None:
            assert key in self.waiting
            assert key not in self.running
            self.waiting.discard(key)
            self.running.add(key)

    @rule(succeeds=st.booleans(), requeue_s=st.none() | st.floats(0, 9))
    def finish(self, succeeds: bool, requeue_s: float | None) -> None:
        if not self.running:
            return
        key = min(self.running)
        self.running.discard(key)
        if not succeeds:
            self.schedule.failed(key, self.now_s)
            self.waiting.add(key)
        else:
            self.schedule.succeeded(key, None if requeue_s is None else self.now_s + requeue_s)
            if requeue_s is not None or key in self.again:
                self.waiting.add(key)
        self.again.discard(key)

    @invariant()
    def holds_exactly_what_waits(self) -> None:
        assert len(self.schedule) == len(self.waiting)
        assert (self.schedule.next_due_s() is None) == (not self.waiting)


TestSchedule = ScheduleMachine.TestCase


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 9)), min_size=1, max_size=20))
def test_everything_added_is_taken(added: list[tuple[str, float]]) -> None:
    schedule: workqueue.Schedule[str] = workqueue.Schedule()
    for key, due_s in added:
        schedule.add(key, due_s)
    assert sorted(take_all(schedule, 10)) == sorted({key for key, _ in added})


@contextlib.asynccontextmanager
async def serving(queue: workqueue.WorkQueue[str], worker: object, workers: int = 3):  # type: ignore[no-untyped-def]
    task = asyncio.create_task(queue.run(worker, workers))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_changes_close_together_are_one_piece_of_work() -> None:
    queue: workqueue.WorkQueue[str] = workqueue.WorkQueue()
    done: list[str] = []
    finished = asyncio.Event()

    async def work(key: str) -> None:
        done.append(key)
        if key == "end":
            finished.set()

    async with serving(queue, work), asyncio.timeout(5):
        for _ in range(20):
            queue.add("a")
        queue.add_after("end", 0.3)
        await finished.wait()
    assert done == ["a", "end"]


async def test_one_key_never_runs_twice_at_once_and_others_go_on() -> None:
    queue: workqueue.WorkQueue[str] = workqueue.WorkQueue()
    running: set[str] = set()
    release, others, second = asyncio.Event(), asyncio.Event(), asyncio.Event()
    runs = 0

    async def work(key: str) -> None:
        nonlocal runs
        assert key not in running
        running.add(key)
        if key == "slow":
            runs += 1
            if runs == 2:
                second.set()
            await release.wait()
        else:
            others.set()
        running.discard(key)

    async with serving(queue, work), asyncio.timeout(5):
        queue.add_after("slow", 0)
        queue.add_after("quick", 0.05)
        await others.wait()
        queue.add_after("slow", 0)
        others.clear()
        queue.add_after("quick", 0)
        await others.wait()
        assert runs == 1
        release.set()
        await second.wait()


async def test_what_a_worker_asks_for_and_what_fails_comes_again() -> None:
    queue: workqueue.WorkQueue[str] = workqueue.WorkQueue()
    seen: list[str] = []
    finished = asyncio.Event()

    async def work(key: str) -> float | None:
        seen.append(key)
        if seen.count("fails") >= 2 and seen.count("again") >= 2:
            finished.set()
        if key == "fails" and seen.count("fails") == 1:
            raise RuntimeError("as told")
        return 0.01 if key == "again" and seen.count("again") == 1 else None

    async with serving(queue, work), asyncio.timeout(10):
        queue.add_after("again", 0)
        queue.add_after("fails", 0)
        await finished.wait()
    assert sorted(seen) == ["again", "again", "fails", "fails"]


async def test_an_alarm_wakes_soon_who_has_rested() -> None:
    manual = fakes.ManualClock()
    alarm = workqueue.Alarm(60.0, 0.01, manual)
    waiting = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    manual.time_s += 60
    alarm.ring()
    await asyncio.wait_for(waiting, 10)


async def test_what_rings_during_a_pause_is_one_piece_of_work() -> None:
    alarm = workqueue.Alarm(0.05)
    started_s = time.monotonic()
    waiting = asyncio.create_task(alarm.wait())
    for _ in range(3):
        alarm.ring()
        await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.wait_for(waiting, 10)
    assert time.monotonic() - started_s >= 0.05
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(alarm.wait(), 0.1)
