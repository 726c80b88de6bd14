from __future__ import annotations

import pathlib

import aiohttp
import pytest
from aiohttp import web

from gpufleet import exporter
from gpufleet.simgpu import dcgm
from tests.unit.gpufleet.simgpu import builders


async def get(folder: pathlib.Path, path: str, reason: str | None) -> tuple[int, str]:
    app = exporter.build_app(dcgm.Exporter("node-a", builders.FakeClock()), lambda: reason)
    runner = web.AppRunner(app)
    await runner.setup()
    socket = str(folder / "http.sock")
    await web.UnixSite(runner, socket).start()
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session,
            session.get(f"http://node{path}") as response,
        ):
            return response.status, await response.text()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "reason", "status", "text"),
    [
        pytest.param("/healthz", "not registered", 200, "ok", id="alive though not ready"),
        pytest.param("/readyz", None, 200, "ok", id="ready"),
        pytest.param("/readyz", "not registered", 503, "not registered", id="not ready, with the reason"),
        pytest.param("/metrics", None, 200, "# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge", id="metrics"),
    ],
)
async def test_paths(tmp_path: pathlib.Path, path: str, reason: str | None, status: int, text: str) -> None:
    found_status, found_text = await get(tmp_path, path, reason)
    assert found_status == status
    assert text in found_text
