from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from gpufleet import clock
from gpufleet.agents.model import keeper, main, server, settings


@dataclasses.dataclass
class FakeServer:
    """A repository in memory that refuses the models it is told to."""

    broken: set[str] = dataclasses.field(default_factory=set)
    running: dict[str, str] = dataclasses.field(default_factory=dict)
    calls: list[str] = dataclasses.field(default_factory=list)
    is_down: bool = False

    async def loaded(self) -> frozenset[str]:
        if self.is_down:
            raise server.ServerDownError
        return frozenset(self.running)

    async def load(self, name: str, config: str) -> None:
        self.calls.append(f"load {name}")
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
        wanted=folder / "models.json", models=folder / "models", key=folder / "key"
    )
    return keeper.Keeper(config, fake, clock.SystemClock())


def write(folder: pathlib.Path, *names: str, config: str = "1") -> None:
    models = [{"name": name, "config": {"name": name, "version": config}} for name in names]
    (folder / "models.json").write_text(json.dumps({"revision": "-".join(names), "models": models}))


async def test_models_come_change_and_go(folder: pathlib.Path) -> None:
    fake = FakeServer()
    kept = make(folder, fake)
    write(folder, "a", "b")
    await kept.step()
    assert (set(fake.running), kept.is_ready) == ({"a", "b"}, True)
    await kept.step()
    assert fake.calls == ["load a", "load b"], "what is as wanted is left alone"
    write(folder, "b", config="2")
    await kept.step()
    assert fake.calls[2:] == ["unload a", "load b"]
    assert [one.state for one in kept.report().models] == ["Ready"]


async def test_a_refused_model_is_reported_and_the_others_serve(folder: pathlib.Path) -> None:
    fake = FakeServer(broken={"bad"})
    kept = make(folder, fake)
    write(folder, "good", "bad")
    await kept.step()
    assert kept.is_ready
    assert {one.name: (one.state, one.message) for one in kept.report().models} == {
        "good": ("Ready", ""),
        "bad": ("Failed", "no weights"),
    }


async def test_a_server_that_restarted_gets_its_models_again(folder: pathlib.Path) -> None:
    fake = FakeServer()
    kept = make(folder, fake)
    write(folder, "a")
    await kept.step()
    fake.running.clear()
    await kept.step()
    assert fake.calls == ["load a", "load a"]
    assert kept.is_ready


async def test_a_server_that_is_down_is_said_to_be(folder: pathlib.Path) -> None:
    fake = FakeServer(is_down=True)
    write(folder, "a")
    with pytest.raises(server.ServerDownError):
        await make(folder, fake).step()


def test_the_key_is_made_once_and_only_its_owner_may_read_it(folder: pathlib.Path) -> None:
    config = settings.AgentSettings(key=folder / "key")
    first = main.make_key(config)
    assert main.make_key(config) == first
    assert len(first) == 64
    assert (folder / "key").stat().st_mode & 0o777 == 0o400
