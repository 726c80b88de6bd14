"""Smallest valid objects of every kind in wire form, with what a test wants to say about them."""

from __future__ import annotations

import copy
from typing import Any

from gpufleet.api import meta

Wire = dict[str, Any]


def merged(base: Wire, overrides: Wire) -> Wire:
    """`base` with `overrides` laid over it: dictionaries merge, None removes, all else replaces."""
    result = copy.deepcopy(base)
    for key, value in overrides.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def make_object(kind: str, spec: Wire, name: str, namespace: str | None) -> Wire:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": meta.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def make_service(name: str = "vision", namespace: str = "default", **spec: Any) -> Wire:
    """A TritonService with one model from a ConfigMap; keywords are laid over its spec."""
    base = {
        "modelRepository": {
            "configMap": {"name": "models", "items": [{"key": "model.py", "path": "double/1/model.py"}]}
        },
        "models": [
            {
                "name": "double",
                "backend": "python",
                "inputs": [{"name": "IN", "dataType": "FP32", "dims": [4]}],
                "outputs": [{"name": "OUT", "dataType": "FP32", "dims": [4]}],
            }
        ],
    }
    return make_object("TritonService", merged(base, spec), name, namespace)


def make_training_job(name: str = "llm", namespace: str = "default", **spec: Any) -> Wire:
    """A TrainingJob of two plain workers; keywords are laid over its spec."""
    base = {"workers": {"max": 2}, "template": {"image": "trainer:1", "command": ["train"]}}
    return make_object("TrainingJob", merged(base, spec), name, namespace)


def make_pool(name: str = "a100", **spec: Any) -> Wire:
    """A GPUPool; keywords are laid over its spec."""
    return make_object("GPUPool", merged({"nodeSelector": {"gpufleet.dev/pool": "a100"}}, spec), name, None)
