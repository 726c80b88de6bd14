"""The dynamic batcher. Rules: Triton's model_config_utils.cc, ValidateModelConfig."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import batching, model

BATCHES_IN_FLIGHT = ("vllm", "tensorrtllm")
"""Backends that form batches token by token, whatever Triton's batcher does."""


def check(one: model.Model) -> Iterator[str]:
    """What Triton would refuse or silently ignore, a sentence each: field, value, fix."""
    wanted = one.batching
    if wanted is None or wanted.mode == "Disabled":
        return
    if one.max_batch_size < 1 and not wanted.queues_only:
        yield (
            "batching needs a batch dimension, but maxBatchSize is 0: "
            "set maxBatchSize to at least 1, or batching.mode Disabled"
        )
    if wanted.mode == "Tuned":
        yield from _check_tuned(one, wanted)
    elif wanted.max_instances is not None:
        yield "batching.maxInstances is for mode Tuned: use instanceGroups, or set mode to Tuned"
    yield from check_sizes("batching.preferredBatchSizes", wanted.preferred_batch_sizes, one.max_batch_size)
    yield from _check_priorities(wanted)
    yield from _check_ordering(wanted)


def _check_tuned(one: model.Model, wanted: batching.Batching) -> Iterator[str]:
    """Where there is nothing to choose, or somebody else has chosen already."""
    if one.backend_name in BATCHES_IN_FLIGHT:
        yield (
            f"batching.mode Tuned does not fit backend {one.backend_name}, which batches in flight: "
            "set its own limits, and mode to Static"
        )
    if one.max_batch_size < 2:
        yield (
            f"batching.mode Tuned needs maxBatchSize of at least 2, and it is {one.max_batch_size}: "
            "raise it, or set mode to Static"
        )
    if wanted.preferred_batch_sizes or wanted.max_queue_delay_microseconds is not None:
        yield (
            "batching.mode Tuned chooses preferredBatchSizes and maxQueueDelayMicroseconds itself: "
            "leave them out, or set mode to Static"
        )
    if wanted.max_instances is not None and len(one.instance_groups) > 1:
        yield (
            f"batching.maxInstances is for one instance group, and there are {len(one.instance_groups)}: "
            "leave it out, or keep one group"
        )


def check_sizes(field: str, sizes: Sequence[int], max_batch_size: int) -> Iterator[str]:
    """Preferred sizes may not exceed the largest batch."""
    if too_large := [size for size in sizes if size > max_batch_size]:
        yield (
            f"{field} has {too_large[0]}, more than maxBatchSize {max_batch_size}: "
            f"use at most {max_batch_size}"
        )


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes the batcher into `config`; it is on by the mere presence of its message."""
    wanted = one.batching
    if wanted is None or wanted.mode == "Disabled":
        return
    batcher = config.dynamic_batching
    batcher.SetInParent()
    batcher.preferred_batch_size.extend(sorted(wanted.preferred_batch_sizes))
    batcher.max_queue_delay_microseconds = wanted.max_queue_delay_microseconds or 0
    batcher.preserve_ordering = wanted.preserve_ordering
    batcher.priority_levels = wanted.priority_levels
    batcher.default_priority_level = wanted.default_priority_level
    if wanted.default_queue_policy is not None:
        batcher.default_queue_policy.CopyFrom(_build_policy(wanted.default_queue_policy))
    for policy in wanted.priority_queue_policies:
        batcher.priority_queue_policy[policy.level].CopyFrom(_build_policy(policy))


def _build_policy(policy: batching.QueuePolicy) -> model_config_pb2.ModelQueuePolicy:
    return model_config_pb2.ModelQueuePolicy(
        timeout_action=policy.timeout_action.upper(),
        default_timeout_microseconds=policy.default_timeout_microseconds,
        allow_timeout_override=policy.allow_timeout_override,
        max_queue_size=policy.max_queue_size,
    )


def _check_priorities(wanted: batching.Batching) -> Iterator[str]:
    levels = wanted.priority_levels
    default = wanted.default_priority_level
    if levels and not 1 <= default <= levels:
        yield (
            f"batching.defaultPriorityLevel is {default}, but priorityLevels is {levels}: "
            f"choose a level in 1..{levels}"
        )
    if not levels and default:
        yield (
            f"batching.defaultPriorityLevel is {default}, but there are no levels: "
            f"set priorityLevels to at least {default}, or leave it out"
        )
    for policy in wanted.priority_queue_policies:
        if policy.level > levels:
            yield (
                f"batching.priorityQueuePolicies has level {policy.level}, but priorityLevels is {levels}: "
                f"remove it, or set priorityLevels to at least {policy.level}"
            )


def _check_ordering(wanted: batching.Batching) -> Iterator[str]:
    if not wanted.preserve_ordering:
        return
    if wanted.priority_levels > 1:
        yield (
            f"batching.preserveOrdering allows one priority level, and priorityLevels is "
            f"{wanted.priority_levels}: leave one of the two out"
        )
    default = wanted.default_queue_policy
    policies: list[batching.QueuePolicy] = [*([default] if default else []), *wanted.priority_queue_policies]
    if any(one.timeout_action == "Delay" and one.default_timeout_microseconds for one in policies):
        yield (
            "batching.preserveOrdering forbids the timeoutAction Delay, which puts requests behind others: "
            "use Reject, or leave preserveOrdering out"
        )
