"""Events: the same words about the same object are one Event that counts."""

from __future__ import annotations

from typing import Any

import prometheus_client
import pytest

from gpufleet import kube
from gpufleet.report import events
from gpufleet.state import decision
from tests.unit.gpufleet import memory
from tests.unit.gpufleet.observe import fakes

SERVICE = fakes.build_raw("vision", kind="TritonService")
POOL = {"kind": "GPUPool", "metadata": {"name": "h100", "uid": "uid-h100"}}
READY = decision.Event("Normal", "Ready", "2 of 2 replicas serve")


def build() -> tuple[events.EventWriter, memory.MemoryClient, fakes.ManualClock]:
    client, time_source = memory.MemoryClient(), fakes.ManualClock()
    return events.EventWriter(client, time_source), client, time_source  # type: ignore[arg-type]


def shown(client: memory.MemoryClient) -> list[dict[str, Any]]:
    return list(client.objects.values())


async def test_a_repetition_counts_and_keeps_its_first_time() -> None:
    writer, client, time_source = build()
    await writer.write(SERVICE, READY)
    [first] = shown(client)
    time_source.time_s += 60
    await writer.write(SERVICE, READY)
    [again] = shown(client)
    assert (first["count"], again["count"]) == (1, 2)
    assert again["firstTimestamp"] == first["firstTimestamp"] < again["lastTimestamp"]


async def test_decisions_are_counted_once_they_are_told() -> None:
    writer, client, _ = build()
    labels = {"kind": "GPUPool", "reason": "Counted"}

    def count() -> float | None:
        return prometheus_client.REGISTRY.get_sample_value("gpufleet_decisions_total", labels)

    told = decision.Event("Normal", "Counted", "")
    await writer.write(POOL, told)
    assert count() == 1
    client.failing[next(iter(client.objects))] = kube.Unavailable(0, "away")
    with pytest.raises(kube.Unavailable):
        await writer.write(POOL, told)
    assert count() == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((SERVICE, decision.Event("Warning", "Ready", READY.message)), id="type"),
        pytest.param((SERVICE, decision.Event("Normal", "Stalled", READY.message)), id="reason"),
        pytest.param((SERVICE, decision.Event("Normal", "Ready", "other words")), id="message"),
        pytest.param((POOL, READY), id="object"),
    ],
)
async def test_what_differs_is_an_event_of_its_own(other: tuple[Any, decision.Event]) -> None:
    writer, client, _ = build()
    await writer.write(SERVICE, READY)
    await writer.write(*other)
    assert [one["count"] for one in shown(client)] == [1, 1]


async def test_events_about_cluster_scoped_objects_have_a_namespace() -> None:
    writer, client, _ = build()
    await writer.write(POOL, READY)
    [event] = shown(client)
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"]["name"] == "h100"
    assert "namespace" not in event["involvedObject"]


async def test_what_was_said_long_ago_is_forgotten() -> None:
    writer, client, time_source = build()
    await writer.write(SERVICE, READY)
    time_source.time_s += 3601
    await writer.write(SERVICE, decision.Event("Normal", "Ready", "other words"))
    assert len(writer.seen) == 1
    await writer.write(SERVICE, READY)
    assert [one["count"] for one in shown(client)] == [1, 1]


async def test_long_names_and_messages_are_cut() -> None:
    writer, client, _ = build()
    long = fakes.build_raw("n" * 253, kind="TritonService")
    await writer.write(long, decision.Event("Normal", "Ready", "m" * 5000))
    [event] = shown(client)
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["message"]) == 1024
