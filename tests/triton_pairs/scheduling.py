"""Dynamic batching and sequence batching."""

from __future__ import annotations

from typing import Any

from tests.triton_pairs.pairs import Wire, pair


def batching(max_batch_size: int = 8, /, **fields: Any) -> Wire:
    return {"maxBatchSize": max_batch_size, "batching": fields}


_DELAY = {"timeoutAction": "Delay", "defaultTimeoutMicroseconds": 100}

BATCHING = [
    pair(
        "a preferred size over the largest batch",
        batching(preferredBatchSizes=[4, 8]),
        batching(preferredBatchSizes=[4, 9]),
        ["batching.preferredBatchSizes has 9", "at most 8"],
        "preferred size must be <= max batch size",
    ),
    pair(
        "a preferred size without batches",
        batching(1, preferredBatchSizes=[1]),
        batching(0, preferredBatchSizes=[1]),
        ["batching", "maxBatchSize is 0"],
        "preferred size must be <= max batch size",
    ),
    pair(
        "a batcher without batches",
        batching(1),
        batching(0),
        ["batching needs a batch dimension", "maxBatchSize is 0"],
        None,
        why="Triton takes a batcher that can never form a batch; who asks for one has forgotten maxBatchSize",
    ),
    pair(
        "levels without a default",
        batching(priorityLevels=2, defaultPriorityLevel=1),
        batching(priorityLevels=2),
        ["defaultPriorityLevel is 0", "1..2"],
        "default priority level must be in range",
    ),
    pair(
        "a default beyond the levels",
        batching(priorityLevels=2, defaultPriorityLevel=2),
        batching(priorityLevels=2, defaultPriorityLevel=3),
        ["defaultPriorityLevel is 3", "1..2"],
        "default priority level must be in range",
    ),
    pair(
        "a default without levels",
        batching(priorityLevels=1, defaultPriorityLevel=1),
        batching(defaultPriorityLevel=1),
        ["defaultPriorityLevel is 1", "no levels"],
        None,
        why="Triton ignores the level; who sets it believes that there are priorities",
    ),
    pair(
        "a policy beyond the levels",
        batching(priorityLevels=2, defaultPriorityLevel=1, priorityQueuePolicies=[{"level": 2}]),
        batching(priorityLevels=2, defaultPriorityLevel=1, priorityQueuePolicies=[{"level": 3}]),
        ["priorityQueuePolicies has level 3", "at least 3"],
        "must have priority level in range",
    ),
    pair(
        "a policy without levels",
        batching(priorityLevels=1, defaultPriorityLevel=1, priorityQueuePolicies=[{"level": 1}]),
        batching(priorityQueuePolicies=[{"level": 1}]),
        ["priorityQueuePolicies has level 1", "priorityLevels is 0"],
        None,
        why="Triton ignores the policy; who writes it believes that it holds",
    ),
    pair(
        "order and priorities",
        batching(preserveOrdering=True, priorityLevels=1, defaultPriorityLevel=1),
        batching(preserveOrdering=True, priorityLevels=2, defaultPriorityLevel=1),
        ["preserveOrdering", "priorityLevels is 2"],
        "Only one priority level is allowed",
    ),
    pair(
        "order and delay",
        batching(preserveOrdering=True, defaultQueuePolicy={"defaultTimeoutMicroseconds": 100}),
        batching(preserveOrdering=True, defaultQueuePolicy=_DELAY),
        ["preserveOrdering", "Delay"],
        "can not have DELAY as timeout action",
    ),
    pair(
        "order and a delay that can happen",
        batching(preserveOrdering=True, defaultQueuePolicy={"timeoutAction": "Delay"}),
        batching(preserveOrdering=True, defaultQueuePolicy=_DELAY),
        ["preserveOrdering", "Delay"],
        "can not have DELAY as timeout action",
    ),
    pair(
        "order and delay of the only level",
        batching(
            preserveOrdering=True,
            priorityLevels=1,
            defaultPriorityLevel=1,
            priorityQueuePolicies=[{"level": 1, "defaultTimeoutMicroseconds": 100}],
        ),
        batching(
            preserveOrdering=True,
            priorityLevels=1,
            defaultPriorityLevel=1,
            priorityQueuePolicies=[{"level": 1, **_DELAY}],
        ),
        ["preserveOrdering", "Delay"],
        "can not have DELAY as timeout action",
    ),
]


def sequence(**fields: Any) -> Wire:
    return {"sequenceBatching": fields}


