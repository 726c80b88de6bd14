"""What the server takes and what it refuses, with the words that the author reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import builders_api
from tests.integration.conftest import Cluster

Wire = dict[str, Any]
service = builders_api.make_service
job = builders_api.make_training_job
pool = builders_api.make_pool


def model(**fields: Any) -> Wire:
    return {"models": [{"name": "m", **fields}]}


def template(**fields: Any) -> Wire:
    return {"template": {"image": "trainer:1", **fields}}


def tensor(**fields: Any) -> Wire:
    return model(inputs=[{"name": "IN", "dataType": "FP32", "dims": [1], **fields}])


def from_config_map(**item: Any) -> Wire:
    return {"modelRepository": {"configMap": {"name": "c", "items": [{"key": "k", "path": "p", **item}]}}}


def from_claim(**fields: Any) -> Wire:
    return {"modelRepository": {"configMap": None, "persistentVolumeClaim": {"claimName": "c", **fields}}}


def try_create(cluster: Cluster, wire: Wire) -> tuple[bool, str]:
    """Whether the server would take it, and what it says."""
    result = cluster.try_kubectl(
        "create", "--dry-run=server", "--validate=strict", "-f", "-", input=json.dumps(wire)
    )
    return result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(service(), id="service"),
        pytest.param(service("a" * 40), id="service-longest-name"),
        pytest.param(service(**from_claim(path="a/b..c/d")), id="claim-dots-in-a-name"),
        pytest.param(
            service(modelRepository={"configMap": None, "image": {"reference": "models:1"}}), id="image"
        ),
        pytest.param(service(replicas=0), id="no-replicas"),
        pytest.param(service(rollout={}), id="rollout-by-default"),
        pytest.param(service(rollout={"canary": {"weight": 0}, "attempt": 2}), id="canary-taken-back"),
        pytest.param(service(**model(maxBatchSize=8, batching={})), id="batching-by-default"),
        pytest.param(service(**model(batching={"mode": "Disabled"})), id="batching-disabled-without-batches"),
        pytest.param(
            service(**model(batching={"defaultQueuePolicy": {"maxQueueSize": 8}})),
            id="a-queue-without-batches",
        ),
        pytest.param(
            service(**model(backend=None, onnxruntime={"intraOpThreadCount": 2})), id="a-backends-parameters"
        ),
        pytest.param(
            service(**model(maxBatchSize=8, batching={"preferredBatchSizes": [4, 8]})), id="preferred-sizes"
        ),
        pytest.param(service(accelerator={}), id="any-accelerator"),
        pytest.param(service(accelerator={"class": "h100", "migProfile": "1g.10gb+me"}), id="slice"),
        pytest.param(service(accelerator={"memory": "16Gi"}), id="memory"),
        pytest.param(
            service(
                template={"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"}}}
            ),
            id="resources",
        ),
        pytest.param(job(), id="job"),
        pytest.param(job(workers={"min": 2, "max": 2}), id="job-fixed-size"),
        pytest.param(
            job(failurePolicy={"maxRestarts": 0, "failExitCodes": [], "retryExitCodes": [75]}),
            id="job-exit-codes",
        ),
        pytest.param(
            job(suspend=True, activeDeadlineSeconds=60, ttlSecondsAfterFinished=0),
            id="job-suspended-with-limits",
        ),
        pytest.param(job(queue={"kind": "LocalQueue", "name": "team"}), id="job-of-a-queue"),
        pytest.param(job(managedBy="kueue.x-k8s.io/multikueue"), id="job-of-another-manager"),
        pytest.param(
            job(framework="JAX", workers={"max": 1}, accelerator={"migProfile": "2g.20gb"}),
            id="one-worker-on-a-slice",
        ),
        pytest.param(job(accelerator={"migProfile": "2g.20gb"}), id="plain-workers-on-slices"),
        pytest.param(
            job(**template(env=[{"name": "JAX_PROCESS_ID", "value": "0"}])), id="plain-owns-its-rendezvous"
        ),
        pytest.param(
            job(framework="Torch", **template(env=[{"name": "PET_LOG_DIR", "value": "/l"}])),
            id="torchrun-options-that-are-the-users",
        ),
        pytest.param(
            job(
                workers={"min": 2, "max": 4},
                accelerator={"count": 8},
                parallelism={"tensor": 8, "pipeline": 2},
            ),
            id="a-layout-for-every-size",
        ),
        pytest.param(
            job(
                workers={"max": 4},
                accelerator={"count": 8},
                parallelism={"data": 4, "tensor": 8, "expert": 2},
            ),
            id="a-whole-layout",
        ),
        pytest.param(job(parallelism={}), id="data-alone"),
        pytest.param(job(framework="Torch", torch={"rendezvous": "Elastic"}, precision="BF16"), id="elastic"),
        pytest.param(
            job(framework="MPI", mpi={"sshSecretName": "keys"}, **template(command=["mpirun"])), id="mpi"
        ),
        pytest.param(
            job(framework="MPI", workers={"max": 1}, **template(command=["mpirun"])), id="mpi-alone"
        ),
        pytest.param(pool(), id="pool"),
        pytest.param(
            pool(podDefaults={"tolerations": [{"operator": "Exists"}, {"operator": "Exists"}]}),
            id="pool-tolerations",
        ),
    ],
)
def test_accepts(served: Cluster, wire: Wire) -> None:
    accepted, words = try_create(served, wire)
    assert accepted, words


FIELDS = [
    pytest.param(service(models=None), "spec.models: Required value", id="required"),
    pytest.param(service(models=[]), "should have at least 1 items", id="empty-list"),
    pytest.param(
        service(models=[{"name": f"m{i}"} for i in range(65)]), "must have at most 64", id="long-list"
    ),
    pytest.param(service(models="m"), "must be of type array", id="wrong-type"),
    pytest.param(service(replicas="2"), "must be of type integer", id="string-for-a-number"),
    pytest.param(service(replicas=-1), "greater than or equal to 0", id="negative"),
    pytest.param(service(replicas=1001), "less than or equal to 1000", id="too-large"),
    pytest.param(service(rollout={"strategy": "Fast"}), "Unsupported value", id="unknown-strategy"),
    pytest.param(service(rollout={"stepPercent": 0}), "greater than or equal to 1", id="no-step"),
    pytest.param(service(rollout={"canary": {"weight": 101}}), "less than or equal to 100", id="over-all"),
    pytest.param(service(rollout={"canary": {}}), "weight", id="canary-without-weight"),
    pytest.param(service(replicas=1.5), "must be of type integer", id="fraction"),
    pytest.param(service(replica=1), 'unknown field "spec.replica"', id="unknown-field"),
    pytest.param(
        service(**model(maxBatchSise=1)), 'unknown field "spec.models[0].maxBatchSise"', id="unknown-nested"
    ),
    pytest.param(service(**model(name="a" * 129)), "may not be more than 128", id="too-long"),
    pytest.param(service(**model(name="")), "should be at least 1 chars long", id="empty-name"),
    pytest.param(service(**model(name="a/b")), "should match", id="pattern"),
    pytest.param(service(**tensor(dataType="FP8")), 'supported values: "BOOL"', id="enum"),
    pytest.param(service(**model(batching={"mode": "Fast"})), 'supported values: "Static"', id="enum-mode"),
    pytest.param(
        service(**model(maxBatchSize=8, batching={"mode": "Tuned"})),
        "batching.mode Tuned needs an objective",
        id="tuned-for-nothing",
    ),
    pytest.param(
        service(**model(batching={"maxQueueDelayMicroseconds": 60_000_001})), "60000000", id="delay-too-long"
    ),
    pytest.param(service(accelerator={"class": "H100"}), "spec.accelerator.class", id="class-pattern"),
    pytest.param(service(accelerator={"migProfile": "8g.10gb"}), "spec.accelerator.migProfile", id="profile"),
    pytest.param(service(accelerator={"memory": "16GiB"}), "spec.accelerator.memory", id="memory-unit"),
    pytest.param(service(accelerator={"memory": "100m"}), "spec.accelerator.memory", id="milli-bytes"),
    pytest.param(service(accelerator={"count": 0}), "spec.accelerator.count", id="no-devices"),
    pytest.param(service(**from_claim(path="/abs")), "persistentVolumeClaim.path", id="absolute-path"),
    pytest.param(job(template={"image": ""}), "spec.template.image", id="empty-image"),
    pytest.param(job(framework="Keras"), 'supported values: "Torch", "JAX", "MPI"', id="framework"),
    pytest.param(job(precision="FP12"), 'supported values: "FP32"', id="precision"),
    pytest.param(job(workers={"max": 0}), "spec.workers.max", id="no-workers"),
    pytest.param(job(**template(env=[{"name": "A=B"}])), "spec.template.env[0].name", id="env-name"),
    pytest.param(job(failurePolicy={"maxRestarts": -1}), "maxRestarts", id="negative-restarts"),
    pytest.param(job(failurePolicy={"failExitCodes": [0]}), "failExitCodes[0]", id="success-is-no-failure"),
    pytest.param(
        job(queue={"kind": "Queue", "name": "a"}), 'supported values: "LocalQueue"', id="queue-kind"
    ),
    pytest.param(job(managedBy="somebody"), "spec.managedBy", id="manager-without-domain"),
    pytest.param(job(priorityClassName=""), "spec.priorityClassName", id="empty-priority"),
    pytest.param(pool(nodeSelector=None), "spec.nodeSelector: Required value", id="pool-required"),
    pytest.param(pool(nodeSelector={"gpufleet.dev/pool": "a b"}), "spec.nodeSelector", id="pool-label-value"),
    pytest.param(
        pool(podDefaults={"tolerations": [{"effect": "Never"}]}),
        'supported values: "NoSchedule"',
        id="effect",
    ),
]

RULES = [
    pytest.param(service("1st"), "metadata.name 1st does not fit", id="name-starts-with-a-digit"),
    pytest.param(service("a" * 41), "the name of a TritonService starts with a letter", id="name-too-long"),
    pytest.param(job("a" * 41), "the name of a TrainingJob starts with a letter", id="job-name-too-long"),
    pytest.param(pool("a" * 64), "a GPUPool has at most 63 characters", id="pool-name-too-long"),
    pytest.param(
        service(modelRepository={"configMap": None}),
        "needs exactly one of persistentVolumeClaim, image, configMap, s3, gcs, azure: set one",
        id="no-repository",
    ),
    pytest.param(
        service(modelRepository={"image": {"reference": "models:1"}}),
        "needs exactly one of persistentVolumeClaim, image, configMap, s3, gcs, azure: remove all but one",
        id="two-repositories",
    ),
    pytest.param(service(**from_claim(path="a/../b")), "a/../b may not hold ..", id="path-leaves-the-volume"),
    pytest.param(service(**from_config_map(path="..")), ".. may not hold ..", id="file-leaves-the-volume"),
    pytest.param(
        service(accelerator={"count": 1, "memory": "1Gi"}),
        "at most one of count, memory, migProfile: remove all but one",
        id="two-needs",
    ),
    pytest.param(service(**tensor(dims=[0])), "dims may not hold 0", id="empty-dimension"),
    pytest.param(
        service(**model(batching={"mode": "Static"})),
        "model m: batching needs maxBatchSize of at least 1",
        id="batching-without-batches",
    ),
    pytest.param(service(**model(batching={})), "set batching.mode to Disabled", id="batching-by-default"),
    pytest.param(
        service(**model(maxBatchSize=8, batching={}, sequenceBatching={})),
        "at most one of batching, sequenceBatching, ensemble",
        id="two-schedulers",
    ),
    pytest.param(
        service(**model(python={}, vllm={})), "at most one of python, onnxruntime", id="two-backends"
    ),
    pytest.param(
        service(**model(defaultModelFilename="../model.py")), "defaultModelFilename", id="a-file-elsewhere"
    ),
    pytest.param(
        service(**model(maxBatchSize=4, batching={"preferredBatchSizes": [8]})),
        "model m: preferredBatchSizes [8] exceed maxBatchSize 4",
        id="preferred-size-too-large",
    ),
    pytest.param(
        service(**model(batching={"mode": "Disabled", "preferredBatchSizes": [1]})),
        "preferredBatchSizes [1] exceed maxBatchSize 0",
        id="preferred-sizes-without-batches",
    ),
    pytest.param(
        service(template={"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}),
        "requests.memory 2Gi exceeds limits.memory 1Gi",
        id="request-above-limit",
    ),
    pytest.param(
        service(template={"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}),
        "env may not set NVIDIA_VISIBLE_DEVICES",
        id="service-device-env",
    ),
    pytest.param(
        job(**template(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}])),
        "env may not set NVIDIA_VISIBLE_DEVICES",
        id="job-device-env",
    ),
    pytest.param(
        job(workers={"min": 3, "max": 2}),
        "spec.workers.min: Invalid value: min 3 exceeds max 2",
        id="min-above-max",
    ),
    pytest.param(
        job(framework="JAX", accelerator={"migProfile": "1g.10gb"}),
        "a JAX gang of up to 2 workers cannot train on MIG slices (1g.10gb)",
        id="gang-on-slices",
    ),
    pytest.param(
        job(framework="JAX", **template(env=[{"name": "JAX_NUM_PROCESSES", "value": "9"}])),
        "with framework JAX, env may not set",
        id="jax-rendezvous",
    ),
    pytest.param(
        job(framework="Torch", **template(env=[{"name": "PET_NNODES", "value": "9"}])),
        "with framework Torch, env may not set",
        id="torch-rendezvous",
    ),
    pytest.param(
        job(workers={"max": 4}, accelerator={"count": 8}, parallelism={"tensor": 3}),
        "4 workers × 8 devices = 32 processes, and tensor × pipeline × context = 3 must divide",
        id="layout-does-not-divide",
    ),
    pytest.param(
        job(workers={"min": 1, "max": 4}, accelerator={"count": 8}, parallelism={"tensor": 16}),
        "for workers.min too",
        id="layout-does-not-divide-the-smallest",
    ),
    pytest.param(
        job(workers={"max": 4}, parallelism={"data": 2}),
        "4 workers × 1 devices = 4 processes, but data × tensor × pipeline × context = 2",
        id="data-does-not-fit",
    ),
    pytest.param(
        job(workers={"min": 2, "max": 4}, parallelism={"data": 4}),
        "parallelism.data fixes the size of the gang",
        id="data-of-a-gang-that-varies",
    ),
    pytest.param(
        job(workers={"max": 4}, parallelism={"expert": 3}),
        "parallelism.expert 3 must divide data × context = 4",
        id="experts-do-not-fit",
    ),
    pytest.param(job(torch={}), "torch is for framework Torch or DeepSpeed", id="torch-of-another"),
    pytest.param(
        job(mpi={"sshSecretName": "k"}), "mpi is for framework MPI or DeepSpeed", id="mpi-of-another"
    ),
    pytest.param(
        job(framework="MPI", **template(command=["mpirun"])), "needs mpi.sshSecretName", id="mpi-without-keys"
    ),
    pytest.param(
        job(framework="MPI", workers={"max": 1}, template={"command": None}),
        "template.command is needed",
        id="mpi-without-command",
    ),
    pytest.param(
        job(framework="XGBoost", **template(env=[{"name": "DMLC_TASK_ID", "value": "9"}])),
        "with framework XGBoost, env may not set",
        id="xgboost-rendezvous",
    ),
    pytest.param(
        job(**template(volumes=[{"name": "v", "mountPath": "/v"}])),
        "volume needs exactly one of persistentVolumeClaim, emptyDir: set one",
        id="volume-without-source",
    ),
    pytest.param(
        job(
            **template(volumes=[{"name": name, "mountPath": "/v", "emptyDir": {}} for name in ("one", "two")])
        ),
        "two volumes have the same mountPath",
        id="same-mount-path",
    ),
]

DUPLICATES = [
    pytest.param(service(models=[{"name": "m"}, {"name": "m"}]), "spec.models[1]: Duplicate", id="models"),
    pytest.param(
        service(**model(parameters=[{"name": "p", "value": "1"}, {"name": "p", "value": "2"}])),
        "spec.models[0].parameters[1]: Duplicate",
        id="parameters",
    ),
    pytest.param(
        job(**template(env=[{"name": "A"}, {"name": "A"}])), "spec.template.env[1]: Duplicate", id="env"
    ),
    pytest.param(
        job(**template(volumes=[{"name": "v", "mountPath": path, "emptyDir": {}} for path in ("/a", "/b")])),
        "spec.template.volumes[1]: Duplicate",
        id="volumes",
    ),
    pytest.param(
        job(**template(imagePullSecrets=[{"name": "s"}, {"name": "s"}])),
        "spec.template.imagePullSecrets[1]: Duplicate",
        id="pull-secrets",
    ),
    pytest.param(
        service(**model(inputs=[{"name": "IN", "dataType": "FP32", "dims": [n]} for n in (1, 2)])),
        "spec.models[0].inputs[1]: Duplicate",
        id="inputs",
    ),
    pytest.param(
        service(modelRepository={"configMap": {"items": [{"key": key, "path": "p"} for key in "ab"]}}),
        "spec.modelRepository.configMap.items[1]: Duplicate",
        id="files",
    ),
]


@pytest.mark.parametrize(("wire", "words"), FIELDS + RULES + DUPLICATES)
def test_refuses(served: Cluster, wire: Wire, words: str) -> None:
    accepted, output = try_create(served, wire)
    assert not accepted
    assert words in output


@pytest.fixture(scope="module")
def running_job(served: Cluster) -> Iterator[str]:
    """Name of a TrainingJob that exists while this module runs."""
    wire = job("immutable", accelerator={"count": 1}, failurePolicy={"maxRestarts": 1})
    served.kubectl("apply", "-f", "-", input=json.dumps(wire))
    yield "immutable"
    served.kubectl("delete", "tjob", "immutable", "--wait=false")


def patch(cluster: Cluster, name: str, spec: Wire) -> tuple[bool, str]:
    body = json.dumps({"spec": spec})
    result = cluster.try_kubectl("patch", "tjob", name, "--dry-run=server", "--type=merge", "-p", body)
    return result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"framework": "JAX"}, "framework", id="framework-set-later"),
        pytest.param({"workers": {"max": 3}}, "workers", id="workers"),
        pytest.param({"workers": {"min": 1}}, "workers", id="workers-min-set-later"),
        pytest.param({"accelerator": {"count": 2}}, "accelerator", id="accelerator"),
        pytest.param({"accelerator": None}, "accelerator", id="accelerator-removed"),
        pytest.param({"template": {"image": "trainer:2"}}, "template", id="image"),
        pytest.param({"template": {"env": [{"name": "A"}]}}, "template", id="env"),
        pytest.param({"priorityClassName": "high"}, "priorityClassName", id="priority-set-later"),
        pytest.param({"parallelism": {"tensor": 2}}, "parallelism", id="layout-set-later"),
        pytest.param({"queue": {"kind": "LocalQueue", "name": "a"}}, "queue", id="queue-set-later"),
        pytest.param({"managedBy": "a/b"}, "managedBy", id="manager-set-later"),
    ],
)
def test_a_job_cannot_change(served: Cluster, running_job: str, spec: Wire, field: str) -> None:
    accepted, output = patch(served, running_job, spec)
    assert not accepted
    assert f"spec.{field}: Forbidden: {field} cannot change once the object exists" in output


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"failurePolicy": {"maxRestarts": 5}}, id="changed"),
        pytest.param({"failurePolicy": None}, id="removed"),
        pytest.param({"suspend": True, "activeDeadlineSeconds": 9}, id="suspended-and-limited"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_jobs_failure_policy_may_change(served: Cluster, running_job: str, spec: Wire) -> None:
    accepted, output = patch(served, running_job, spec)
    assert accepted, output


@pytest.mark.parametrize("build", [service, pool], ids=["service", "pool"])
def test_other_kinds_may_change(served: Cluster, build: Callable[..., Wire]) -> None:
    served.kubectl("apply", "-f", "-", input=json.dumps(build("changes")))
    changed = build("changes") | {"metadata": {"name": "changes", "labels": {"a": "b"}}}
    changed["spec"] = changed["spec"] | ({"replicas": 3} if build is service else {"deviceClass": "h200"})
    served.kubectl("apply", "-f", "-", input=json.dumps(changed))
    served.kubectl("delete", changed["kind"], "changes", "--wait=false")
