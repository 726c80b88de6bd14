"""What is read from a server's counters and configuration."""

from __future__ import annotations

from typing import Any

import pytest
from click import testing
from tritonclient.grpc import model_config_pb2, service_pb2

from gpufleet.cli import main, tune
from gpufleet.decide.triton.service_time import Point, Setting


def batches(**by_size: tuple[int, int]) -> Any:
    """Statistics with (executions, nanoseconds of inference) by size; input and output take 1 ms each."""
    listed = []
    for size, (count, ns) in by_size.items():
        side = service_pb2.StatisticDuration(count=count, ns=count * 1_000_000)
        work = service_pb2.StatisticDuration(count=count, ns=ns)
        listed.append(
            service_pb2.InferBatchStatistics(
                batch_size=int(size[1:]), compute_input=side, compute_infer=work, compute_output=side
            )
        )
    return service_pb2.ModelStatistics(batch_stats=listed)


def test_points_are_means_by_batch_size() -> None:
    found = tune.read_points(batches(b8=(10, 180_000_000), b1=(4, 32_000_000), b2=(0, 0)))
    assert found == [Point(1, pytest.approx(0.010), 4), Point(8, pytest.approx(0.020), 10)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, Setting(1), id="nothing said"),
        pytest.param({"max_batch_size": 8}, Setting(1), id="batches of the client's only"),
        pytest.param({"max_batch_size": 8, "dynamic_batching": {}}, Setting(8), id="dynamic batching"),
        pytest.param(
            {"max_batch_size": 8, "dynamic_batching": {"max_queue_delay_microseconds": 500}},
            Setting(8, 0.0005),
            id="a delay",
        ),
        pytest.param({"instance_group": [{"count": 2}, {"count": 1}]}, Setting(1, 0.0, 3), id="instances"),
    ],
)
def test_the_present_setting(config: dict[str, Any], expected: Setting) -> None:
    assert tune.read_setting(model_config_pb2.ModelConfig(**config)) == expected


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    argv = ["triton", "tune", "127.0.0.1:9", "m", "--target-ms", "50"]
    result = testing.CliRunner().invoke(main.main, argv)
    assert result.exit_code == 1
    assert result.output.startswith("Error: 127.0.0.1:9: ")
