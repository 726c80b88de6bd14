"""Deployments and Indexed Jobs around a pod template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet.decide.resources import meta


def build_deployment(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    replicas: int,
    template: Mapping[str, Any],
) -> dict[str, Any]:
    """A Deployment whose template never changes: a new template is a new Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta.build_meta(name, namespace, labels),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": dict(selector)},
            "template": dict(template),
        },
    }


def build_indexed_job(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    workers: int,
    template: Mapping[str, Any],
    *,
    leader_decides: bool = False,
) -> dict[str, Any]:
    """One attempt of a gang: every worker once, and the first failure ends it for all.

    It has succeeded with every worker, or with worker 0 where the others only serve it.
    """
    success = {"successPolicy": {"rules": [{"succeededIndexes": "0"}]}} if leader_decides else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta.build_meta(name, namespace, labels),
        "spec": {
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            **success,
            "template": dict(template),
        },
    }
