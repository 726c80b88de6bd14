from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.training import layout
from tests import builders


def make(parallelism: dict[str, int] | None, **workers: int) -> Any:
    more = {} if parallelism is None else {"parallelism": parallelism}
    return builders.make_job(workers=workers, **more)


@pytest.mark.parametrize(
    ("parallelism", "words"),
    [
        pytest.param(None, None, id="none wanted"),
        pytest.param({}, None, id="data alone"),
        pytest.param({"tensor": 8, "pipeline": 2, "context": 2}, None, id="one copy"),
        pytest.param({"data": 4, "tensor": 8}, None, id="all said"),
        pytest.param({"tensor": 8, "expert": 4}, None, id="experts over the copies"),
        pytest.param(
            {"tensor": 3}, ["4 workers × 8 devices = 32", "tensor 3", "= 3", "accelerator.count"], id="split"
        ),
        pytest.param({"data": 2, "tensor": 8}, ["= 32", "data 2", "= 16", "leave data out"], id="data"),
        pytest.param({"tensor": 8, "expert": 3}, ["expert 3", "data × context = 4"], id="experts"),
    ],
)
def test_a_layout_fits_the_gang_or_says_why_not(
    parallelism: dict[str, int] | None, words: list[str] | None
) -> None:
    found = layout.find_mismatch(make(parallelism, max=4), 4, 8)
    assert (found is None) == (words is None)
    assert [word for word in words or () if word not in (found or "")] == []


@pytest.mark.parametrize(
    ("given_workers", "expected"),
    [
        pytest.param(8, 8, id="fits"),
        pytest.param(7, 6, id="one is left out"),
        pytest.param(3, 2, id="at the smallest"),
    ],
)
def test_what_the_layout_cannot_use_is_left_out(given_workers: int, expected: int) -> None:
    job = make({"tensor": 8, "pipeline": 2}, min=2, max=8)
    assert layout.count_workers(job, given_workers, 8) == expected


WAYS = st.integers(1, 6)


@given(WAYS, WAYS, WAYS, WAYS, st.integers(1, 4))
def test_a_gang_made_of_its_layout_fits(
    data: int, tensor: int, pipeline: int, context: int, per_worker: int
) -> None:
    wanted = {"data": data * per_worker, "tensor": tensor, "pipeline": pipeline, "context": context}
    workers = data * tensor * pipeline * context
    assert layout.find_mismatch(make(wanted, max=workers), workers, per_worker) is None
    told = {
        one["name"]: one["value"] for one in layout.build_env(make(wanted, max=workers), workers, per_worker)
    }
    assert told["GPUFLEET_DATA_PARALLEL"] == str(data * per_worker)
    assert layout.find_mismatch(make(wanted, max=workers), workers + 1, per_worker) is not None
