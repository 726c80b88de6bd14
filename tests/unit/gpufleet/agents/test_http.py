"""Answers that come when there is something to tell, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import pathlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gpufleet.agents.model import http, keeper, server, settings
from tests.unit.gpufleet.observe import fakes

LONG_S = 20
"""More than any test takes: an answer that comes only then is no answer."""


@dataclasses.dataclass
class FakeServer:
    """A server that nobody has started, or that answers, or hangs."""

    error: type[Exception] | None = server.ServerDownError

    async def loaded(self) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        return {}

    async def load(self, name: str, config: str, *, is_ensemble: bool = False) -> None:
        raise AssertionError

    async def unload(self, name: str) -> None:
        raise AssertionError


@dataclasses.dataclass
class Case:
    """The agent's server, and who asks it."""

    kept: keeper.Keeper
    triton: FakeServer
    session: aiohttp.ClientSession
    drained: asyncio.Event
    time: fakes.ManualClock

    async def ask(self, path: str) -> int:
        async with asyncio.timeout(LONG_S / 2), self.session.get(path) as answer:
            return answer.status

    def asking(self, path: str) -> asyncio.Task[int]:
        return asyncio.create_task(self.ask(path))


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
async def case(tmp_path: pathlib.Path) -> AsyncIterator[Case]:
    port, triton, drained, time = find_port(), FakeServer(), asyncio.Event(), fakes.ManualClock()
    config = settings.AgentSettings(host="127.0.0.1", port=port, state=tmp_path / "loaded.json")
    kept = keeper.Keeper(config, triton, time)

    async def drain() -> None:
        await drained.wait()

    async with (
        http.serving(kept, drain),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield Case(kept, triton, session, drained, time)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/healthz", 200, id="the agent lives"),
        pytest.param("/readyz", 503, id="nothing is loaded"),
        pytest.param("/livez", 200, id="Triton may be starting"),
        pytest.param("/readyz?wait=0.01", 503, id="nothing is loaded in time"),
        pytest.param("/readyz?wait=soon", 503, id="no number"),
        pytest.param("/readyz?wait=-1", 503, id="less than no time"),
        pytest.param("/models", 200, id="the report"),
    ],
)
async def test_answers_before_anything_is_up(case: Case, path: str, expected: int) -> None:
    assert await case.ask(path) == expected


async def test_a_probe_that_waits_is_answered_when_the_models_are_ready(case: Case) -> None:
    probe = case.asking(f"/readyz?wait={LONG_S}")
    assert await case.ask("/readyz") == 503
    assert not probe.done()
    case.kept.opened.set()
    assert await probe == 200


@pytest.mark.parametrize(
    ("error", "after_s", "expected"),
    [
        pytest.param(None, 0, 200, id="it answers"),
        pytest.param(server.ServerDownError, 599, 200, id="it is starting"),
        pytest.param(server.ServerDownError, 600, 503, id="it does not start"),
        pytest.param(server.NoAnswerError, 0, 503, id="it hangs"),
    ],
)
async def test_triton_lives(case: Case, error: type[Exception] | None, after_s: float, expected: int) -> None:
    case.triton.error = error
    await case.ask("/livez")
    case.time.time_s += after_s
    assert await case.ask("/livez") == expected


async def test_a_server_that_comes_back_may_take_as_long_again(case: Case) -> None:
    await case.ask("/livez")
    case.triton.error = None
    await case.ask("/livez")
    case.time.time_s += 599
    case.triton.error = server.ServerDownError
    assert await case.ask("/livez") == 200
    case.time.time_s += 599
    assert await case.ask("/livez") == 200


@pytest.mark.parametrize("is_draining", [pytest.param(True, id="draining"), pytest.param(False, id="lost")])
async def test_that_traffic_may_no_longer_come_is_told_at_once(case: Case, is_draining: bool) -> None:
    case.kept.opened.set()
    assert await case.ask(f"/readyz?wait={LONG_S}") == 200
    if is_draining:
        case.kept.is_draining = True
    else:
        case.kept.opened.clear()
    assert await case.ask("/readyz") == 503, (
        "whoever asks without waiting takes no news away from the kubelet"
    )
    assert await case.ask(f"/readyz?wait={LONG_S}") == 503


async def test_it_opens_again_after_it_was_closed(case: Case) -> None:
    case.kept.opened.set()
    for _ in range(2):
        assert await case.ask(f"/readyz?wait={LONG_S}") == 200
        case.kept.opened.clear()
        assert await case.ask(f"/readyz?wait={LONG_S}") == 503
        probe = case.asking(f"/readyz?wait={LONG_S}")
        case.kept.opened.set()
        assert await probe == 200


async def test_the_hook_is_answered_when_all_has_drained(case: Case) -> None:
    hook = case.asking("/prestop")
    while not case.kept.is_draining:  # noqa: ASYNC110 - set by the hook's own request
        await asyncio.sleep(0.001)
    assert await case.ask("/readyz") == 503
    assert not hook.done()
    case.drained.set()
    assert await hook == 200


async def test_a_probe_that_waits_does_not_hold_up_the_end(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_STOP_S", 0.01)
    port = find_port()
    kept = keeper.Keeper(settings.AgentSettings(host="127.0.0.1", port=port), FakeServer())
    async with asyncio.timeout(LONG_S / 2), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with http.serving(kept, asyncio.Event().wait):  # type: ignore[arg-type]
            probe = asyncio.create_task(session.get(f"/readyz?wait={LONG_S}"))
            async with session.get("/healthz") as answer:
                assert answer.status == 200
        with contextlib.suppress(aiohttp.ClientError):
            await probe
