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
    limits: Mapping[str, Any],
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    """One attempt of a gang: every worker once, and the first failure ends it for all.

    `limits` are the fields of the Job that say when it may start, has failed or has succeeded.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta.annotated(meta.build_meta(name, namespace, labels), annotations),
        "spec": {
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            **limits,
            "template": dict(template),
        },
    }
