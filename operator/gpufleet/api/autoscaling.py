"""How the number of servers follows the load."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules, schedule

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
            ge=0,
            le=3600,
            description="The most cautious recommendation of this time counts; unset: 0 when it grows, 300 "
            "when it shrinks, or with spec.objective alone twice the measured start, 60 to 300.",
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


Mode = Literal["Active", "Advisory", "Off"]
Signal = Literal[
    "QueueWait",
    "PendingRequests",
    "RequestRate",
    "BusyPercent",
    "Latency",
    "KVCacheUsage",
    "TimeToFirstToken",
    "InterTokenLatency",
    "EngineActive",
]
SignalClass = Literal["Ok", "Idle", "Stale", "Missing", "Partial"]
Figure = Annotated[float, pydantic.Field(ge=0, le=1e12)]


class Target(meta.Schema):
    """A value that the number of servers is to hold, as an HPA holds its targets."""

    signal: Annotated[
        Signal,
        pydantic.Field(
            description="QueueWait (mean, ms), Latency, TimeToFirstToken and InterTokenLatency (P99 of the "
            "slowest server, ms) are of the service; KVCacheUsage and EngineActive (of the GPU, by DCGM; %) "
            "are means of its servers; PendingRequests, RequestRate (per second) and BusyPercent (100: one "
            "instance is never idle) are per server."
        ),
    ]
    value: Annotated[int, pydantic.Field(ge=1, le=10**9, description="In the signal's unit.")]


class Autoscaling(meta.Schema):
    """How many servers there are, by load."""

    mode: Annotated[
        Mode,
        pydantic.Field(
            description="Active sets the number of servers; Advisory computes the same and changes nothing; "
            "Off leaves it to spec.replicas and the scale subresource."
        ),
    ] = "Active"
    min_replicas: Annotated[
        int,
        pydantic.Field(
            ge=0,
            le=1000,
            description="Fewest servers. 0: the last one goes when nobody asks, and callers are refused "
            "until the annotation gpufleet.dev/wake, a schedule or a gateway's waiting requests wake it.",
        ),
    ] = 1
    max_replicas: Annotated[int, pydantic.Field(ge=1, le=1000, description="Most servers.")]
    targets: Annotated[
        list[Target],
        pydantic.Field(
            max_length=9,
            description="What is to be held, beside spec.objective; what needs most servers counts.",
            json_schema_extra=rules.list_map("signal"),
        ),
    ] = pydantic.Field(default_factory=list)
    confidence_percent: Annotated[
        int,
        pydantic.Field(
            ge=50,
            le=99,
            description="With spec.objective: how sure the servers are to carry what comes while one more "
            "would start; the margin that this takes follows from how wrong forecasts were.",
        ),
    ] = 95
    headroom_percent: Annotated[
        int | None,
        pydantic.Field(
            ge=0,
            le=90,
            description="With spec.objective: share of the servers' capacity that is kept free; unset: by "
            "confidencePercent.",
        ),
    ] = None
    idle_seconds: Annotated[
        int,
        pydantic.Field(
            ge=30,
            le=86_400,
            description="With minReplicas 0: how long nobody asks before the last server goes.",
        ),
    ] = 300
    schedules: Annotated[
        list[schedule.Schedule],
        pydantic.Field(
            max_length=16,
            description="Floors for times that are known; the highest that holds counts.",
            json_schema_extra=rules.list_map("name"),
        ),
    ] = pydantic.Field(default_factory=list)
    behavior: Annotated[Behavior, pydantic.Field(description="How fast the number may move.")] = Behavior()

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(
            rules.Rule(
                rule="!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
                message="minReplicas is above maxReplicas: lower it or raise maxReplicas",
                at=".minReplicas",
            ),
            rules.Rule(
                rule="!has(self.schedules) || self.schedules.all(s, s.minReplicas <= self.maxReplicas)",
                message="a schedule's minReplicas is above maxReplicas: lower it or raise maxReplicas",
                at=".schedules",
            ),
        )
    )


class Input(meta.Schema):
    """One signal as it was when the decision was made."""

    signal: Annotated[Signal, pydantic.Field(description="Name of the signal.")]
    value: Annotated[Figure | None, pydantic.Field(description="In the signal's unit; unset: unknown.")] = (
        None
    )
    target: Annotated[Figure, pydantic.Field(description="What it is to be.")]
    type: Annotated[
        SignalClass,
        pydantic.Field(description="Idle may shrink the service; Stale, Missing and Partial never do."),
    ]
    age_seconds: Annotated[meta.Count, pydantic.Field(description="Age of the oldest sample in it.")] = 0


class Clamp(meta.Schema):
    """Something that held the number back, or up."""

    reason: Annotated[meta.Reason, pydantic.Field(description="What, in one CamelCase word.")]
    before: Annotated[meta.Count, pydantic.Field(description="Servers wanted before it.")]
    after: Annotated[meta.Count, pydantic.Field(description="Servers that it allowed.")]
    message: Annotated[meta.Message, pydantic.Field(description="Why, in a sentence.")] = ""


ForecastMethod = Literal["LastValue", "Trend", "Seasonal"]
CapacitySource = Literal["Profile", "Learnt"]


class Demand(meta.Schema):
    """What the objective was weighed by, in requests per second."""

    offered: Annotated[Figure, pydantic.Field(description="Requests that came, refused ones included.")]
    expected: Annotated[
        Figure, pydantic.Field(description="The most that is expected while a new server would start.")
    ]
    method: Annotated[
        ForecastMethod,
        pydantic.Field(description="LastValue unless trend or season have foretold the past better."),
    ] = "LastValue"
    horizon_seconds: Annotated[meta.Count, pydantic.Field(description="How long a server takes to start.")]
    margin: Annotated[Figure, pydantic.Field(description="Requests beyond it that are provided for.")] = 0.0
    noise: Annotated[
        Figure | None,
        pydantic.Field(description="Standard deviation of the load from its forecasts; unset: unknown."),
    ] = None
    capacity: Annotated[Figure, pydantic.Field(description="Requests that one server carries.")]
    source: Annotated[
        CapacitySource,
        pydantic.Field(description="Profile: of the ModelProfile; Learnt: of the servers under load."),
    ]


class ScalingDecision(meta.Schema):
    """One change of the number of servers, or of the reason why it does not change."""

    time: Annotated[datetime.datetime, pydantic.Field(description="When it was made.")]
    before: Annotated[meta.Count, pydantic.Field(description="Servers before it.")]
    wanted: Annotated[meta.Count, pydantic.Field(description="Servers that the signals asked for.")]
    replicas: Annotated[meta.Count, pydantic.Field(description="Servers after all clamps.")]
    reason: Annotated[meta.Reason, pydantic.Field(description="Why, in one CamelCase word.")]
    message: Annotated[meta.Message, pydantic.Field(description="Why, in a sentence.")] = ""
    inputs: Annotated[list[Input], pydantic.Field(max_length=9, description="Signals at that time.")] = (
        pydantic.Field(default_factory=list)
    )
    demand: Annotated[
        Demand | None, pydantic.Field(description="Load and capacity, where spec.objective counts.")
    ] = None
    clamps: Annotated[
        list[Clamp], pydantic.Field(max_length=12, description="What moved it further, in order.")
    ] = pydantic.Field(default_factory=list)


class AutoscalingStatus(meta.Schema):
    """What was decided and why; it changes with a decision, not with a sample."""

    mode: Annotated[Mode, pydantic.Field(description="Advisory: replicas is what Active would have.")]
    replicas: Annotated[meta.Count, pydantic.Field(description="Servers that the newest decision gives.")]
    decisions: Annotated[
        list[ScalingDecision], pydantic.Field(max_length=10, description="The last ten, the newest first.")
    ] = pydantic.Field(default_factory=list)
    woken: Annotated[
        str,
        pydantic.Field(max_length=256, description="Value of the annotation gpufleet.dev/wake seen last."),
    ] = ""
