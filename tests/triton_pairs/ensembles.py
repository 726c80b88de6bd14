"""Ensembles: each bad graph against one of two steps that loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.builders_api import merged
from tests.triton_pairs.pairs import Pair, Wire, make, tensor, x, y
from tests.triton_pairs.serving import warmup


def part(name: str, source: Wire, target: Wire, **more: Any) -> Wire:
    return make(name=name, inputs=[source], outputs=[target], **more)


def step(name: str, inputs: Wire, outputs: Wire) -> Wire:
    return {"modelName": name, "inputMap": inputs, "outputMap": outputs}


A = part("a", tensor("AX"), tensor("AY"))
B = part("b", tensor("BX"), tensor("BY"))
_ONE = merged(B, {"versionPolicy": {"type": "Specific", "versions": [1]}})
FIRST = step("a", {"AX": "X"}, {"AY": "MID"})
SECOND = step("b", {"BX": "MID"}, {"BY": "Y"})


def ensemble(*steps: Wire, **changes: Any) -> Wire:
    base = make(
        name="e", backend=None, instanceGroups=None, ensemble={"steps": list(steps or (FIRST, SECOND))}
    )
    return merged(base, changes)


def made_of(
    name: str, bad: Sequence[Wire], ours: Sequence[str], triton: str | None, *, why: str = ""
) -> Pair:
    """The bad models against an ensemble of two that loads."""
    return Pair(name, (A, B, ensemble()), tuple(bad), tuple(ours), triton, why)


ENSEMBLES = [
    made_of(
        "an output that no step writes",
        [A, B, ensemble(FIRST, step("b", {"BX": "MID"}, {"BY": "Z"}))],
        ["output Y is written by no step"],
        "ensemble output 'Y' for ensemble e'? is not used",
    ),
    made_of(
        "an input that no step reads",
        [A, B, ensemble(inputs=[tensor("X"), tensor("EXTRA")])],
        ["input EXTRA is read by no step"],
        "ensemble input 'EXTRA' for ensemble e'? is not used",
    ),
    made_of(
        "a tensor from nowhere",
        [A, B, ensemble(FIRST, step("b", {"BX": "LOST"}, {"BY": "Y"}))],
        ["tensor LOST is written by no step"],
        "'LOST', is not connected",
    ),
    made_of(
        "a tensor written twice",
        [A, B, ensemble(FIRST, SECOND, step("a", {"AX": "X"}, {"AY": "Y"}))],
        ["write tensor Y more than once"],
        "can appear in an output map only once",
    ),
    made_of(
        "a tensor that nobody reads",
        [A, B, ensemble(FIRST, SECOND, step("a", {"AX": "X"}, {"AY": "IDLE"}))],
        ["tensor IDLE is read by no step"],
        "ensemble tensor 'IDLE' is unused",
    ),
    made_of(
        "steps in a circle",
        [
            make(name="a", inputs=[tensor("AX"), tensor("BACK")], outputs=[tensor("AY")]),
            B,
            ensemble(step("a", {"AX": "X", "BACK": "Y"}, {"AY": "MID"}), SECOND),
        ],
        ["wait for each other's outputs"],
        "output 'Y' for ensemble 'e' is not written",
    ),
    made_of(
        "instances of an ensemble",
        [A, B, ensemble(instanceGroups=[{"kind": "CPU"}])],
        ["instanceGroups is not for an ensemble"],
        "instance group should not be specified for ensemble",
    ),
    made_of(
        "a warm-up of an ensemble",
        [A, B, ensemble(**warmup(tensor("X")))],
        ["warmups is not for an ensemble"],
        "model_warmup can not be specified for ensemble",
    ),
    made_of(
        "optimisation of an ensemble",
        [A, B, ensemble(optimization={"eagerBatching": True})],
        ["optimization is not for an ensemble"],
        "optimization should not be specified for ensemble",
    ),
    made_of(
        "a backend of an ensemble",
        [A, B, ensemble(backend="python")],
        ["backend is not for an ensemble"],
        "must have platform type 'ensemble' and empty backend",
    ),
    made_of(
        "parameters of a backend",
        [A, B, ensemble(python={})],
        ["python is not for an ensemble"],
        "must have platform type 'ensemble' and empty backend",
    ),
    made_of(
        "a batcher of an ensemble",
        [A, B, ensemble(batching={})],
        ["batching is not for an ensemble"],
        None,
        why="the schedulers exclude each other in Triton's own format, which cannot express the mistake",
    ),
    made_of(
        "an input that a step writes",
        [A, B, ensemble(FIRST, SECOND, step("a", {"AX": "MID"}, {"AY": "X"}))],
        ["write tensor X, which is an input"],
        None,
        why="Triton loads it, and no request ever comes back",
    ),
    made_of(
        "an input that is an output as well",
        [A, B, ensemble(outputs=[tensor("Y"), tensor("X")])],
        ["output X is written by no step"],
        None,
        why="Triton loads it, and dies of the first request",
    ),
    Pair(
        "a cache for an ensemble of a decoupled model",
        (merged(A, {"decoupled": True}), B, ensemble()),
        (merged(A, {"decoupled": True}), B, ensemble(responseCache=True)),
        ("responseCache is not for an ensemble of decoupled models", "a is one"),
        "does not currently support model e with 'decoupled'",
    ),
    Pair(
        "a version that its model does not load",
        (A, _ONE, ensemble(FIRST, {**SECOND, "modelVersion": 1})),
        (A, _ONE, ensemble(FIRST, {**SECOND, "modelVersion": 2})),
        ("version 2 of model b", "[1]"),
        "depends on 'b' whose required version 2 is not loaded",
    ),
    made_of(
        "no inputs",
        [A, B, ensemble(inputs=[])],
        ["inputs of an ensemble"],
        "at least one of its depending tensors, 'X', is not connected",
    ),
    made_of(
        "no outputs",
        [A, B, ensemble(outputs=[])],
        ["outputs of an ensemble"],
        "ensemble tensor 'Y' is unused",
    ),
    made_of(
        "an output's type that differs from the ensemble's",
        [A, B, ensemble(**y(data_type="INT32"))],
        ["tensor Y is INT32 in model e and FP32 in model b"],
        "inconsistent data type",
    ),
    made_of(
        "a rank that differs from the ensemble's",
        [A, B, ensemble(**x([4, 1]))],
        ["tensor X has shape", "[-1, 4, 1]"],
        "inconsistent shape",
    ),
    made_of(
        "a larger batch than its model takes",
        [A, merged(B, {"maxBatchSize": 4}), ensemble()],
        ["maxBatchSize is 8", "b takes at most 4"],
        "allows maximum batch size 8",
    ),
    made_of(
        "an input that its model lacks",
        [A, B, ensemble(FIRST, step("b", {"NOT": "MID"}, {"BY": "Y"}))],
        ["model b has no input NOT", "BX"],
        "mapping to non-existing input NOT",
    ),
    made_of(
        "an output that its model lacks",
        [A, B, ensemble(FIRST, step("b", {"BX": "MID"}, {"NOT": "Y"}))],
        ["model b has no output NOT", "BY"],
        "mapped from non-existing output NOT",
    ),
    made_of(
        "an input left out",
        [A, merged(B, {"inputs": [tensor("BX"), tensor("NEEDED")]}), ensemble()],
        ["input NEEDED of model b reads no tensor"],
        "input NEEDED in model b is not mapped",
    ),
    made_of(
        "types that differ between steps",
        [A, part("b", tensor("BX", data_type="INT32"), tensor("BY")), ensemble()],
        ["tensor MID is FP32 in model a and INT32 in model b"],
        "inconsistent data type",
    ),
    made_of(
        "types that differ from the ensemble's",
        [A, B, ensemble(**x(data_type="INT32"))],
        ["tensor X is INT32 in model e and FP32 in model a"],
        "inconsistent data type",
    ),
    made_of(
        "shapes that differ between steps",
        [A, part("b", tensor("BX", [5]), tensor("BY")), ensemble()],
        ["tensor MID has shape", "[-1, 4]", "[-1, 5]"],
        "inconsistent shape",
    ),
    made_of(
        "shapes that differ from the ensemble's",
        [A, B, ensemble(**y([7]))],
        ["tensor Y has shape", "[-1, 7]"],
        "inconsistent shape",
    ),
    made_of(
        "a model that is not there",
        [A, ensemble(FIRST, step("lost", {"BX": "MID"}, {"BY": "Y"}))],
        ["the service has no model lost"],
        "not available or ambiguous: lost",
    ),
    made_of(
        "an ensemble of itself",
        [A, ensemble(FIRST, step("e", {"X": "MID"}, {"Y": "Y"}))],
        ["e is part of itself"],
        "circular dependency between ensembles",
    ),
]
