"""Readings and samples with what a test wants said."""

from __future__ import annotations

from typing import Any

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import signals
from gpufleet.state import fleet, samples

NAMESPACE = "team-a"


def make_spec(**fields: Any) -> autoscaling.Autoscaling:
    """Active, 1 to 10 servers, a mean wait of 50 ms."""
    wanted = {"maxReplicas": 10, "targets": [{"signal": "QueueWait", "value": 50}], **fields}
    return autoscaling.Autoscaling.model_validate(wanted)


def make_pod(name: str, **fields: Any) -> fleet.Pod:
    return fleet.Pod(uid=name, namespace=NAMESPACE, name=name, **{"ready": True, **fields})


def make_pods(ready: int, starting: int = 0) -> tuple[fleet.Pod, ...]:
    return tuple(make_pod(f"p{number}", ready=number < ready) for number in range(ready + starting))


def make_sample(**fields: Any) -> samples.PodSample:
    """A pod that answers and is asked nothing."""
    zero = dict.fromkeys(("queue_s", "served", "failed", "shed", "pending", "busy"), 0.0)
    return samples.PodSample(**{"age_s": 5.0, **zero, **fields})


def make_look(pods: tuple[fleet.Pod, ...], error: str = "", number: int = 1, **fields: Any) -> samples.Look:
    """Every pod with the same sample."""
    sample = make_sample(**fields)
    return samples.Look(number, 0.0, {(pod.namespace, pod.name): sample for pod in pods}, error)


def waiting(milliseconds: float, per_second: float = 10.0) -> dict[str, float]:
    """Fields of a sample whose requests wait so long on average."""
    return {"served": per_second, "queue_s": per_second * milliseconds / 1000}


def read(ready: int, **fields: Any) -> signals.Readings:
    pods = make_pods(ready)
    return signals.read(pods, make_look(pods, **fields))
