"""Connections as the kernel lists them, and a drain that waits for them."""

from __future__ import annotations

import pathlib
import socket

import pytest

from gpufleet.agents.model import connections, main, settings

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
LINE = (
    "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 20 4 30 10 -1"
)
GRPC, HTTP, METRICS = "0A00000A:1F41", "0A00000A:1F40", "0A00000A:1F42"
CLIENT, LOOPBACK = "0B00000A:C350", "0100007F:C350"


@pytest.mark.parametrize(
    ("local", "remote", "state", "expected"),
    [
        pytest.param(GRPC, CLIENT, "01", 1, id="a channel"),
        pytest.param(HTTP, CLIENT, "01", 1, id="an HTTP connection"),
        pytest.param(METRICS, CLIENT, "01", 0, id="a scrape"),
        pytest.param(GRPC, LOOPBACK, "01", 0, id="the agent's own"),
        pytest.param(GRPC, CLIENT, "06", 0, id="one that is closed"),
        pytest.param("0A00000A:1F41", "00000000:0000", "0A", 0, id="the listener"),
        pytest.param(
            "0000000000000000FFFF00000A00000A:1F41",
            "0000000000000000FFFF00000B00000A:C350",
            "01",
            1,
            id="a mapped address",
        ),
        pytest.param(
            "0000000000000000FFFF00000100007F:1F41",
            "0000000000000000FFFF00000100007F:C350",
            "01",
            0,
            id="a mapped loopback",
        ),
    ],
)
def test_counts(tmp_path: pathlib.Path, local: str, remote: str, state: str, expected: int) -> None:
    table = tmp_path / "tcp"
    table.write_text(f"{HEAD}\n{LINE.format(local=local, remote=remote, state=state)}\n")
    ports = frozenset({8000, 8001})
    assert connections.count_clients(ports, [table, tmp_path / "tcp6"]) == expected


def test_the_machine_lists_what_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            assert connections.count_clients(frozenset({port})) == 0, "loopback does not count"
            shown = connections.TABLES[0].read_text()
            assert f"0100007F:{port:04X}" in shown


@pytest.mark.parametrize(
    ("left", "limit_s", "asked"),
    [pytest.param([0], 60.0, 1, id="nobody"), pytest.param([2, 1, 0], 60.0, 3, id="until the last has gone")],
)
async def test_a_drain_waits_for_clients(
    monkeypatch: pytest.MonkeyPatch, left: list[int], limit_s: float, asked: int
) -> None:
    monkeypatch.setattr(main, "_DRAIN_POLL_S", 0)
    seen = iter(left)
    counted: list[int] = []

    def count() -> int:
        counted.append(next(seen))
        return counted[-1]

    await main.drain(settings.AgentSettings(drain_s=0, drain_limit_s=limit_s), count)
    assert len(counted) == asked


async def test_a_drain_has_an_end() -> None:
    await main.drain(settings.AgentSettings(drain_s=0, drain_limit_s=0.01), lambda: 1)
