from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how

from gpufleet.api import accelerator as accelerators
from gpufleet.api import training_job
from gpufleet.decide.training import pod
from tests import builders, strategies_api
from tests.unit.gpufleet.decide import manifests, podsecurity

GPUS = accelerators.AssignedAccelerator(resource="nvidia.com/gpu", count=8, products=["H"], pool="a100")


def build(workers: int = 2, pool: Any = None, **spec: Any) -> dict[str, Any]:
    template = pod.build_template(builders.make_job(**spec), workers, GPUS, pool, attempt=1)
    found: dict[str, Any] = template["spec"]
    return found


@how(max_examples=25, deadline=None)
@given(strategies_api.specs(training_job.TrainingJobSpec))
def test_every_valid_spec_gives_a_pod_that_may_run(wire: dict[str, Any]) -> None:
    spec = training_job.TrainingJobSpec.model_validate(wire)
    job = builders.make_job().model_copy(update={"spec": spec})
    template = pod.build_template(job, spec.workers.max, GPUS, builders.make_pool(), attempt=1)
    assert podsecurity.find_violations(template["spec"]) == []
    assert list(manifests.find_unstable(template)) == []
    assert manifests.find_repeated(template["spec"]) == []


@pytest.mark.parametrize("source", ["tenant", "pool"])
def test_nobody_moves_the_meeting_place(source: str) -> None:
    env = [{"name": "PET_MASTER_ADDR", "value": "elsewhere"}, {"name": "MINE", "value": "1"}]
    pool = builders.make_pool(podDefaults={"env": env}) if source == "pool" else None
    template = {"image": "t:1", **({"env": env} if source == "tenant" else {})}
    [worker] = build(pool=pool, framework="Torch", template=template)["containers"]
    values = [(one["name"], one.get("value")) for one in worker["env"]]
    assert ("PET_MASTER_ADDR", "llm-1-0.llm.default.svc") in values
    assert ("MINE", "1") in values
    assert len(values) == len(dict(values))


def test_a_worker() -> None:
    built = build(
        template={
            "image": "t:1",
            "command": ["train"],
            "volumes": [
                {
                    "name": "data",
                    "mountPath": "/data",
                    "persistentVolumeClaim": {"claimName": "c", "readOnly": True},
                },
                {"name": "tmp", "mountPath": "/tmp", "emptyDir": {"sizeLimit": "1024Mi"}},
            ],
        },
        priorityClassName="research",
    )
    [worker] = built["containers"]
    assert built["restartPolicy"] == "Never"
    assert built["priorityClassName"] == "research"
    assert built["subdomain"] == "llm"
    assert built["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    assert worker["resources"]["limits"] == worker["resources"]["requests"] == {"nvidia.com/gpu": "8"}
    assert worker["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_gang_of_one_needs_no_names() -> None:
    assert "subdomain" not in build(workers=1)


def required(placement: dict[str, Any] | None, **spec: Any) -> Any:
    given = {"workers": 2, "requested": "count=8", "placement": placement} if placement else None
    job = builders.make_job(status={"assignment": given} if given else {}, **spec)
    template = pod.build_template(job, 2, GPUS, None, attempt=1, avoided=["n9"])
    affinity = template["spec"]["affinity"]["nodeAffinity"]
    assert "preferredDuringSchedulingIgnoredDuringExecution" in affinity
    return affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]


def is_in(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}


def place(*levels: str, **domains: int) -> dict[str, Any]:
    listed = [{"values": path.split("_"), "workers": workers} for path, workers in domains.items()]
    return {"levels": list(levels), "domains": listed}


PRODUCT = [{"matchExpressions": [is_in("nvidia.com/gpu.product", "H")]}]
ON_NODES = [{"matchFields": [is_in("metadata.name", name)]} for name in ("n0", "n1")]
IN_RACKS = [{"matchExpressions": [is_in("block", "b0"), is_in("rack", rack)]} for rack in ("r0", "r1")]


@pytest.mark.parametrize(
    ("placement", "spec", "terms"),
    [
        pytest.param(None, {}, PRODUCT, id="anywhere"),
        pytest.param(place("metadata.name", n0=1, n1=1), {}, ON_NODES, id="nodes"),
        pytest.param(place("block", "rack", b0_r0=1, b0_r1=1), {}, IN_RACKS, id="racks of a block"),
        pytest.param(
            place("metadata.name", n0=2),
            {"queue": {"kind": "LocalQueue", "name": "team"}},
            PRODUCT,
            id="a queue's gang is placed by the queue",
        ),
    ],
)
def test_where_a_worker_may_run(placement: Any, spec: dict[str, Any], terms: list[Any]) -> None:
    assert required(placement, **spec) == terms


def test_a_slice_on_another_node_than_the_one_that_failed() -> None:
    assigned = accelerators.AssignedAccelerator(resource="nvidia.com/mig-1g.10gb", count=1)
    job = builders.make_job(workers={"max": 1})
    built = pod.build_template(job, 1, assigned, None, 2, ["node-a"])["spec"]
    wishes = built["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [(one["weight"], *one["preference"]) for one in wishes] == [
        (10, "matchExpressions"),
        (100, "matchFields"),
    ]
