"""Triton's dynamic batcher: which requests wait for others, for how long, and in which order."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules

LONGEST_MICROSECONDS = 86_400_000_000
"""A day: a longer time in a queue is a mistake in the unit."""

Microseconds = Annotated[int, pydantic.Field(ge=0, le=LONGEST_MICROSECONDS)]
QueueDelay = Annotated[int, pydantic.Field(ge=0, le=60_000_000)]
BatchSizes = Annotated[list[Annotated[int, pydantic.Field(ge=1, le=65536)]], pydantic.Field(max_length=32)]


class QueuePolicy(meta.Schema):
    """How long requests may wait, and how many."""

    timeout_action: Annotated[
        Literal["Reject", "Delay"],
        pydantic.Field(description="What becomes of a request that waited too long; Delay: it goes last."),
    ] = "Reject"
    default_timeout_microseconds: Annotated[
        Microseconds, pydantic.Field(description="How long a request may wait; 0: for ever.")
    ] = 0
    allow_timeout_override: Annotated[
        bool, pydantic.Field(description="Whether a request may ask for a shorter time.")
    ] = False
    max_queue_size: Annotated[
        int, pydantic.Field(ge=0, le=2**31 - 1, description="Requests that may wait; 0: any number.")
    ] = 0


class PriorityQueuePolicy(QueuePolicy):
    """The policy of one priority level."""

    level: Annotated[int, pydantic.Field(ge=1, le=100, description="Priority level; 1 is the highest.")]


class Batching(meta.Schema):
    """Triton's dynamic batcher."""

    mode: Annotated[
        Literal["Static", "Tuned", "Disabled"],
        pydantic.Field(
            description="Static uses the values given here; Tuned chooses size, delay and instances for "
            "spec.objective and verifies them on one pod; Disabled turns the batcher off."
        ),
    ] = "Static"
    max_instances: Annotated[
        int | None,
        pydantic.Field(
            ge=1, le=64, description="Tuned: copies that the memory allows; unset: instanceGroups stay."
        ),
    ] = None
    max_queue_delay_microseconds: Annotated[
        QueueDelay | None, pydantic.Field(description="How long a request may wait for others; unset: 0.")
    ] = None
    preferred_batch_sizes: Annotated[
        BatchSizes, pydantic.Field(description="Batch sizes to form at once, each at most maxBatchSize.")
    ] = pydantic.Field(default_factory=list)
    preserve_ordering: Annotated[
        bool, pydantic.Field(description="Whether responses leave in the order of their requests.")
    ] = False
    priority_levels: Annotated[
        int, pydantic.Field(ge=0, le=100, description="Number of priority levels; 0: no priorities.")
    ] = 0
    default_priority_level: Annotated[
        int, pydantic.Field(ge=0, le=100, description="Level of a request that names none.")
    ] = 0
    default_queue_policy: Annotated[
        QueuePolicy | None, pydantic.Field(description="How long and how many requests may wait.")
    ] = None
    priority_queue_policies: Annotated[
        list[PriorityQueuePolicy],
        pydantic.Field(
            max_length=32,
            description="Policies of levels that differ from the default.",
            json_schema_extra=rules.list_map("level"),
        ),
    ] = pydantic.Field(default_factory=list)

    @property
    def queues_only(self) -> bool:
        """Whether it says something that also makes sense for a model without a batch dimension."""
        return bool(self.priority_levels or self.default_queue_policy or self.priority_queue_policies)
