"""When the agent ends: after Triton, which the kubelet stops at the same moment."""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys

import pytest

from gpufleet.agents.model import keeper, main, server, settings
from gpufleet_sandbox import kubectl

SOON_S = 0.05


@pytest.fixture
async def kept(monkeypatch: pytest.MonkeyPatch) -> keeper.Keeper:
    monkeypatch.setattr(main, "_DRAIN_POLL_S", 0.001)
    return keeper.Keeper(settings.AgentSettings(), server.Server("127.0.0.1:9", "key", "secret", 1))


async def stays(ending: asyncio.Task[None]) -> bool:
    done, _ = await asyncio.wait({ending}, timeout=SOON_S)
    return not done


async def test_it_stays_until_the_server_that_drains_has_gone(kept: keeper.Keeper) -> None:
    stop = asyncio.Event()
    ending = asyncio.create_task(main.wait_for_end(stop, kept, prestop_s=60))
    assert await stays(ending), "nobody has told it to stop"
    stop.set()
    assert await stays(ending), "the hook of Triton's container is yet to come"
    kept.is_draining = True
    assert await stays(ending), "Triton drains"
    kept.is_draining = False
    await asyncio.wait_for(ending, 10)


async def test_it_goes_where_no_server_asks_to_drain(kept: keeper.Keeper) -> None:
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(main.wait_for_end(stop, kept, prestop_s=SOON_S), 10)


def test_the_process_makes_the_key_by_which_triton_starts(tmp_path: pathlib.Path) -> None:
    key = tmp_path / "key"
    values = {"KEY": key, "STATE": tmp_path / "state", "HOST": "127.0.0.1", "PORT": "0"}
    surroundings = {f"GPUFLEET_AGENT_{name}": str(value) for name, value in values.items()}
    argv = [sys.executable, "-m", "gpufleet.agents.model"]
    with subprocess.Popen(argv, env={**os.environ, **surroundings}) as process:
        try:
            kubectl.wait_until("the key", key.exists, timeout_s=30, every_s=0.01)
            assert len(key.read_text()) == 64
        finally:
            process.kill()


def test_nothing_large_is_imported_before_the_first_load() -> None:
    large = "{'numpy', 'pydantic', 'aiohttp', 'tritonclient'}"
    script = f"import sys, gpufleet.agents.model.main; print({large} & sys.modules.keys() or 'none')"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "none", "every server would be that much later"
