"""TritonService: Triton servers that answer inference requests for a set of models."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import autoscaling as autoscalings
from gpufleet.api import meta, pod, rules
from gpufleet.api import model_repository as repositories
from gpufleet.api import rollout as rollouts
from gpufleet.api import route as routes
from gpufleet.api import tuning as tunings
from gpufleet.api.triton import model

KIND = "TritonService"
PLURAL = "tritonservices"

ModelRepository = repositories.ModelRepository


class ServerTemplate(meta.Schema):
    """What the author may say about the Triton container and its pod."""

    image: Annotated[
        meta.Image | None, pydantic.Field(description="Triton image; unset: the operator's default.")
    ] = None
    env: Annotated[list[pod.EnvVar], pod.env_vars(64)] = pydantic.Field(default_factory=list)
    resources: Annotated[
        pod.Resources | None, pydantic.Field(description="CPU and memory of the Triton container.")
    ] = None
    response_cache_size: Annotated[
        meta.MemoryQuantity | None,
        pydantic.Field(description="Host memory for models with responseCache; unset: no cache."),
    ] = None
    image_pull_secrets: pod.PullSecrets = pydantic.Field(default_factory=list)
    priority_class_name: Annotated[
        pod.PriorityClassName | None,
        pydantic.Field(description="PriorityClass of the pods; unset: the cluster's default."),
    ] = None


TUNED_NEEDS_OBJECTIVE = rules.Rule(
    rule="has(self.objective) || self.models.all(m, !has(m.batching) || !has(m.batching.mode) "
    "|| m.batching.mode != 'Tuned')",
    message="batching.mode Tuned needs an objective: set spec.objective.latency",
    at=".models",
)

ONE_WRITER_OF_REPLICAS = rules.Rule(
    rule="!has(self.replicas) || !has(self.autoscaling) "
    "|| (has(self.autoscaling.mode) && self.autoscaling.mode != 'Active')",
    message="autoscaling.mode Active sets the number of servers: remove spec.replicas, or set another mode",
    at=".replicas",
)

SCALING_NEEDS_AN_AIM = rules.Rule(
    rule="!has(self.autoscaling) || (has(self.autoscaling.mode) && self.autoscaling.mode == 'Off') "
    "|| has(self.objective) || (has(self.autoscaling.targets) && self.autoscaling.targets.size() > 0)",
    message="autoscaling needs an aim: set spec.objective or autoscaling.targets, or mode Off",
    at=".autoscaling",
)


class TritonServiceSpec(meta.Schema):
    """What the ML engineer wants served."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(TUNED_NEEDS_OBJECTIVE, ONE_WRITER_OF_REPLICAS, SCALING_NEEDS_AN_AIM)
    )

    model_repository: Annotated[
        ModelRepository,
        pydantic.Field(description="Where the models' files are: exactly one of the members."),
    ]
    models: Annotated[
        list[model.Model],
        pydantic.Field(
            min_length=1,
            max_length=64,
            description="Models that every server loads.",
            json_schema_extra=rules.list_map("name"),
        ),
    ]
    accelerator: Annotated[
        accelerators.Accelerator | None,
        pydantic.Field(description="What each server needs; unset: CPU only."),
    ] = None
    objective: Annotated[
        tunings.Objective | None,
        pydantic.Field(description="What the service promises; batching.mode Tuned needs it."),
    ] = None
    replicas: Annotated[
        int | None,
        pydantic.Field(ge=0, le=1000, description="Servers; unset keeps what was last assigned, at first 1."),
    ] = None
    autoscaling: Annotated[
        autoscalings.Autoscaling | None,
        pydantic.Field(description="How the number of servers follows the load; unset: it does not."),
    ] = None
    template: Annotated[
        ServerTemplate | None, pydantic.Field(description="The Triton container and its pod.")
    ] = None
    route: Annotated[
        routes.Route | None,
        pydantic.Field(description="A route of the Gateway API; unset: the service is reached by its name."),
    ] = None
    rollout: Annotated[
        rollouts.Rollout | None,
        pydantic.Field(description="How servers are replaced when image, accelerator or template change."),
    ] = None


ModelState = Literal["Pending", "Loading", "Ready", "Failed"]


class ModelStatus(meta.Schema):
    """One model across all pods of the current revision."""

    name: Annotated[str, pydantic.Field(max_length=128, description="Name of the model.")]
    state: Annotated[ModelState, pydantic.Field(description="Ready once a pod answers requests for it.")]
    ready_pods: Annotated[meta.Count, pydantic.Field(description="Pods that answer requests for it.")] = 0
    versions: Annotated[
        str, pydantic.Field(max_length=256, description="Versions that answer, such as 3 or 2,3.")
    ] = ""
    load_milliseconds: Annotated[
        meta.Count | None,
        pydantic.Field(description="How long the slowest pod took to load it, warm-up included."),
    ] = None
    message: Annotated[
        meta.Message, pydantic.Field(description="Triton's own words where loading failed.")
    ] = ""
    tuning: Annotated[
        tunings.TuningStatus | None, pydantic.Field(description="What batching.mode Tuned has chosen.")
    ] = None


