"""Any valid object is stored as it was sent: nothing pruned, nothing defaulted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.api import gpu_pool, meta, training_job, triton_service
from tests import builders_api, strategies_api
from tests.integration.conftest import Cluster

KINDS = [
    pytest.param("TritonService", triton_service.TritonServiceSpec, id="TritonService"),
    pytest.param("TrainingJob", training_job.TrainingJobSpec, id="TrainingJob"),
    pytest.param("GPUPool", gpu_pool.GPUPoolSpec, id="GPUPool"),
]


STATUSES = [
    pytest.param(builders_api.make_service, triton_service.TritonServiceStatus, id="TritonService"),
    pytest.param(builders_api.make_training_job, training_job.TrainingJobStatus, id="TrainingJob"),
    pytest.param(builders_api.make_pool, gpu_pool.GPUPoolStatus, id="GPUPool"),
]
FEW = hypothesis.settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize(("kind", "model"), KINDS)
@hypothesis.given(data=st.data())
@FEW
def test_the_server_keeps_what_it_is_sent(
    served: Cluster, kind: str, model: type[meta.Schema], data: st.DataObject
) -> None:
    sent = model.model_validate(data.draw(strategies_api.specs(model)))
    namespace = None if kind == "GPUPool" else "default"
    wire = builders_api.make_object(kind, sent.to_wire(), "round-trip", namespace)
    stored = json.loads(
        served.kubectl(
            "create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", input=json.dumps(wire)
        )
    )
    assert stored["spec"] == sent.to_wire()
    assert model.model_validate(stored["spec"]) == sent


@pytest.fixture
def stored(served: Cluster, build: Callable[..., Any]) -> Iterator[Any]:
    """An object that exists for one test."""
    wire = build("round-trip")
    served.kubectl("apply", "-f", "-", input=json.dumps(wire))
    yield wire
    served.kubectl("delete", wire["kind"], "round-trip", "--wait=false")


@pytest.mark.parametrize(("build", "model"), STATUSES)
@hypothesis.given(data=st.data())
@FEW
def test_the_server_keeps_a_status(
    served: Cluster, stored: Any, model: type[meta.Schema], data: st.DataObject
) -> None:
    sent = model.model_validate(data.draw(strategies_api.statuses(model)))
    patch = json.dumps({"status": sent.to_wire()})
    options = ("--subresource=status", "--type=merge", "--dry-run=server", "-o", "json")
    kept = json.loads(served.kubectl("patch", stored["kind"], "round-trip", *options, "-p", patch))["status"]
    assert kept == sent.to_wire()
    assert model.model_validate(kept) == sent
