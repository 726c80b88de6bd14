"""kopf's thread: what it notes reaches our loop, and its end is never silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import kopf
import pytest

from gpufleet import settings
from gpufleet.handlers import watch

Run = Callable[[Any, threading.Event, Any], None]


def end(*_: Any) -> None:
    """kopf returns without a word."""


def fail(*_: Any) -> None:
    raise RuntimeError("the watcher is dead")


@pytest.mark.parametrize(
    ("run", "says"),
    [pytest.param(end, "has ended", id="ends"), pytest.param(fail, "the watcher is dead", id="fails")],
)
async def test_an_end_that_nobody_asked_for_is_an_error(
    run: Run, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_run_kopf", run)
    with pytest.raises(watch.WatchEndedError, match=says):
        await watch.run(settings.Settings(), lambda *_: None)


async def test_being_cancelled_stops_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started, stopped = threading.Event(), threading.Event()

    def run(_: Any, stop: threading.Event, __: Any) -> None:
        started.set()
        assert stop.wait(5)
        stopped.set()

    monkeypatch.setattr(watch, "_run_kopf", run)
    running = asyncio.create_task(watch.run(settings.Settings(), lambda *_: None))
    assert await asyncio.to_thread(started.wait, 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stopped.is_set()


async def test_events_are_noted_in_the_loop_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    notes: list[watch.Note] = []

    def build(_: Any, note: watch.Note) -> None:
        notes.append(note)

    def run(_: Any, stop: threading.Event, __: Any) -> None:
        notes[0]("GPUPool", "ADDED", {})
        stop.wait(5)

    monkeypatch.setattr(watch, "build_registry", build)
    monkeypatch.setattr(watch, "_run_kopf", run)

    def note(kind: str, event_type: str | None, _: dict[str, Any]) -> None:
        noted.put_nowait((kind, threading.current_thread().name))

    running = asyncio.create_task(watch.run(settings.Settings(), note))
    async with asyncio.timeout(5):
        assert await noted.get() == ("GPUPool", threading.main_thread().name)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_kopf_asks_for_nothing_longer_than_we_do_and_writes_nothing_of_its_own() -> None:
    kopf_settings = kopf.OperatorSettings()
    watch.configure_kopf(kopf_settings, settings.Settings(request_timeout_s=3))
    assert kopf_settings.networking.request_timeout == 3
    assert kopf_settings.posting.enabled is False
    assert kopf_settings.queueing.worker_limit is None
