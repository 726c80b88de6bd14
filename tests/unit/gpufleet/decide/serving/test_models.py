"""Each model over all pods of the current revision."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api.triton import model
from gpufleet.decide.serving import models
from gpufleet.state import models as reports
from tests import builders


def said(
    state: str, message: str = "", versions: str = "", load_ms: int | None = None
) -> reports.ModelReport:
    return reports.ModelReport("m", state, message, versions, load_ms)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by_pod", "expected"),
    [
        pytest.param([], {"state": "Pending"}, id="no pod"),
        pytest.param([said("Loading")], {"state": "Loading"}, id="on its way"),
        pytest.param(
            [said("Ready", "", "3", 1200)],
            {"state": "Ready", "ready_pods": 1, "versions": "3", "load_milliseconds": 1200},
            id="ready",
        ),
        pytest.param(
            [said("Ready", "", "3", 1200), said("Ready", "", "3", 900)],
            {"state": "Ready", "ready_pods": 2, "versions": "3", "load_milliseconds": 1200},
            id="the slowest pod's time",
        ),
        pytest.param(
            [said("Ready", "", "2,3"), said("Ready", "", "3", 900)],
            {"state": "Ready", "ready_pods": 2, "versions": "2,3 3", "load_milliseconds": 900},
            id="pods that differ, one of an agent that restarted",
        ),
        pytest.param(
            [said("Ready", "", "2"), said("Failed", "no weights", "2")],
            {"state": "Failed", "ready_pods": 1, "versions": "2", "message": "no weights"},
            id="one pod refused it and serves the old copy",
        ),
    ],
)
def test_summarise(by_pod: list[reports.ModelReport], expected: dict[str, Any]) -> None:
    pods = [builders.make_pod(f"p{number}", ready=True) for number in range(len(by_pod))]
    answers = {pod.uid: reports.AgentReport("r", (report,)) for pod, report in zip(pods, by_pod, strict=True)}
    [found] = models.summarise([model.Model(name="m")], pods, answers)
    assert found.model_dump(exclude_defaults=True) == {"name": "m", **expected}
