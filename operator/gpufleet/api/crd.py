"""CustomResourceDefinitions: the models' schemas with names, subresources and printer columns."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pydantic

from gpufleet.api import gpu_pool, meta, model_profile, rules, schema, training_job, triton_service

Manifest = dict[str, Any]

CATEGORY = "gpufleet"
WIDE = 1
"""Priority of columns that only `kubectl get -o wide` shows."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: Literal["string", "integer", "number", "date"] = "string"
    description: str = ""
    priority: int = 0

    def to_wire(self) -> Manifest:
        wire: Manifest = {"name": self.name, "type": self.type, "jsonPath": self.path}
        wire |= {"description": self.description} if self.description else {}
        return wire | ({"priority": self.priority} if self.priority else {})


def condition_column(condition: str, name: str, part: str = "status", priority: int = 0) -> Column:
    """One part (status, reason, message) of one condition."""
    path = f'.status.conditions[?(@.type=="{condition}")].{part}'
    return Column(name, path, description=f"{part.capitalize()} of condition {condition}.", priority=priority)


AGE = Column("Age", ".metadata.creationTimestamp", "date")
ACCELERATOR = Column(
    "Accelerator", ".status.assignment.accelerator.resource", description="Resource that each pod gets."
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of the group: its model, its names, and what kubectl shows of it."""

    model: type[pydantic.BaseModel]
    plural: str
    short_name: str
    scope: Literal["Namespaced", "Cluster"]
    columns: tuple[Column, ...]
    scale: Manifest | None = None

    @property
    def kind(self) -> str:
        return self.model.__name__

    @property
    def is_record(self) -> bool:
        """Whether gpufleet writes it and nothing is to be done about it: it has no status."""
        return "status" not in self.model.model_fields

    @property
    def name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{meta.GROUP}"


KINDS = (
    Kind(
        model=triton_service.TritonService,
        plural=triton_service.PLURAL,
        short_name="tsvc",
        scope="Namespaced",
        columns=(
            condition_column("Ready", "Ready"),
            Column("Serving", ".status.readyReplicas", "integer", "Servers whose models are all ready."),
            Column("Assigned", ".status.assignment.replicas", "integer", "Servers that may run."),
            ACCELERATOR,
            condition_column("Ready", "Reason", "reason"),
            Column("Rollout", ".status.rollout.phase", description="Phase of the rollout, if there is one."),
            AGE,
            condition_column("Ready", "Message", "message", WIDE),
        ),
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
    Kind(
        model=training_job.TrainingJob,
        plural=training_job.PLURAL,
        short_name="tjob",
        scope="Namespaced",
        columns=(
            condition_column("Succeeded", "Succeeded"),
            Column("Attempt", ".status.attempt", "integer", "Gang starts so far."),
            Column("Workers", ".status.assignment.workers", "integer", "Workers that may run."),
            Column("Active", ".status.activeWorkers", "integer", "Workers that run now."),
            ACCELERATOR,
            condition_column("Succeeded", "Reason", "reason"),
            AGE,
            condition_column("Succeeded", "Message", "message", WIDE),
        ),
    ),
    Kind(
        model=gpu_pool.GPUPool,
        plural=gpu_pool.PLURAL,
        short_name="gpool",
        scope="Cluster",
        columns=(
            condition_column("Ready", "Ready"),
            Column("Nodes", ".status.nodes", "integer", "Nodes that the selector finds."),
            Column("Class", ".spec.deviceClass", description="Device class of the nodes."),
            AGE,
            Column("Ready Nodes", ".status.readyNodes", "integer", "Nodes that are Ready.", WIDE),
            condition_column("Ready", "Reason", "reason", WIDE),
            condition_column("Ready", "Message", "message", WIDE),
        ),
    ),
    Kind(
        model=model_profile.ModelProfile,
        plural=model_profile.PLURAL,
        short_name="mprof",
        scope="Namespaced",
        columns=(
            Column("Service", ".spec.service", description="TritonService of the model."),
            Column("Model", ".spec.model", description="Name of the model."),
            Column("Alpha us", ".spec.fit.alphaMicroseconds", "number", "Paid once per batch."),
            Column("Beta us", ".spec.fit.betaMicroseconds", "number", "Paid per item."),
            Column("R2", ".spec.fit.rSquared", "number", "Share of the variance that the line explains."),
            Column("Source", ".spec.source", description="Live requests or a profiling load."),
            Column("Measured", ".spec.measuredAt", "date", "When it was measured."),
            Column("Hardware", ".spec.hardware", description="Where it was measured.", priority=WIDE),
        ),
    ),
)


def build_crd(kind: Kind) -> Manifest:
    """The CustomResourceDefinition of one kind."""
    version: Manifest = {
        "name": meta.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(kind.model)},
        **_subresources(kind),
        "additionalPrinterColumns": [column.to_wire() for column in kind.columns],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name},
        "spec": {
            "group": meta.GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "scope": kind.scope,
            "versions": [version],
        },
    }


def _subresources(kind: Kind) -> Manifest:
    """A record has no status."""
    found: Manifest = {} if kind.is_record else {"status": {}}
    found |= {"scale": kind.scale} if kind.scale else {}
    return {"subresources": found} if found else {}


def _object_schema(model: type[pydantic.BaseModel]) -> Manifest:
    """The whole object: spec and status from the model, the rest as every kind has it."""
    extension = model.model_config.get("json_schema_extra")
    found: Manifest = {
        "description": " ".join((model.__doc__ or "").split()),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": schema.structural_schema(_model_of(model, "spec")),
        },
    }
    if "status" in model.model_fields:
        status = schema.structural_schema(_model_of(model, "status"), show_defaults=False)
        found["properties"]["status"] = status
    if isinstance(extension, dict):
        found[rules.VALIDATIONS] = extension[rules.VALIDATIONS]
    return found


def _model_of(model: type[pydantic.BaseModel], field: str) -> type[pydantic.BaseModel]:
    annotation = model.model_fields[field].annotation
    if not (isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)):
        raise TypeError(f"{model.__name__}.{field} must be a model")
    return annotation
