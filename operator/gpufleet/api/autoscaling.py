"""How the number of servers follows the load."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules

PolicyType = Literal["Pods", "Percent"]
SelectPolicy = Literal["Max", "Min", "Disabled"]


class ScalingPolicy(meta.Schema):
    """So many servers, or percent of them, may come or go within a period."""

    type: Annotated[PolicyType, pydantic.Field(description="What value counts.")]
    value: Annotated[int, pydantic.Field(ge=1, le=10_000, description="Servers or percent.")]
    period_seconds: Annotated[
        int, pydantic.Field(ge=1, le=1800, description="Time in which the change may be made.")
    ]


class ScalingRules(meta.Schema):
    """How fast the number may move in one direction; the fields of an HPA's behavior."""

    stabilization_window_seconds: Annotated[
        int | None,
        pydantic.Field(
            ge=0, le=3600, description="The most cautious recommendation of this time counts; unset: default."
        ),
    ] = None
    policies: Annotated[
        list[ScalingPolicy],
        pydantic.Field(
            max_length=8,
            description="Limits of the rate; empty: default.",
            json_schema_extra=rules.list_map("type", "periodSeconds"),
        ),
    ] = pydantic.Field(default_factory=list)
    select_policy: Annotated[
        SelectPolicy,
        pydantic.Field(description="Which policy counts: Max allows most, Min least, Disabled nothing."),
    ] = "Max"
    tolerance_percent: Annotated[
        int, pydantic.Field(ge=0, le=100, description="A ratio this close to one changes nothing.")
    ] = 10


class Behavior(meta.Schema):
    """How fast the number may move."""

    scale_up: Annotated[ScalingRules, pydantic.Field(description="When it grows.")] = ScalingRules()
    scale_down: Annotated[ScalingRules, pydantic.Field(description="When it shrinks.")] = ScalingRules()
