"""When requests are sent: so many at a time, or at a rate whatever the server does.

An open loop sends at its rate while the server is slow, so that waiting shows in the latencies; a closed
loop would send less and hide it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable

from gpufleet import clock
from gpufleet.agents.load import outcome

Send = Callable[[int], Awaitable[None]]
"""Sends one request over the numbered channel. Raises what the client raises."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """`rate` requests a second, arriving as a Poisson process; 0: `concurrency` at a time, one after another.

    `count` ends the run early; `retries` are attempts after a failure, `retry_after_s` later: gRPC itself
    waits a second before it connects again.
    """

    seconds: float
    concurrency: int = 1
    rate: float = 0.0
    count: int = 0
    retries: int = 0
    retry_after_s: float = 2.0
    seed: int = 1


async def drive(
    plan: Plan, send: Send, time: clock.Clock, found: outcome.Outcome | None = None
) -> outcome.Outcome:
    """Runs the plan and waits for what is in flight. `found` is filled as it goes."""
    found = outcome.Outcome() if found is None else found
    started_s = time.monotonic_s()
    run = _open_loop if plan.rate else _closed_loop
    await run(plan, send, time, found)
    found.duration_s = time.monotonic_s() - started_s
    return found


async def _closed_loop(plan: Plan, send: Send, time: clock.Clock, found: outcome.Outcome) -> None:
    until_s = time.monotonic_s() + plan.seconds

    async def work(channel: int) -> None:
        while time.monotonic_s() < until_s and not (plan.count and found.sent >= plan.count):
            found.sent += 1
            await _send_one(plan, send, time, channel, time.monotonic_s(), found)

    await asyncio.gather(*(work(channel) for channel in range(plan.concurrency)))


async def _open_loop(plan: Plan, send: Send, time: clock.Clock, found: outcome.Outcome) -> None:
    """Latency counts from when a request was due, so that a sender that lags hides nothing."""
    arrivals = random.Random(plan.seed)
    started_s = time.monotonic_s()
    due_s, running = 0.0, set[asyncio.Task[None]]()
    while not (plan.count and found.sent >= plan.count):
        due_s += arrivals.expovariate(plan.rate)
        if due_s > plan.seconds:
            break
        wait_s = started_s + due_s - time.monotonic_s()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        channel = found.sent % plan.concurrency
        found.sent += 1
        task = asyncio.create_task(_send_one(plan, send, time, channel, started_s + due_s, found))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


async def _send_one(
    plan: Plan, send: Send, time: clock.Clock, channel: int, due_s: float, found: outcome.Outcome
) -> None:
    for attempt in range(plan.retries + 1):
        try:
            await send(channel)
        except Exception as error:
            if attempt < plan.retries:
                found.retried += 1
                await asyncio.sleep(plan.retry_after_s)
                continue
            found.failed += 1
            found.errors[str(error)[:200]] += 1
        else:
            found.latencies_ms.append(1000 * (time.monotonic_s() - due_s))
        return
