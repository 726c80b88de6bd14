"""Open and closed loops against a server of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from gpufleet import clock
from gpufleet.agents.load import outcome, traffic

CLOCK = clock.SystemClock()


async def test_a_closed_loop_keeps_its_concurrency_and_ends_at_its_count() -> None:
    running, most = 0, 0

    async def send(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    found = await traffic.drive(traffic.Plan(30, concurrency=3, count=30), send, CLOCK)
    assert (found.sent, found.failed, len(found.latencies_ms), most) == (30, 0, 30, 3)


async def test_an_open_loop_sends_while_the_server_is_stuck() -> None:
    stuck, waiting = asyncio.Event(), 0

    async def send(_: int) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            stuck.set()
        await stuck.wait()

    found = await traffic.drive(traffic.Plan(60, rate=2000, count=20), send, CLOCK)
    assert (found.sent, len(found.latencies_ms), waiting) == (20, 20, 20)


@pytest.mark.parametrize(
    ("fails", "retries", "expected"),
    [
        pytest.param(0, 0, (4, 0, 0), id="all well"),
        pytest.param(1, 0, (4, 1, 0), id="one fails"),
        pytest.param(1, 1, (4, 0, 1), id="one fails and is sent again"),
        pytest.param(9, 1, (4, 4, 4), id="all fail twice"),
    ],
)
async def test_failures_are_counted(fails: int, retries: int, expected: tuple[int, int, int]) -> None:
    left = fails

    async def send(_: int) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ConnectionError("no server")

    found = await traffic.drive(traffic.Plan(30, count=4, retries=retries, retry_after_s=0), send, CLOCK)
    assert (found.sent, found.failed, found.retried) == expected
    assert dict(found.errors) == ({"no server": found.failed} if found.failed else {})


def test_the_summary() -> None:
    found = outcome.Outcome(sent=100, latencies_ms=[float(one) for one in range(100, 0, -1)], duration_s=2.0)
    told = found.to_json()
    assert told["throughput"] == 50.0
    assert told["latencyMilliseconds"] == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "mean": 50.5}
