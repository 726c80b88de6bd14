from __future__ import annotations

from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import accelerator, triton_service
from gpufleet.decide.placement import accelerators
from gpufleet.decide.serving import memory, service
from gpufleet.state import models, view
from tests import builders

SLICE = accelerator.AssignedAccelerator(resource="nvidia.com/mig-1g.10gb", count=1, products=[builders.H100])
WHOLE = accelerator.AssignedAccelerator(
    resource="nvidia.com/gpu", count=1, products=[builders.A100, builders.H100]
)
ANY = accelerator.AssignedAccelerator(resource="nvidia.com/gpu", count=1)


def model(name: str, size: str | None, *counts: int, kind: str = "GPU") -> dict[str, Any]:
    sized = {} if size is None else {"memory": size}
    return {"name": name, **sized, "instanceGroups": [{"kind": kind, "count": count} for count in counts]}


def make(*listed: dict[str, Any], **fields: Any) -> triton_service.TritonService:
    return builders.make_service(models=list(listed), **fields)


@pytest.mark.parametrize(
    ("listed", "assigned", "says"),
    [
        pytest.param([model("a", "4Gi"), model("b", "5Gi")], SLICE, "", id="fits"),
        pytest.param([model("a", "4Gi"), model("b", "6Gi")], SLICE, "a 4096 MiB, b 6144 MiB", id="too much"),
        pytest.param([model("a", "4Gi", 1, 2)], SLICE, "12288 MiB", id="copies"),
        pytest.param([model("a", "40Gi", 9, kind="CPU")], SLICE, "", id="on the CPU"),
        pytest.param([model("a", "400Gi")], ANY, "", id="any device: nobody knows"),
        pytest.param([model("a", "400Gi")], None, "", id="no device"),
        pytest.param([model("a", None, 9)], SLICE, "", id="no estimate"),
        pytest.param([model("a", "60Gi")], WHOLE, "needs", id="the least of the products that fit"),
    ],
)
def test_models_that_cannot_fit_are_refused(
    listed: list[dict[str, Any]], assigned: accelerator.AssignedAccelerator | None, says: str
) -> None:
    fault = memory.find_fault(memory.estimate(make(*listed), assigned))
    assert (says.replace("needs", "the models need") in fault) if says else not fault


@pytest.mark.parametrize(
    ("sizes", "most"),
    [
        pytest.param(["2Gi"], 4, id="alone"),
        pytest.param(["2Gi", "3Gi"], 3, id="beside another"),
        pytest.param(["20Gi"], 1, id="not even one"),
        pytest.param([None, "3Gi"], None, id="no estimate"),
    ],
)
def test_copies_that_fit(sizes: list[str | None], most: int | None) -> None:
    listed = [model(f"m{number}", size) for number, size in enumerate(sizes)]
    assert memory.limit_copies(make(*listed), SLICE, "m0") == most


def used(*mib: int | None) -> dict[str, models.AgentReport]:
    return {str(number): models.AgentReport("r", memory_used_mib=one) for number, one in enumerate(mib)}


@pytest.mark.parametrize(
    ("listed", "mib", "before", "expected", "says"),
    [
        pytest.param([model("a", None)], [None], None, None, "", id="nothing is known"),
        pytest.param([model("a", "2Gi")], [None], None, (2048, None), "can be reloaded", id="an estimate"),
        pytest.param([model("a", "6Gi")], [None], None, (6144, None), "reload of a takes 6144", id="no room"),
        pytest.param(
            [model("a", "4Gi")], [6144, 5000], None, (4096, 6144), "a takes 6144", id="more is used"
        ),
        pytest.param([model("a", "4Gi")], [4200], 4096, (4096, 4096), "", id="about as before"),
        pytest.param([model("a", "4Gi")], [4400], 4096, (4096, 4400), "", id="more than before"),
        pytest.param([model("a", "4Gi")], [], 4096, (4096, 4096), "", id="nobody answers now"),
    ],
)
def test_status(
    listed: list[dict[str, Any]],
    mib: list[int | None],
    before: int | None,
    expected: tuple[int, int | None] | None,
    says: str,
) -> None:
    old = triton_service.MemoryStatus(needed_mebibytes=1, used_mebibytes=before) if before else None
    found = memory.build_status(memory.estimate(make(*listed), SLICE), old, used(*mib))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.needed_mebibytes, found.used_mebibytes) == expected
        assert says in found.message


def test_what_runs_keeps_running() -> None:
    block = accelerator.Accelerator(mig_profile="1g.10gb")
    assigned = {"replicas": 1, "requested": accelerators.describe(block), "accelerator": SLICE.to_wire()}
    given = make(model("a", "20Gi"), accelerator=block.to_wire(), status={"assignment": assigned})
    child = builders.make_child("Deployment", "vision-1", spec={})
    decided = service.decide(view.ServiceView(given, children=(child,)), settings.Settings(), builders.NOW)
    assert (decided.apply, decided.keep) == ((), frozenset({child.ref}))
    stalled = {one["type"]: one for one in decided.status["conditions"]}["Stalled"]
    assert (stalled["status"], stalled["reason"]) == ("True", "InsufficientMemory")