class MemoryStatus(meta.Schema):
    """Device memory of one server."""

    needed_mebibytes: Annotated[
        meta.Count, pydantic.Field(description="All copies of the models that give an estimate.")
    ]
    used_mebibytes: Annotated[
        meta.Count | None,
        pydantic.Field(description="What Triton has seen to be used, the most of all pods."),
    ] = None
    available_mebibytes: Annotated[
        meta.Count | None, pydantic.Field(description="What the assigned accelerator has, if it is known.")
    ] = None
    message: Annotated[
        meta.Message, pydantic.Field(description="Whether models can be reloaded while they serve.")
    ] = ""


class RightSizing(meta.Schema):
    """Advice on the MIG profile, by what the servers have used; nothing follows from it by itself."""

    reason: Annotated[meta.Reason, pydantic.Field(description="What is advised, in one CamelCase word.")]
    message: Annotated[
        meta.Message, pydantic.Field(description="Why, as things were when this was decided.")
    ] = ""
    profile: Annotated[
        str,
        pydantic.Field(max_length=32, description="MIG profile to take; the present one where it is right."),
    ] = ""


class SliceChoice(meta.Schema):
    """Which slice, or whole device, holds the objective at least cost."""

    reason: Annotated[meta.Reason, pydantic.Field(description="What is to be done, in one CamelCase word.")]
    message: Annotated[
        meta.Message, pydantic.Field(description="Why, as things were when this was decided.")
    ] = ""
    resource: Annotated[
        str, pydantic.Field(max_length=253, description="Extended resource of each server.")
    ] = ""
    servers: Annotated[
        meta.Count, pydantic.Field(description="Servers of it that the load asked for then.")
    ] = 0
    moved_at: Annotated[
        datetime.datetime | None, pydantic.Field(description="When the service last got another slice so.")
    ] = None


class ServiceAssignment(meta.Schema):
    """What the fleet cycle gave this service; only the cycle writes it."""

    replicas: Annotated[meta.Count, pydantic.Field(description="Servers that may run.")]
    accelerator: Annotated[
        accelerators.AssignedAccelerator | None, pydantic.Field(description="What each server gets.")
    ] = None
    requested: Annotated[
        str, pydantic.Field(max_length=256, description="The accelerator block that this answers.")
    ] = ""
    reason: Annotated[meta.Reason, pydantic.Field(description="Why, in one CamelCase word.")] = ""
    message: Annotated[meta.Message, pydantic.Field(description="Why, in a sentence.")] = ""
    rollout: Annotated[
        str, pydantic.Field(max_length=128, description="The rollout's request that surge answers.")
    ] = ""
    surge: Annotated[
        meta.Count, pydantic.Field(description="Servers that may run beyond replicas during the rollout.")
    ] = 0


class TritonServiceStatus(meta.Schema):
    """What gpufleet decided and why."""

    observed_generation: meta.ObservedGeneration = None
    conditions: meta.Conditions = pydantic.Field(default_factory=list)
    replicas: Annotated[meta.Count, pydantic.Field(description="Pods of this service.")] = 0
    ready_replicas: Annotated[meta.Count, pydantic.Field(description="Pods whose models are all ready.")] = 0
    selector: Annotated[
        str,
        pydantic.Field(max_length=1024, description="Label selector of the pods, for the scale subresource."),
    ] = ""
    revision: Annotated[
        str, pydantic.Field(max_length=63, description="Hash of the pod template that rolls out or runs.")
    ] = ""
    endpoint: Annotated[
        str, pydantic.Field(max_length=512, description="host:port of the HTTP endpoint in the cluster.")
    ] = ""
    models: Annotated[
        list[ModelStatus],
        pydantic.Field(
            max_length=64, description="State of every model.", json_schema_extra=rules.list_map("name")
        ),
    ] = pydantic.Field(default_factory=list)
    memory: Annotated[
        MemoryStatus | None, pydantic.Field(description="Device memory, where anything is known of it.")
    ] = None
    rollout: Annotated[
        rollouts.RolloutStatus | None, pydantic.Field(description="The rollout under way, or that failed.")
    ] = None
    assignment: Annotated[
        ServiceAssignment | None, pydantic.Field(description="What the fleet cycle gave this service.")
    ] = None
    autoscaling: Annotated[
        autoscalings.AutoscalingStatus | None,
        pydantic.Field(description="How the number of servers was decided; the fleet cycle writes it."),
    ] = None
    right_sizing: Annotated[
        RightSizing | None,
        pydantic.Field(description="Advice on the MIG profile; the fleet cycle writes it."),
    ] = None
    slice_choice: Annotated[
        SliceChoice | None,
        pydantic.Field(description="The slice that costs least; the fleet cycle writes it."),
    ] = None


class TritonService(pydantic.BaseModel):
    """Triton servers that answer inference requests for a set of models."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="ignore",
        json_schema_extra=rules.validated(rules.name_of_children(KIND, meta.LONGEST_OBJECT_NAME)),
    )

    metadata: meta.ObjectMeta
    spec: TritonServiceSpec
    status: TritonServiceStatus = TritonServiceStatus()
