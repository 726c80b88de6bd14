from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.training import environment
from tests import builders

RANK = {
    "valueFrom": {
        "fieldRef": {
            "apiVersion": "v1",
            "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']",
        }
    }
}
LEADER = "llm-3-0.llm.default.svc"


def build(framework: str, workers: int, per_worker: int = 1) -> dict[str, Any]:
    job = builders.make_job(framework=framework, workers={"max": workers})
    listed = environment.build(job, workers, per_worker, attempt=3)
    return {one["name"]: one.get("value", {key: one[key] for key in one if key != "name"}) for one in listed}


@pytest.mark.parametrize(
    ("framework", "workers", "per_worker", "expected"),
    [
        pytest.param("Plain", 4, 8, {}, id="plain"),
        pytest.param(
            "JAX",
            4,
            8,
            {
                "JAX_COORDINATOR_ADDRESS": f"{LEADER}:29500",
                "JAX_NUM_PROCESSES": "4",
                "JAX_PROCESS_ID": RANK,
            },
            id="jax",
        ),
        pytest.param(
            "JAX",
            1,
            1,
            {
                "JAX_COORDINATOR_ADDRESS": "localhost:29500",
                "JAX_NUM_PROCESSES": "1",
                "JAX_PROCESS_ID": RANK,
            },
            id="jax alone",
        ),
        pytest.param(
            "Torch",
            2,
            8,
            {
                "PET_NNODES": "2",
                "PET_NPROC_PER_NODE": "8",
                "PET_NODE_RANK": RANK,
                "PET_MASTER_ADDR": LEADER,
                "PET_MASTER_PORT": "29500",
                "PET_RDZV_ID": "uid-llm-3",
            },
            id="torch",
        ),
    ],
)
def test_rendezvous(framework: str, workers: int, per_worker: int, expected: dict[str, Any]) -> None:
    assert build(framework, workers, per_worker) == {"GPUFLEET_ATTEMPT": "3", **expected}
