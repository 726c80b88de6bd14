from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import training_gang
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


TORCHRUN = {
    "PET_NNODES": "2",
    "PET_NPROC_PER_NODE": "8",
    "PET_NODE_RANK": RANK,
    "PET_MASTER_ADDR": LEADER,
    "PET_MASTER_PORT": "29500",
    "PET_RDZV_ID": "uid-llm-3",
}


def build(framework: str, workers: int, per_worker: int = 1, gang: Any = None, **spec: Any) -> dict[str, Any]:
    job = builders.make_job(framework=framework, workers=gang or {"max": workers}, **spec)
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
        pytest.param("MPI", 1, 8, {}, id="mpirun alone"),
        pytest.param(
            "XGBoost",
            4,
            1,
            {
                "DMLC_TRACKER_URI": LEADER,
                "DMLC_TRACKER_PORT": "29500",
                "DMLC_TASK_ID": RANK,
                "DMLC_NUM_WORKER": "4",
            },
            id="xgboost",
        ),
        pytest.param("DeepSpeed", 2, 8, TORCHRUN, id="deepspeed under torchrun"),
        pytest.param("Torch", 2, 8, TORCHRUN, id="torch"),
    ],
)
def test_rendezvous(framework: str, workers: int, per_worker: int, expected: dict[str, Any]) -> None:
    assert build(framework, workers, per_worker) == {"GPUFLEET_ATTEMPT": "3", **expected}


@pytest.mark.parametrize(
    ("gang", "nodes"),
    [
        pytest.param({"min": 2, "max": 4}, "2:4", id="all of them"),
        pytest.param({"max": 4}, "3:4", id="fewer than were asked for"),
    ],
)
def test_elastic_agents_meet_in_worker_0_for_this_attempt_alone(gang: dict[str, int], nodes: str) -> None:
    elastic = {"rendezvous": "Elastic", "maxRestarts": 5, "joinTimeoutSeconds": 600}
    assert build("Torch", 3, 8, gang=gang, torch=elastic) == {
        "GPUFLEET_ATTEMPT": "3",
        "PET_NNODES": nodes,
        "PET_NPROC_PER_NODE": "8",
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"{LEADER}:29400",
        "PET_RDZV_ID": "uid-llm-3",
        "PET_RDZV_CONF": "join_timeout=600",
        "PET_MAX_RESTARTS": "5",
    }


@pytest.mark.parametrize("framework", ["MPI", "DeepSpeed"])
def test_open_mpi_finds_its_hosts(framework: str) -> None:
    found = build(framework, 2, 8, mpi={"sshSecretName": "keys"})
    assert "-p 2222" in found.pop("OMPI_MCA_plm_rsh_args")
    assert found == {
        "GPUFLEET_ATTEMPT": "3",
        "OMPI_MCA_orte_default_hostfile": "/etc/gpufleet-mpi/hosts/hostfile",
        "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
        "OMPI_MCA_orte_set_default_slots": "true",
    }


@pytest.mark.parametrize("framework", training_gang.RESERVED_ENV)
def test_what_is_set_is_reserved(framework: str) -> None:
    more: list[dict[str, Any]] = [{}]
    if framework in ("Torch", "DeepSpeed"):
        more.append({"torch": {"rendezvous": "Elastic"}})
    if framework in ("MPI", "DeepSpeed"):
        more.append({"mpi": {"sshSecretName": "keys"}})
    for spec in more:
        names = {name for name in build(framework, 2, **spec) if not name.startswith("GPUFLEET_")}
        assert names <= set(training_gang.RESERVED_ENV[framework])


def test_the_layout_is_told() -> None:
    found = build("Plain", 4, 8, parallelism={"tensor": 8, "pipeline": 2, "expert": 2})
    told = {name.removeprefix("GPUFLEET_"): value for name, value in found.items()}
    assert told == {
        "ATTEMPT": "3",
        "WORLD_SIZE": "32",
        "DATA_PARALLEL": "2",
        "TENSOR_PARALLEL": "8",
        "PIPELINE_PARALLEL": "2",
        "CONTEXT_PARALLEL": "1",
        "EXPERT_PARALLEL": "2",
    }
