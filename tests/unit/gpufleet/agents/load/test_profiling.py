from __future__ import annotations

import pytest

from gpufleet.agents.load import profiling
from gpufleet.agents.load.profiling import Step


@pytest.mark.parametrize(
    ("max_batch", "batches", "concurrencies", "expected"),
    [
        pytest.param(8, [1, 4], [16], [Step(1, 1), Step(4, 1), Step(1, 16)], id="sizes, then clients"),
        pytest.param(4, [8, 4, 1], [], [Step(1, 1), Step(4, 1)], id="no larger than the model takes"),
        pytest.param(0, [1, 2], [4, 4], [Step(1, 1), Step(1, 4)], id="no batches"),
    ],
)
def test_steps(max_batch: int, batches: list[int], concurrencies: list[int], expected: list[Step]) -> None:
    assert profiling.plan_steps(max_batch, batches, concurrencies) == expected
