"""The label protocol, against a node whose API is a dictionary."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gpufleet.simgpu import faults, inventory, kube, labels, migmanager, node, podresources
from tests.unit.gpufleet.simgpu import builders

DEADLINE_S = 20.0
CONFIGS = """
version: v1
mig-configs:
  halves: [{devices: all, mig-enabled: true, mig-devices: {3g.40gb: 2}}]
  whole: [{devices: all, mig-enabled: true, mig-devices: {7g.80gb: 1}}]
  wrong: [{devices: all, mig-enabled: true, mig-devices: {1g.5gb: 1}}]
"""


class FakeNode:
    """The node in the API server: takes merge patches, hands every state to the view, keeps the states."""

    def __init__(self, **labels: str) -> None:
        self.labels = dict(labels)
        self.annotations: dict[str, str] = {}
        self.view = node.NodeView(self.body())
        self.states: list[str] = []
        self.patches: list[dict[str, Any]] = []
        self.failures = 0

    def body(self) -> dict[str, Any]:
        metadata = {"name": "node-a", "labels": dict(self.labels), "annotations": dict(self.annotations)}
        return {"metadata": metadata, "status": {"nodeInfo": {"bootID": "boot-1"}}}

    async def set(self, labels: dict[str, str | None], annotations: dict[str, str] | None = None) -> None:
        for key, value in labels.items():
            self.labels.pop(key, None)
            if value is not None:
                self.labels[key] = value
        self.annotations = annotations if annotations is not None else self.annotations
        await self.view.update(self.body())

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.failures:
            self.failures -= 1
            raise kube.ApiError(503, "not now")
        assert path == "/api/v1/nodes/node-a"
        self.patches.append(body["metadata"]["labels"])
        if state := body["metadata"]["labels"].get(node.MIG_STATE):
            self.states.append(state)
        await self.set(body["metadata"]["labels"])
        return self.body()


class SteadyHoldings(podresources.Holdings):
    """Whoever holds a device goes on holding it."""

    async def refresh(self) -> None:
        return


class Node:
    """A manager and a publisher on a fake node."""

    def __init__(self, stock: inventory.Inventory, tmp_path: pathlib.Path) -> None:
        self.api = FakeNode()
        self.stock = stock
        self.commits = 0
        holdings = SteadyHoldings(tmp_path / "none.sock", stock, builders.FakeClock())
        self.publisher = node.Publisher(self.api, self.api.view, stock, "node-a")  # type: ignore[arg-type]
        self.manager = migmanager.MigManager(
            stock, self.api.view, holdings, self.publisher.publish, self.commit, reconfigure_s=0
        )

    async def commit(self) -> None:
        self.commits += 1
        await self.stock.changed()

    async def request(self, name: str | None) -> None:
        await self.api.set({node.MIG_CONFIG: name})

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def until_states(self, *states: str) -> None:
        await self.until(lambda: len(self.api.states) >= len(states))
        assert self.api.states == list(states)


@contextlib.asynccontextmanager
async def running(stock: inventory.Inventory, tmp_path: pathlib.Path) -> AsyncIterator[Node]:
    made = Node(stock, tmp_path)
    await made.manager.update_configs({"data": {"config.yaml": CONFIGS}})
    tasks = [
        asyncio.create_task(part())
        for part in (made.manager.run, made.publisher.run_on_gpus, made.publisher.run_on_node)
    ]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_change_is_pending_then_success_with_labels_that_fit(tmp_path: pathlib.Path) -> None:
    async with running(builders.stock_of(None), tmp_path) as made:
        await made.request("halves")
        await made.until_states("pending", "success")
        assert made.stock.gpus[0].layout.counts == {"3g.40gb": 2}
        assert made.api.labels["nvidia.com/mig-3g.40gb.count"] == "2"
        await made.request("whole")
        await made.until_states("pending", "success", "pending", "success")
        assert "nvidia.com/mig-3g.40gb.count" not in made.api.labels
        assert made.commits == 2


async def test_a_layout_that_is_there_already_is_success_without_pending(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"))
    before = builders.uuids(stock)
    async with running(stock, tmp_path) as made:
        await made.request("halves")
        await made.until_states("success")
    assert builders.uuids(stock) == before


@pytest.mark.parametrize(
    ("name", "states"),
    [
        pytest.param("no-such", ["failed"], id="unknown configuration"),
        pytest.param("wrong", ["failed"], id="profile of another model"),
        pytest.param("all-balanced", ["pending", "success"], id="built in"),
    ],
)
async def test_requests(tmp_path: pathlib.Path, name: str, states: list[str]) -> None:
    async with running(builders.stock_of(None), tmp_path) as made:
        await made.request(name)
        await made.until_states(*states)


async def test_a_held_instance_is_failed_and_never_evicted(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"))
    first, second = builders.uuids(stock)
    stock.set_busy([second])
    async with running(stock, tmp_path) as made:
        await made.request("whole")
        await made.until_states("pending", "failed")
        await made.until(lambda: made.api.labels.get("nvidia.com/mig-3g.40gb.count") == "1")
    assert builders.uuids(stock) == [second]
    assert first != second


async def test_the_same_value_again_does_nothing_and_another_round_trip_does(tmp_path: pathlib.Path) -> None:
    async with running(builders.stock_of(None), tmp_path) as made:
        await made.api.set({}, {faults.ANNOTATION: "mig-failed"})
        await made.request("halves")
        await made.until_states("pending", "failed")
        await made.api.set({}, {})
        await made.request("halves")
        await made.manager.update_configs({"data": {"config.yaml": CONFIGS}})
        await made.request("whole")
        await made.until_states("pending", "failed", "pending", "success")
        assert made.stock.gpus[0].layout.counts == {"7g.80gb": 1}


async def test_a_stuck_change_stays_pending_until_the_fault_is_lifted(tmp_path: pathlib.Path) -> None:
    async with running(builders.stock_of(None), tmp_path) as made:
        await made.api.set({}, {faults.ANNOTATION: "mig-stuck"})
        await made.request("halves")
        await made.until_states("pending")
        assert made.stock.gpus[0].mig_enabled is False
        await made.api.set({}, {})
        await made.until_states("pending", "success")


async def test_a_broken_file_leaves_the_last_good_one_in_force(tmp_path: pathlib.Path) -> None:
    async with running(builders.stock_of(None), tmp_path) as made:
        await made.manager.update_configs({"data": {"config.yaml": "version: v9"}})
        await made.request("halves")
        await made.until_states("pending", "success")


async def test_a_deleted_file_leaves_the_built_in_configurations(tmp_path: pathlib.Path) -> None:
    async with running(builders.stock_of(None), tmp_path) as made:
        await made.manager.update_configs(None)
        await made.request("halves")
        await made.until_states("failed")
        await made.request("all-1g.10gb")
        await made.until_states("failed", "pending", "success")


async def test_labels_changed_by_hand_are_put_right(tmp_path: pathlib.Path) -> None:
    async with running(builders.stock_of(None), tmp_path) as made:
        await made.until(lambda: made.api.labels.get("nvidia.com/gpu.count") == "1")
        await made.api.set({"nvidia.com/gpu.count": "8", "nvidia.com/mig-7g.80gb.count": "1"})
        await made.until(lambda: made.api.labels == labels.build_labels(made.stock))


async def test_a_node_that_is_as_it_should_be_costs_no_writes(tmp_path: pathlib.Path) -> None:
    made = Node(builders.stock_of(("3g.40gb",)), tmp_path)
    await made.publisher.publish()
    await made.publisher.publish()
    assert len(made.api.patches) == 1


async def test_a_write_is_repeated_until_the_server_takes_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube, "RETRY_S", 0.0)
    made = Node(builders.stock_of(None), tmp_path)
    made.api.failures = 2
    await made.publisher.publish("success")
    assert made.api.labels[node.MIG_STATE] == "success"
