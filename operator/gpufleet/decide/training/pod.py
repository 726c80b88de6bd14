"""The pod of one worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, pod, training_job
from gpufleet.api import topology as topologies
from gpufleet.decide.resources import meta, quantity
from gpufleet.decide.training import environment, kueue, mpi
from gpufleet.state import names

USER = 1000


def build_template(
    job: training_job.TrainingJob,
    workers: int,
    assigned: accelerators.AssignedAccelerator | None,
    pool: gpu_pool.GPUPool | None,
    attempt: int,
    avoided: Sequence[str] = (),
) -> dict[str, Any]:
    """The pod template of an attempt; it stays off the `avoided` nodes where it can."""
    template = job.spec.template
    spec = {
        **kueue.leave_placement(job, meta.build_pool_fields(pool)),
        "affinity": build_affinity(assigned, _placement_of(job), avoided),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _find_grace_s(job),
        "securityContext": meta.build_pod_security(USER),
        "priorityClassName": job.spec.priority_class_name,
        "imagePullSecrets": [secret.to_wire() for secret in template.image_pull_secrets],
        "subdomain": job.metadata.name if workers > 1 else None,
        "containers": [_build_worker(job, workers, assigned, pool, attempt)],
        "volumes": [
            *(_build_volume(volume) for volume in template.volumes),
            *(mpi.build_volumes(job, attempt) if mpi.is_launched(job) and workers > 1 else ()),
        ],
    }
    return {"metadata": {"labels": labels(job, attempt)}, "spec": meta.without_empty(spec)}


def _placement_of(job: training_job.TrainingJob) -> topologies.Placement | None:
    """A queue's gang is placed by the queue."""
    given = job.status.assignment
    return given.placement if given and job.spec.queue is None else None


def build_affinity(
    assigned: accelerators.AssignedAccelerator | None,
    placement: topologies.Placement | None,
    avoided: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Its places, else every node that fits. Off a node that failed it is by preference: better than none."""
    affinity = _build_places(placement) if placement else meta.build_affinity(assigned)
    if not avoided:
        return affinity
    others = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in avoided]
    wish = {"weight": 100, "preference": {"matchFields": others}}
    found = affinity["nodeAffinity"] if affinity else {}
    return {"nodeAffinity": found | {meta.PREFERRED: [*found.get(meta.PREFERRED, ()), wish]}}


def _build_places(placement: topologies.Placement) -> dict[str, Any]:
    """One term per domain: rack r1 of one block is not r1 of another. All its nodes fit."""
    terms = [
        {"matchFields": [_is_in(topologies.NODE_LEVEL, domain.values[0])]}
        if placement.levels == [topologies.NODE_LEVEL]
        else {"matchExpressions": [*map(_is_in, placement.levels, domain.values)]}
        for domain in placement.domains
    ]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _is_in(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}


def labels(job: training_job.TrainingJob, attempt: int) -> dict[str, str]:
    """What tells a worker's job and attempt."""
    return {
        names.MANAGED_BY: names.MANAGER,
        names.JOB_LABEL: job.metadata.name,
        names.ATTEMPT_LABEL: str(attempt),
    }


def _build_worker(
    job: training_job.TrainingJob,
    workers: int,
    assigned: accelerators.AssignedAccelerator | None,
    pool: gpu_pool.GPUPool | None,
    attempt: int,
) -> dict[str, Any]:
    template = job.spec.template
    rendezvous = environment.build(job, workers, assigned.count if assigned else 1, attempt)
    command, args = mpi.build_command(job, workers)
    container = {
        "name": "worker",
        "image": template.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "args": args,
        "env": _merge_env(
            environment.build_defaults(job), meta.build_env(meta.pool_env(pool), template.env), rendezvous
        ),
        "resources": meta.build_resources(template.resources, assigned),
        "securityContext": meta.build_container_security(read_only_root=False),
        # The last lines of the log tell why a worker failed, where it wrote no message itself.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": _build_lifecycle(job),
        "volumeMounts": [
            *({"name": volume.name, "mountPath": volume.mount_path} for volume in template.volumes),
            *(mpi.build_mounts(job) if mpi.is_launched(job) and workers > 1 else ()),
        ],
    }
    return meta.without_empty(container)


def _find_grace_s(job: training_job.TrainingJob) -> int | None:
    """Unset is the API server's default."""
    return job.spec.checkpoint.grace_period_seconds if job.spec.checkpoint else None


def _build_lifecycle(job: training_job.TrainingJob) -> dict[str, Any] | None:
    """The kubelet sends SIGTERM when this hook has ended, or at once without one."""
    wanted = job.spec.checkpoint
    if wanted is None or wanted.signal == "SIGTERM":
        return None
    wait_s = wanted.grace_period_seconds - environment.SHUTDOWN_MARGIN_S
    script = f"kill -{wanted.signal.removeprefix('SIG')} 1; sleep {wait_s}"
    return {"preStop": {"exec": {"command": ["/bin/sh", "-c", script]}}}


def _merge_env(*sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last wins: a worker that meets elsewhere than the others hangs. No name may occur twice."""
    return list({variable["name"]: variable for source in sources for variable in source}.values())


def _build_volume(volume: pod.Volume) -> dict[str, Any]:
    if (claim := volume.persistent_volume_claim) is not None:
        reference = meta.without_empty({"claimName": claim.claim_name, "readOnly": claim.read_only or None})
        return {"name": volume.name, "persistentVolumeClaim": reference}
    empty_dir = volume.empty_dir or pod.EmptyDir()
    size = quantity.canonical(empty_dir.size_limit) if empty_dir.size_limit else None
    scratch = meta.without_empty({"medium": empty_dir.medium, "sizeLimit": size})
    return {"name": volume.name, "emptyDir": scratch}
