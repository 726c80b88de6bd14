"""How the process ends: when told to, or by what its work ends with."""

from __future__ import annotations

import asyncio

import pytest

from gpufleet.handlers import operator


async def test_work_is_cancelled_when_told_to_stop() -> None:
    stop, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async with asyncio.timeout(5):
        await operator.run_until(stop, work)
    assert cleaned.is_set()


async def test_the_error_of_the_work_comes_through() -> None:
    async def work() -> None:
        raise RuntimeError("the watch has ended")

    with pytest.raises(RuntimeError, match="the watch has ended"):
        await operator.run_until(asyncio.Event(), work)


async def test_being_cancelled_cancels_the_work() -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    running = asyncio.create_task(operator.run_until(asyncio.Event(), work))
    async with asyncio.timeout(5):
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert cleaned.is_set()
