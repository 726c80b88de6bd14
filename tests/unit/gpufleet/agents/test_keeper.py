from __future__ import annotations

import asyncio
import dataclasses
import json
import pathlib
from collections.abc import Callable

import pytest

from gpufleet import clock
from gpufleet.agents.model import keeper, key, server, settings


@dataclasses.dataclass
class FakeServer:
    """A repository in memory that refuses the models it is told to."""

    broken: set[str] = dataclasses.field(default_factory=set)
    running: dict[str, str] = dataclasses.field(default_factory=dict)
    calls: list[str] = dataclasses.field(default_factory=list)
    is_down: bool = False
    is_silent: bool = False
    looks: int = 0
    gates: dict[str, asyncio.Event] = dataclasses.field(default_factory=dict)
    """A model here loads only once its gate is open."""

    async def loaded(self) -> dict[str, str]:
        self.looks += 1
        if self.is_down:
            raise server.ServerDownError
        if self.is_silent:
            raise server.NoAnswerError
        return dict.fromkeys(self.running, "1")

    async def load(self, name: str, config: str, *, is_ensemble: bool = False) -> None:
        self.calls.append(f"load {name}")
        if name in self.gates:
            await self.gates[name].wait()
        if name in self.broken:
            raise server.LoadError("no weights")
        self.running[name] = config

    async def unload(self, name: str) -> None:
        self.calls.append(f"unload {name}")
        del self.running[name]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "models").mkdir()
    return tmp_path


def make(folder: pathlib.Path, fake: FakeServer) -> keeper.Keeper:
    config = settings.AgentSettings(
        wanted=folder / "models.json",
        models=folder / "models",
        key=folder / "key",
        state=folder / "loaded.json",
        poll_s=0.001,
        drain_s=0.0,
    )
    return keeper.Keeper(config, fake, clock.SystemClock())


async def settle(kept: keeper.Keeper) -> None:
    """One step, and all loads that it started."""
    await kept.step()
    await asyncio.gather(*kept.loads.values())


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


def write(folder: pathlib.Path, *names: str, config: str = "1") -> None:
    models = [{"name": name, "config": {"name": name, "version": config}} for name in names]
    (folder / "models.json").write_text(json.dumps({"revision": "-".join(names), "models": models}))


async def test_models_come_change_and_go(folder: pathlib.Path) -> None:
    fake = FakeServer()
    kept = make(folder, fake)
    write(folder, "a", "b")
    await settle(kept)
    assert (set(fake.running), kept.is_ready) == ({"a", "b"}, True)
    await settle(kept)
    assert fake.calls == ["load a", "load b"], "what is as wanted is left alone"
    write(folder, "b", config="2")
    await settle(kept)
    assert fake.calls[2:] == ["unload a", "load b"]
    assert [one.state for one in kept.report().models] == ["Ready"]


async def test_a_list_is_answered_with_the_versions_that_answer(folder: pathlib.Path) -> None:
    kept = make(folder, FakeServer())
    write(folder, "a")
    await settle(kept)
    assert kept.report().revision == "", "what answers is seen at the next look"
    await kept.step()
    report = kept.report()
    assert (report.revision, [one.versions for one in report.models]) == ("a", ["1"])
    assert report.models[0].load_ms is not None


async def test_a_refused_model_is_reported_and_the_others_serve(folder: pathlib.Path) -> None:
    fake = FakeServer(broken={"bad"})
    kept = make(folder, fake)
    write(folder, "good", "bad")
    await settle(kept)
    assert kept.is_ready
    assert {one.name: (one.state, one.message) for one in kept.report().models} == {
        "good": ("Ready", ""),
        "bad": ("Failed", "no weights"),
    }


async def test_a_server_that_restarted_gets_its_models_again(folder: pathlib.Path) -> None:
    fake = FakeServer()
    kept = make(folder, fake)
    write(folder, "a")
    await settle(kept)
    fake.running.clear()
    await settle(kept)
    assert fake.calls == ["load a", "load a"]
    assert kept.is_ready


