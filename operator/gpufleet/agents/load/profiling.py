"""`gpufleet agent profile`: load of several sizes against one server, and what the server counted of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gpufleet import clock
from gpufleet.agents.load import main, outcome, requests, traffic
from gpufleet.agents.model import measure

_TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One run: so many items per request, so many requests at a time."""

    batch: int
    concurrency: int


def plan_steps(max_batch: int, batches: Sequence[int], concurrencies: Sequence[int]) -> list[Step]:
    """Each size alone, which gives the line; then single requests side by side, which gives the curve."""
    sizes = sorted({size for size in batches if size <= max(1, max_batch)})
    return [Step(size, 1) for size in sizes] + [Step(1, many) for many in sorted(set(concurrencies))]


def run(target: main.Target, batches: Sequence[int], concurrencies: Sequence[int], seconds: float) -> int:
    """Prints a line per step and the result as JSON; the exit code is 1 where a request failed."""
    found = asyncio.run(_run(target, batches, concurrencies, seconds))
    _print({"profile": found})
    return 1 if any(step["failed"] for step in found["load"]) else 0


async def _run(
    target: main.Target, batches: Sequence[int], concurrencies: Sequence[int], seconds: float
) -> dict[str, Any]:
    loads = []
    async with main.connected(target, max([1, *concurrencies])) as clients:
        config = (await clients[0].get_model_config(target.model)).config
        before = await _read_counters(clients[0], target.model)
        steps = plan_steps(config.max_batch_size, batches, concurrencies)
        for number, step in enumerate(steps, 1):
            inputs = requests.build_inputs(config, step.batch, target.shapes, target.fill)

            async def send(channel: int, inputs: Any = inputs) -> None:
                await clients[channel].infer(target.model, inputs, client_timeout=_TIMEOUT_S)

            found = await traffic.drive(traffic.Plan(seconds, step.concurrency), send, clock.SystemClock())
            loads.append(_describe(step, found))
            _print({"progress": {"done": number, "of": len(steps), **loads[-1]}})
        after = await _read_counters(clients[0], target.model)
    instances = sum(max(1, group.count) for group in config.instance_group) or 1
    return {"instances": instances, "points": _subtract(before, after), "load": loads}


async def _read_counters(client: Any, model: str) -> measure.Counters:
    statistics = await client.get_inference_statistics(model, as_json=True)
    return measure.read_counters(statistics, model)


def _describe(step: Step, found: outcome.Outcome) -> dict[str, Any]:
    summary = found.to_json()
    latency_ms = summary["latencyMilliseconds"]
    return {
        "batchSize": step.batch,
        "concurrency": step.concurrency,
        "throughput": round(summary["throughput"] * step.batch, 1),
        "p50Microseconds": round(1000 * latency_ms["p50"]) if found.latencies_ms else 0,
        "p99Microseconds": round(1000 * latency_ms["p99"]) if found.latencies_ms else 0,
        "failed": found.failed,
    }


def _subtract(before: measure.Counters, after: measure.Counters) -> list[dict[str, int]]:
    window = measure.Window(float("inf"))
    window.add(0, before)
    window.add(1, after)
    return [dataclasses.asdict(one) for one in window.read({}).batches]


def _print(line: Mapping[str, Any]) -> None:
    print(json.dumps(line), file=sys.stdout, flush=True)