def control(name: str, *kinds: str, **more: Any) -> Wire:
    return {"name": name, "controls": [{"kind": kind, **more} for kind in kinds]}


STATE = {"inputName": "S", "outputName": "T", "dataType": "INT32", "dims": [2]}


def state(initial: Wire | None = None, **changes: Any) -> Wire:
    start = {"name": "zeros", "dataType": "INT32", "dims": [2], **(initial or {})}
    return sequence(states=[{**STATE, "initialState": start, **changes}])


SEQUENCES = [
    pair(
        "two schedulers",
        sequence(),
        {**sequence(), "batching": {}},
        ["sequenceBatching and batching are two schedulers"],
        None,
        why="the schedulers exclude each other in Triton's own format, which cannot express the mistake",
    ),
    pair(
        "two ways of batching sequences",
        sequence(direct={}),
        sequence(direct={}, oldest={"maxCandidateSequences": 4}),
        ["sequenceBatching.direct and oldest exclude each other"],
        None,
        why="they exclude each other in Triton's own format, which cannot express the mistake",
    ),
    pair(
        "a preferred size without batches, oldest first",
        {"maxBatchSize": 1, **sequence(oldest={"maxCandidateSequences": 4, "preferredBatchSizes": [1]})},
        {"maxBatchSize": 0, **sequence(oldest={"maxCandidateSequences": 4, "preferredBatchSizes": [1]})},
        ["sequenceBatching.oldest.preferredBatchSizes has 1", "maxBatchSize 0"],
        "sequence batching preferred batch size must be <= max batch",
    ),
    pair(
        "a control twice in one tensor",
        sequence(controlInputs=[control("A", "Start", "End")]),
        sequence(controlInputs=[control("A", "Start", "Start")]),
        ["controlInputs has Start 2 times"],
        "specifies multiple CONTROL_SEQUENCE_START tensors",
    ),
    pair(
        "a state without elements",
        sequence(states=[STATE]),
        sequence(states=[{**STATE, "dims": [0]}]),
        ["states[S].dims holds 0"],
        None,
        why="Triton keeps a state that can hold nothing; who writes 0 means -1",
    ),
    pair(
        "a preferred size over the largest batch, oldest first",
        sequence(oldest={"maxCandidateSequences": 4, "preferredBatchSizes": [8]}),
        sequence(oldest={"maxCandidateSequences": 4, "preferredBatchSizes": [9]}),
        ["sequenceBatching.oldest.preferredBatchSizes has 9", "at most 8"],
        "sequence batching preferred batch size must be <= max batch",
    ),
    pair(
        "a control in two tensors",
        sequence(controlInputs=[control("START", "Start"), control("READY", "Ready")]),
        sequence(controlInputs=[control("START", "Start"), control("READY", "Start")]),
        ["controlInputs has Start 2 times"],
        "specifies multiple CONTROL_SEQUENCE_START tensors",
    ),
    pair(
        "a tensor listed twice",
        sequence(controlInputs=[control("A", "Start"), control("B", "End")]),
        sequence(controlInputs=[control("A", "Start"), control("A", "End")]),
        ["controlInputs names A twice"],
        "is specified for multiple control kinds",
    ),
    pair(
        "a correlation ID of a wrong type",
        sequence(controlInputs=[control("ID", "CorrelationID", dataType="UINT64")]),
        sequence(controlInputs=[control("ID", "CorrelationID", dataType="FP32")]),
        ["controlInputs[ID]", "FP32", "UINT64"],
        "unexpected data type for control CONTROL_SEQUENCE_CORRID",
    ),
    pair(
        "sequences and a cache",
        {**sequence(), "responseCache": False},
        {**sequence(), "responseCache": True},
        ["responseCache", "sequenceBatching"],
        "Response Cache does not currently support model",
    ),
    pair(
        "a state that begins with another type",
        state(),
        state({"dataType": "FP32"}),
        ["states[S].initialState.dataType is FP32", "INT32"],
        "does not match the state data type",
    ),
    pair(
        "a state that begins with a variable size",
        state(dims=[-1]),
        state({"dims": [-1]}, dims=[-1]),
        ["states[S].initialState.dims", "-1"],
        "contains variable dimensions",
    ),
    pair(
        "a state that begins with another size",
        state(),
        state({"dims": [3]}),
        ["states[S].initialState.dims [3]", "[2]"],
        "doesn't match 'state' dim",
    ),
    pair(
        "a state that begins with another rank",
        state(),
        state({"dims": [2, 1]}),
        ["states[S].initialState.dims [2, 1]", "[2]"],
        "doesn't match the size of",
    ),
]
