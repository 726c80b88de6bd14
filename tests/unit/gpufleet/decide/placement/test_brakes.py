"""GPUs that may be given up within an hour."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from gpufleet.api import accelerator, triton_service
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import brakes
from tests.builders import GPU, NOW, make_service


def shrunk(
    name: str, ago_s: float = 0.0, before: int = 8, after: int = 8, mode: str = "Active", **given: Any
):
    """A service of eight servers that shrank so long ago."""
    decided = {
        "time": NOW - datetime.timedelta(seconds=ago_s),
        "before": before,
        "wanted": after,
        "replicas": after,
        "reason": scaler.SCALED_DOWN,
    }
    assigned = {"resource": GPU, "count": 1, **given}
    status = {
        "assignment": {"replicas": 8, "accelerator": assigned},
        "autoscaling": {"mode": mode, "replicas": after, "decisions": [decided] if before > after else []},
    }
    return make_service(name, status=status, accelerator={"count": 1})


def wanting(service: triton_service.TritonService, after: int, **fields: Any) -> dict[str, scaler.Scaling]:
    return {service.metadata.uid: scaler.Scaling("Active", 8, after, after, **fields)}


@pytest.mark.parametrize(
    ("others", "given", "after", "budget", "replicas"),
    [
        pytest.param([], {}, 2, 0.0, 2, id="no limit"),
        pytest.param([], {}, 2, 4.0, 4, id="as many as the budget has"),
        pytest.param([], {}, 6, 4.0, 6, id="fewer than the budget has"),
        pytest.param([], {"count": 4}, 6, 10.0, 6, id="servers of four GPUs"),
        pytest.param([], {"count": 4}, 4, 10.0, 6, id="the budget counts GPUs"),
        pytest.param([], {"resource": "nvidia.com/mig-1g.10gb"}, 1, 1.0, 1, id="seven slices are a GPU"),
        pytest.param([shrunk("a", 60, 10, 7)], {}, 2, 4.0, 7, id="what went within the hour counts"),
        pytest.param([shrunk("a", 3601, 10, 7)], {}, 2, 4.0, 4, id="what went before does not"),
        pytest.param([shrunk("a", 60, 10, 7, "Advisory")], {}, 2, 4.0, 4, id="advice gives nothing up"),
        pytest.param([shrunk("a", 60, 20, 7)], {}, 2, 4.0, 8, id="nothing is left"),
    ],
)
def test_budget(
    others: list[triton_service.TritonService],
    given: dict[str, Any],
    after: int,
    budget: float,
    replicas: int,
) -> None:
    service = shrunk("vision", **given)
    found = brakes.limit_shrinking([*others, service], wanting(service, after), budget, NOW)
    scaling = found[service.metadata.uid]
    assert scaling.replicas == replicas
    assert [one.reason for one in scaling.clamps] == [scaler.DISRUPTION_BUDGET] * (replicas != after)


def test_services_share_the_budget() -> None:
    one, two = shrunk("one"), shrunk("two")
    found = brakes.limit_shrinking([one, two], wanting(one, 5) | wanting(two, 5), 4.0, NOW)
    assert sum(8 - scaling.replicas for scaling in found.values()) == 4


@pytest.mark.parametrize(
    ("resource", "count", "gpus"),
    [
        pytest.param(GPU, 2, 2.0, id="whole devices"),
        pytest.param("nvidia.com/mig-3g.40gb", 1, 3 / 7, id="a slice"),
        pytest.param("amd.com/gpu", 1, 1.0, id="another vendor"),
    ],
)
def test_count_gpus(resource: str, count: int, gpus: float) -> None:
    assigned = accelerator.AssignedAccelerator(resource=resource, count=count)
    assert brakes.count_gpus(assigned) == pytest.approx(gpus)
