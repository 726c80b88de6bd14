"""Random valid objects, drawn from the structural schemas and made to keep the CEL rules."""

from __future__ import annotations

import datetime
import functools
import math
import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from gpufleet.api import meta, model_repository, pod, rules, schema, training_gang
from gpufleet.api.triton import model as triton_model

Wire = dict[str, Any]

LIST_LENGTH = 3
TEXT_LENGTH = 40
TEXT = st.characters(codec="ascii", categories=("L", "N", "P", "Zs"))
MOMENTS = st.datetimes(min_value=datetime.datetime(2000, 1, 1), max_value=datetime.datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0).isoformat() + "Z"
)


@functools.cache
def specs(model: type[meta.Schema]) -> st.SearchStrategy[Wire]:
    """Wire forms of one spec that the server accepts."""
    return values(schema.structural_schema(model)).map(keep_rules)


@functools.cache
def statuses(model: type[meta.Schema]) -> st.SearchStrategy[Wire]:
    """Wire forms of one status that the server accepts."""
    return values(schema.structural_schema(model))


def values(node: Wire) -> st.SearchStrategy[Any]:
    """Values that one structural schema allows."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("format") == "date-time":
        return MOMENTS
    return BY_TYPE[node["type"]](node)


def _strings(node: Wire) -> st.SearchStrategy[str]:
    shortest, longest = node.get("minLength", 0), min(node["maxLength"], TEXT_LENGTH)
    if "pattern" not in node:
        return st.text(TEXT, min_size=shortest, max_size=longest)
    drawn = st.from_regex(node["pattern"].removesuffix("$"), fullmatch=True, alphabet=TEXT)
    return drawn.map(lambda text: text[:longest].rstrip("-._ ")).filter(
        lambda text: len(text) >= shortest and ".." not in text and re.fullmatch(node["pattern"], text)
    )


def _numbers(node: Wire) -> st.SearchStrategy[float]:
    return st.floats(node["minimum"], node["maximum"]).map(lambda value: round(value, 3))


def _integers(node: Wire) -> st.SearchStrategy[int]:
    return st.integers(node["minimum"], node["maximum"])


def _booleans(node: Wire) -> st.SearchStrategy[bool]:
    return st.booleans()


def _lists(node: Wire) -> st.SearchStrategy[list[Any]]:
    keys = node.get(rules.LIST_MAP_KEYS)
    return st.lists(
        values(node["items"]),
        min_size=node.get("minItems", 0),
        max_size=min(node["maxItems"], LIST_LENGTH),
        unique_by=(lambda item: tuple(item[key] for key in keys)) if keys else None,
    )


def _objects(node: Wire) -> st.SearchStrategy[Wire]:
    if "additionalProperties" in node:
        keys = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True)
        return st.dictionaries(keys, values(node["additionalProperties"]), min_size=1, max_size=LIST_LENGTH)
    members = {name: values(child) for name, child in node["properties"].items()}
    required = {name: members.pop(name) for name in node.get("required", [])}
    return st.fixed_dictionaries(required, optional=members)


BY_TYPE: dict[str, Callable[[Wire], st.SearchStrategy[Any]]] = {
    "string": _strings,
    "number": _numbers,
    "integer": _integers,
    "boolean": _booleans,
    "array": _lists,
    "object": _objects,
}


def keep_rules(spec: Wire) -> Wire:
    """The spec, changed where a CEL rule would refuse it."""
    if repository := spec.get("modelRepository", {}):
        _keep_one(repository, model_repository.KINDS)
    elif "modelRepository" in spec:
        spec["modelRepository"] = {"image": {"reference": "models:1"}}
    _keep_one(spec.get("accelerator", {}), ("count", "memory", "migProfile"))
    _keep_one(spec.get("topology", {}), ("required", "preferred"))
    for model in spec.get("models", []):
        _keep_batches(model)
        if "objective" not in spec and model.get("batching", {}).get("mode") == "Tuned":
            model["batching"]["mode"] = "Static"
    if "maxReplicas" in spec.get("autoscaling", {}):
        _keep_scaling(spec)
    for template in (spec.get("template", {}), spec.get("podDefaults", {})):
        _keep_template(template)
    if policy := spec.get("mig"):
        for window in policy.get("windows", []):
            window |= {"start": "0 8 * * 1-5", "timeZone": "Etc/UTC"}
        if policy.get("mode") == "Static" and not policy.get("layout"):
            policy["mode"] = "Off"
    if workers := spec.get("workers"):
        workers["min"] = min(workers.get("min", 1), workers["max"])
        if spec.get("accelerator", {}).get("migProfile"):
            spec["workers"] = {"max": 1}
        _keep_gang(spec)
    return spec


def _keep_one(members: Wire, names: tuple[str, ...]) -> None:
    for extra in [name for name in names if name in members][1:]:
        del members[extra]


def _keep_scaling(spec: Wire) -> None:
    scaling = spec["autoscaling"]
    scaling["minReplicas"] = min(scaling.get("minReplicas", 1), scaling["maxReplicas"])
    if not scaling.get("targets") and "objective" not in spec:
        scaling["mode"] = "Off"
    for schedule in scaling.get("schedules", []):
        # What is no crontab and no time zone is refused by the operator, not by the API server.
        schedule |= {"start": "0 8 * * 1-5", "timeZone": "Etc/UTC"}
        schedule["minReplicas"] = min(schedule["minReplicas"], scaling["maxReplicas"])
    if scaling.get("mode", "Active") == "Active":
        spec.pop("replicas", None)


def _keep_gang(spec: Wire) -> None:
    """A layout that fits every size, and only the blocks of the framework."""
    if wanted := spec.get("parallelism"):
        wanted.clear()
    if slices := spec.get("topology", {}).get("slices"):
        slices["size"] = math.gcd(spec["workers"]["max"], spec["workers"].get("min", 0))
    framework = spec.get("framework", "Plain")
    if framework not in ("Torch", "DeepSpeed"):
        spec.pop("torch", None)
    if framework not in ("MPI", "DeepSpeed"):
        spec.pop("mpi", None)
    if framework == "MPI":
        spec.setdefault("mpi", {"sshSecretName": "ssh"})
    if "mpi" in spec and not spec["template"].get("command"):
        spec["template"]["command"] = ["mpirun"]


def _keep_batches(model: Wire) -> None:
    _keep_one(model, ("batching", "sequenceBatching", "ensemble"))
    _keep_one(model, (*triton_model.BACKEND_BLOCKS, "ensemble"))
    _keep_one(model.get("sequenceBatching", {}), ("direct", "oldest"))
    for tensor in [*model.get("inputs", []), *model.get("outputs", [])]:
        tensor["dims"] = [size or -1 for size in tensor["dims"]]
    if "batching" in model:
        largest = max(model["batching"].get("preferredBatchSizes", []), default=1)
        model["maxBatchSize"] = max(largest, model.get("maxBatchSize", 1))


def _keep_template(template: Wire) -> None:
    reserved = {pod.DEVICE_ENV, *(name for names in training_gang.RESERVED_ENV.values() for name in names)}
    if "env" in template:
        template["env"] = [variable for variable in template["env"] if variable["name"] not in reserved]
    if "requests" in template.get("resources", {}):
        template["resources"].pop("limits", None)
    for index, volume in enumerate(template.get("volumes", [])):
        volume["mountPath"] = f"/mnt/{index}"
        _keep_one(volume, ("persistentVolumeClaim", "emptyDir"))
        if "persistentVolumeClaim" not in volume:
            volume.setdefault("emptyDir", {})
