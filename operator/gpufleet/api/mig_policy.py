"""What a pool says about the MIG layouts of its nodes, and what is told of them."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules, schedule

Mode = Literal["Dynamic", "Static", "Off"]
Act = Literal["Advisory", "Active"]
DrainPolicy = Literal["Wait", "Drain"]
SliceChoice = Literal["Advisory", "Auto"]

MOST_PROFILES = 32

Profile = Annotated[
    str,
    pydantic.Field(
        max_length=32,
        pattern=r"^[1-7]g\.[0-9]+gb([+-](me|gfx)(\.all)?)?$",
        description="MIG profile, such as 1g.10gb.",
    ),
]


class ProfileCount(meta.Schema):
    """So many slices of one profile."""

    profile: Profile
    count: Annotated[int, pydantic.Field(ge=0, le=100_000, description="Slices.")]


def _per_profile(description: str) -> pydantic.fields.FieldInfo:
    found: pydantic.fields.FieldInfo = pydantic.Field(
        max_length=MOST_PROFILES, description=description, json_schema_extra=rules.list_map("profile")
    )
    return found


_LAYOUT_OF_STATIC = rules.Rule(
    rule="!has(self.mode) || self.mode != 'Static' || (has(self.layout) && self.layout.size() > 0)",
    message="mig.mode Static needs mig.layout: say how many slices of which profile each GPU is cut into",
)


class MigPolicy(meta.Schema):
    """How GPUs of the pool are cut into MIG slices, by whom, and when."""

    model_config = pydantic.ConfigDict(json_schema_extra=rules.validated(_LAYOUT_OF_STATIC))

    mode: Annotated[
        Mode,
        pydantic.Field(
            description="Dynamic cuts GPUs for the slices that wait, Static keeps one layout on all, Off "
            "leaves all as it is."
        ),
    ] = "Off"
    act: Annotated[
        Act,
        pydantic.Field(
            description="Active carries plans out; Advisory makes and tells them, and acts on none."
        ),
    ] = "Advisory"
    allowed_profiles: Annotated[
        list[Profile],
        pydantic.Field(
            max_length=MOST_PROFILES, description="Profiles that may be made; empty: all of the device."
        ),
    ] = pydantic.Field(default_factory=list)
    reserved_whole_gpus: Annotated[
        int,
        pydantic.Field(
            alias="reservedWholeGPUs",
            ge=0,
            le=64,
            description="GPUs of each node on which MIG is never turned on.",
        ),
    ] = 0
    minimums: Annotated[
        list[ProfileCount],
        _per_profile("Slices, held or free, that the pool has at least, as far as they fit."),
    ] = pydantic.Field(default_factory=list)
    layout: Annotated[
        list[ProfileCount], _per_profile("Slices that each GPU is cut into; only in mode Static.")
    ] = pydantic.Field(default_factory=list)
    drain_policy: Annotated[
        DrainPolicy,
        pydantic.Field(
            description="Wait changes GPUs that nobody holds; Drain also evicts pods that a controller makes "
            "again, as far as PodDisruptionBudgets allow."
        ),
    ] = "Wait"
    drain_timeout_seconds: Annotated[
        int,
        pydantic.Field(
            ge=60, le=86_400, description="A node whose pods have not gone after this long is given back."
        ),
    ] = 1800
    max_nodes_in_flight: Annotated[
        int, pydantic.Field(ge=1, le=1000, description="Nodes of the pool that may change at a time.")
    ] = 1
    windows: Annotated[
        list[schedule.Window],
        pydantic.Field(
            max_length=16,
            description="Times at which changes may begin; none: at any time.",
            json_schema_extra=rules.list_map("name"),
        ),
    ] = pydantic.Field(default_factory=list)
    blackout_seconds: Annotated[
        int,
        pydantic.Field(ge=0, le=86_400, description="How long a GPU's slices are away when it is cut anew."),
    ] = 60
    horizon_seconds: Annotated[
        int,
        pydantic.Field(
            ge=60,
            le=604_800,
            description="Within which a change has to win back its blackout, and a service's move to another "
            "slice what it costs.",
        ),
    ] = 3600
    slice_choice: Annotated[
        SliceChoice,
        pydantic.Field(
            description="Auto moves services that ask for memory to the slices that hold their objective at "
            "least cost; Advisory only tells which those are."
        ),
    ] = "Advisory"


class ProfileUse(meta.Schema):
    """Slices of one profile over all nodes of the pool."""

    profile: Annotated[str, pydantic.Field(max_length=32, description="MIG profile.")]
    total: Annotated[meta.Count, pydantic.Field(description="Slices that nodes offer.")]
    used: Annotated[meta.Count, pydantic.Field(description="Those that pods hold.")] = 0
    free: Annotated[meta.Count, pydantic.Field(description="Those that a pod could have now.")] = 0


class NodesFor(meta.Schema):
    """Nodes that one reason keeps from being planned or changed."""

    reason: Annotated[meta.Reason, pydantic.Field(description="Why, in one CamelCase word.")]
    nodes: Annotated[meta.Count, pydantic.Field(description="How many.")]
    example: Annotated[str, pydantic.Field(max_length=253, description="Name of one of them.")] = ""


class LastPlan(meta.Schema):
    """What the last plan says."""

    reason: Annotated[meta.Reason, pydantic.Field(description="What it amounts to, in one CamelCase word.")]
    message: Annotated[meta.Message, pydantic.Field(description="The same in a sentence.")] = ""
    gpus: Annotated[meta.Count, pydantic.Field(description="GPUs that it changes.")] = 0
    nodes: Annotated[meta.Count, pydantic.Field(description="Nodes that it changes.")] = 0
    at: Annotated[datetime.datetime | None, pydantic.Field(description="When it was new.")] = None


class MigStatus(meta.Schema):
    """Aggregates; what each node does is in the read API."""

    profiles: Annotated[
        list[ProfileUse],
        pydantic.Field(
            max_length=64, description="Slices by profile.", json_schema_extra=rules.list_map("profile")
        ),
    ] = pydantic.Field(default_factory=list)
    nodes_in_flight: Annotated[meta.Count, pydantic.Field(description="Nodes that are being changed.")] = 0
    fragmentation_percent: Annotated[
        int,
        pydantic.Field(
            ge=0, le=100, description="Mean part of a GPU that is free and of no use to what waits."
        ),
    ] = 0
    plan: Annotated[LastPlan | None, pydantic.Field(description="What the last plan says.")] = None
    kept_out: Annotated[
        list[NodesFor],
        pydantic.Field(
            max_length=32,
            description="Why nodes are not planned for or changed.",
            json_schema_extra=rules.list_map("reason"),
        ),
    ] = pydantic.Field(default_factory=list)