async def test_a_server_that_is_down_is_said_to_be(folder: pathlib.Path) -> None:
    fake = FakeServer(is_down=True)
    write(folder, "a")
    with pytest.raises(server.ServerDownError):
        await make(folder, fake).step()


async def test_a_long_load_delays_no_other_change(folder: pathlib.Path) -> None:
    fake = FakeServer(gates={"slow": asyncio.Event()})
    kept = make(folder, fake)
    write(folder, "a", "kept")
    await settle(kept)
    await kept.step()
    write(folder, "a", "kept", "slow")
    await kept.step()
    await wait_until(lambda: "load slow" in fake.calls)
    write(folder, "b", "kept", "slow")
    await kept.step()
    await wait_until(lambda: "b" in fake.running)
    await kept.step()
    assert fake.calls[2:] == ["load slow", "unload a", "load b"], "and slow is asked for once"
    assert kept.is_ready
    assert kept.report().revision == "a-kept", (
        "the list is not answered before the last of its models was tried"
    )
    fake.gates["slow"].set()
    await settle(kept)
    await kept.step()
    assert kept.report().revision == "b-kept-slow"


async def test_an_agent_that_restarts_loads_nothing_again(folder: pathlib.Path) -> None:
    fake = FakeServer()
    write(folder, "a", "b")
    await settle(make(folder, fake))
    again = make(folder, fake)
    await again.step()
    assert again.is_ready
    assert fake.calls == ["load a", "load b"]


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}'])
async def test_a_spoilt_memory_costs_a_load_and_no_more(folder: pathlib.Path, text: str) -> None:
    fake = FakeServer()
    (folder / "loaded.json").write_text(text)
    write(folder, "a")
    kept = make(folder, fake)
    await settle(kept)
    assert (kept.is_ready, fake.calls) == (True, ["load a"])


async def test_a_server_that_does_not_answer_in_time_loses_nothing(folder: pathlib.Path) -> None:
    fake = FakeServer()
    kept = make(folder, fake)
    write(folder, "a")
    await settle(kept)
    fake.is_silent = True
    with pytest.raises(server.NoAnswerError):
        await kept.step()
    assert kept.is_ready
    fake.is_silent = False
    await settle(kept)
    assert fake.calls == ["load a"]


async def test_readiness_goes_and_comes_with_the_server(folder: pathlib.Path) -> None:
    fake = FakeServer()
    kept = make(folder, fake)
    write(folder, "a")
    task = asyncio.create_task(kept.run())
    try:
        await wait_until(lambda: kept.is_ready)
        kept.is_draining = True
        fake.is_down = True
        await wait_until(lambda: not kept.is_ready)
        fake.running.clear()
        fake.is_down = False
        await wait_until(lambda: kept.is_ready)
        assert not kept.is_draining, "what was drained is the server that ended"
    finally:
        task.cancel()


async def test_a_list_that_cannot_be_read_changes_nothing(folder: pathlib.Path) -> None:
    fake = FakeServer()
    kept = make(folder, fake)
    write(folder, "a")
    await settle(kept)
    (folder / "models.json").write_text("{")
    with pytest.raises(ValueError):
        await kept.step()
    assert (kept.is_ready, set(fake.running)) == (True, {"a"})
    write(folder, "b")
    await settle(kept)
    assert set(fake.running) == {"b"}


async def test_run_survives_a_list_that_cannot_be_read(folder: pathlib.Path) -> None:
    kept = make(folder, FakeServer())
    task = asyncio.create_task(kept.run())
    try:
        write(folder, "a")
        await wait_until(lambda: kept.is_ready)
    finally:
        task.cancel()


def test_the_key_is_made_once_and_only_its_owner_may_read_it(folder: pathlib.Path) -> None:
    config = settings.AgentSettings(key=folder / "key")
    first = key.ensure(config.key)
    assert key.ensure(config.key) == first
    assert len(first) == 64
    assert (folder / "key").stat().st_mode & 0o777 == 0o400
