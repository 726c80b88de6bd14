"""The operator's own autoscaler in a simulation: the cycle's pure part, on a snapshot of the simulated fleet.

It runs the code that ships. One node holds the whole fleet, and one service all of its pods.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from gpufleet.api import autoscaling, model_profile, triton_service
from gpufleet.decide.autoscaling import memories, signals
from gpufleet.decide.placement import assign
from gpufleet.sim import scrapes, searches, service
from gpufleet.state import fleet, names, samples, snapshot

_NAME, _UID, _NODE, _GPU = "simulated", "simulated", "fleet", "nvidia.com/gpu"
_EPOCH = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


class Shipped:
    """A policy of `sim.service`; `spec` is laid over the smallest TritonService, in wire form.

    `profile` is of its model on its hardware, as pods would have measured it.
    """

    interval_s = 15.0

    def __init__(
        self,
        spec: Mapping[str, Any],
        places: int,
        replicas: int = 1,
        profile: model_profile.ModelProfileSpec | None = None,
    ) -> None:
        self._profiles = {_UID: [profile]} if profile else {}
        self._service = _build_service(spec, replicas)
        self._places = places
        self._memories: memories.Memories = {}
        self._answers: dict[Any, Any] = {}
        self._looks = 0

    def decide(self, seen: service.Observation, now_s: float) -> int:
        """One pass of the cycle; what it assigns is what the Deployment will have."""
        self._looks += 1
        look = seen.prometheus.look((one.name for one in seen.pods), self._looks, now_s)
        view = snapshot.Snapshot(
            nodes=(fleet.Node(_NODE, allocatable={_GPU: self._places}),),
            pods=tuple(_build_pod(one) for one in seen.pods),
            services=(self._service,),
            profiles=self._profiles,
        )
        now = _EPOCH + datetime.timedelta(seconds=now_s)
        found = memories.scale_all(view, look, self._memories, now, self._answers)
        self._memories = found.memories
        # What the worker would find out by the next pass.
        self._answers |= {question: searches.answer(question) for question in found.questions}
        for wanted in assign.assign(view, found.scalings, now):
            self._service = _with_status(self._service, wanted.value, wanted.autoscaling)
        replicas = memories.find_replicas(self._service, view)
        if replicas < seen.replicas:
            _check_evidence(view, look)
        return replicas

    @property
    def status(self) -> autoscaling.AutoscalingStatus | None:
        """The record, as a user would read it."""
        return self._service.status.autoscaling


def _check_evidence(view: snapshot.Snapshot, look: samples.Look) -> None:
    """No shrinking on lack of evidence, whatever the policy was."""
    found = signals.read(view.pods, look).offered
    if not found.may_shrink:
        raise AssertionError(f"servers were taken away while the load was {found.kind}")


def _build_service(spec: Mapping[str, Any], replicas: int) -> triton_service.TritonService:
    tensor = {"dataType": "FP32", "dims": [1]}
    model = {
        "name": "model",
        "backend": "python",
        "maxBatchSize": 8,
        "batching": {},
        "inputs": [{"name": "X", **tensor}],
        "outputs": [{"name": "Y", **tensor}],
    }
    made = triton_service.TritonService.model_validate(
        {
            "metadata": {"name": _NAME, "namespace": scrapes.NAMESPACE, "uid": _UID},
            "spec": {
                "modelRepository": {"persistentVolumeClaim": {"claimName": "models"}},
                "models": [model],
                "accelerator": {"count": 1},
                **spec,
            },
        }
    )
    return _with_status(made, {"replicas": replicas}, None)


def _with_status(
    before: triton_service.TritonService, assignment: Mapping[str, Any], record: Mapping[str, Any] | None
) -> triton_service.TritonService:
    status = before.status.model_copy(
        update={
            "assignment": triton_service.ServiceAssignment.model_validate(assignment),
            "autoscaling": autoscaling.AutoscalingStatus.model_validate(record) if record else None,
        }
    )
    return before.model_copy(update={"status": status})


def _build_pod(one: service.PodState) -> fleet.Pod:
    return fleet.Pod(
        uid=one.name,
        namespace=scrapes.NAMESPACE,
        name=one.name,
        labels={names.SERVICE_LABEL: _NAME},
        node=_NODE if one.bound else "",
        phase="Running" if one.bound else "Pending",
        ready=one.ready,
        deleting=one.deleting,
        requests={_GPU: 1},
        created_s=_EPOCH.timestamp() + one.created_s,
        ready_s=None if one.ready_s is None else _EPOCH.timestamp() + one.ready_s,
    )
