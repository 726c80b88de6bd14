"""Triton's answers as they reach people; the rest of the module is tried on the real server."""

from __future__ import annotations

import pytest

from gpufleet.agents.model import server


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("no weights", "no weights", id="a reason"),
        pytest.param(
            "failed to load 'm', failed to poll from model repository",
            "failed to load 'm', failed to poll from model repository; "
            "the reason is in the log of the pod's container triton",
            id="no reason",
        ),
    ],
)
def test_explain(message: str, expected: str) -> None:
    assert server.explain(message) == expected
