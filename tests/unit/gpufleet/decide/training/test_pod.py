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


def test_a_slice_on_another_node_than_the_one_that_failed() -> None:
    assigned = accelerators.AssignedAccelerator(resource="nvidia.com/mig-1g.10gb", count=1)
    job = builders.make_job(workers={"max": 1})
    built = pod.build_template(job, 1, assigned, None, 2, ["node-a"])["spec"]
    wishes = built["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [(one["weight"], *one["preference"]) for one in wishes] == [
        (10, "matchExpressions"),
        (100, "matchFields"),
    ]
