from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest

from gpufleet.agents.model import keeper, measure, measurer, settings, wanted
from gpufleet.state import models
from tests.unit.gpufleet.observe import fakes

EXPOSITION = """
# HELP nv_inference_request_summary_us Summary of inference request duration in microseconds
# TYPE nv_inference_request_summary_us summary
nv_inference_request_summary_us_count{model="m",version="1"} 40
nv_inference_request_summary_us_sum{model="m",version="1"} 40
nv_inference_request_summary_us{model="m",version="1",quantile="0.5"} 1000.4
nv_inference_request_summary_us{model="m",version="1",quantile="0.99"} 9000
nv_inference_request_summary_us{model="m",version="1",quantile="0.999"} 9900
nv_inference_request_summary_us{model="m",version="2",quantile="0.99"} 12000
nv_inference_request_summary_us{model="m",version="2",quantile="0.9"} Nan
nv_inference_request_summary_us{model="other",version="1",quantile="0.95"} 7
"""


def counters(requests: int, **batches: int) -> measure.Counters:
    """`b4=10` are 10 batches of 4, of a millisecond each."""
    return measure.Counters(
        requests, 0, {int(size[1:]): (count, count * 1_000_000) for size, count in batches.items()}
    )


def times(**batches: int) -> tuple[models.BatchTime, ...]:
    return tuple(models.BatchTime(int(size[1:]), count, count * 1000) for size, count in batches.items())


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        pytest.param([], models.Measured(0), id="nothing"),
        pytest.param(
            [(0, counters(0)), (10, counters(8, b4=2))],
            models.Measured(10, 8, 0, times(b4=2)),
            id="since the load",
        ),
        pytest.param(
            [(0, counters(100, b1=100)), (10, counters(140, b1=100, b4=10))],
            models.Measured(10, 40, 0, times(b4=10)),
            id="what came before the first look does not count",
        ),
        pytest.param(
            [(0, counters(100, b1=100)), (10, counters(140, b1=140)), (20, counters(5, b1=5))],
            models.Measured(0),
            id="another copy: from now on",
        ),
        pytest.param(
            [(at, counters(at, b1=at)) for at in range(0, 100, 10)],
            models.Measured(30, 30, 0, times(b1=30)),
            id="no further back than the window",
        ),
    ],
)
def test_window(samples: list[tuple[float, measure.Counters]], expected: models.Measured) -> None:
    window = measure.Window(30)
    for at_s, sample in samples:
        window.add(at_s, sample)
    assert window.read({}) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([], None, id="no GPU"),
        pytest.param(["1048576"], 1, id="one"),
        pytest.param(["1048576", "8.388608e+06"], 8, id="the fullest"),
    ],
)
def test_memory(lines: list[str], expected: int | None) -> None:
    values = [f'nv_gpu_memory_used_bytes{{gpu_uuid="{n}"}} {one}' for n, one in enumerate(lines)]
    text = "\n".join(["# TYPE nv_gpu_memory_used_bytes gauge", *values, ""])
    assert measure.read_memory_mib(text) == expected


def test_the_slowest_version_speaks_for_the_model() -> None:
    assert measure.read_latencies(EXPOSITION, "m") == {"P50": 1000, "P99": 12000}
    assert measure.read_latencies(EXPOSITION, "none") == {}


def version(name: str, success: int, fail: int, *batches: tuple[int, int]) -> dict[str, Any]:
    """As Triton's gRPC answer reads in JSON: 64-bit numbers are strings."""
    part = {"count": "0", "ns": "1000"}
    return {
        "name": name,
        "inference_stats": {"success": {"count": str(success)}, "fail": {"count": str(fail)}},
        "batch_stats": [
            {
                "batch_size": str(size),
                "compute_input": part,
                "compute_infer": {"count": str(count), "ns": "8000"},
                "compute_output": part,
            }
            for size, count in batches
        ],
    }


def test_counters_of_all_versions() -> None:
    statistics = {
        "model_stats": [version("m", 10, 1, (1, 4), (2, 3)), version("m", 5, 0, (2, 1)), version("n", 9, 9)]
    }
    found = measure.read_counters(statistics, "m")
    assert found == measure.Counters(15, 1, {1: (4, 10_000), 2: (4, 20_000)})
    assert measure.read_counters({}, "m") == measure.Counters()


@dataclasses.dataclass
class Server:
    success: int = 0
    fail: int = 0
    unloaded: list[str] = dataclasses.field(default_factory=list)

    async def statistics(self) -> Mapping[str, Any]:
        return {"model_stats": [version("m", self.success, self.fail, (1, self.success))]}

    async def unload(self, name: str) -> None:
        self.unloaded.append(name)


async def read_metrics() -> str:
    return EXPOSITION


async def test_only_what_is_to_be_measured_is(tmp_path: pathlib.Path) -> None:
    time, server = fakes.ManualClock(), Server()
    config = settings.AgentSettings(state=tmp_path / "loaded.json")
    kept = keeper.Keeper(config, server)  # type: ignore[arg-type]
    measuring = measurer.Measurer(kept, server, read_metrics, time)
    kept.wanted = wanted.Wanted("r", (wanted.WantedModel("m", measured=True), wanted.WantedModel("n")))
    await measuring.step()
    time.time_s += 10
    server.success = 7
    await measuring.step()
    assert kept.measured.keys() == {"m"}
    assert (kept.measured["m"].window_s, kept.measured["m"].requests) == (10, 7)
    kept.entries["m"] = wanted.Entry(loaded="another configuration")
    await measuring.step()
    assert kept.measured["m"].requests == 0, "a load begins anew, even one that keeps the counters"
    kept.wanted = wanted.Wanted("r", (wanted.WantedModel("n"),))
    await measuring.step()
    assert kept.measured == {}


async def test_what_only_fails_is_loaded_again(tmp_path: pathlib.Path) -> None:
    time, server = fakes.ManualClock(), Server(success=3)
    kept = keeper.Keeper(settings.AgentSettings(state=tmp_path / "loaded.json"), server)  # type: ignore[arg-type]
    kept.wanted = wanted.Wanted("r", (wanted.WantedModel("m"),))
    kept.entries["m"] = wanted.Entry(loaded="mark")
    measuring = measurer.Measurer(kept, server, read_metrics, time)
    for _ in range(2):
        await measuring.step()
        time.time_s += 5
        server.fail += 10
    assert server.unloaded == []
    await measuring.step()
    assert server.unloaded == ["m"]
    assert kept.entries["m"].loaded == "", "so that the next step loads it"
