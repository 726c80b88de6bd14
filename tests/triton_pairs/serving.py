"""Instances, versions, warm-up, cache and backends."""

from __future__ import annotations

from typing import Any

from tests.triton_pairs.pairs import Wire, pair, tensor, x


def gpus(kind: str, *indices: int) -> Wire:
    return {"instanceGroups": [{"kind": kind, "gpus": list(indices)}]}


def limited(**other: Any) -> Wire:
    one = {"kind": "CPU", "rateLimiter": {"resources": [{"name": "R", "count": 1}]}}
    two = {"kind": "CPU", "rateLimiter": {"resources": [{"name": "R", "count": 1, **other}]}}
    return {"instanceGroups": [one, two]}


INSTANCES = [
    pair(
        "a GPU without an accelerator",
        {"instanceGroups": [{"kind": "Auto"}]},
        {"instanceGroups": [{"kind": "GPU"}]},
        ["instanceGroups kind GPU", "spec.accelerator"],
        "has kind KIND_GPU but",
    ),
    pair(
        "indices of a CPU group",
        gpus("CPU"),
        gpus("CPU", 0),
        ["instanceGroups kind CPU", "[0]"],
        "has kind KIND_CPU but specifies one or more GPUs",
    ),
    pair(
        "indices of a model group",
        gpus("Model"),
        gpus("Model", 0),
        ["instanceGroups kind Model", "[0]"],
        "has kind KIND_MODEL but specifies one or more GPUs",
    ),
    pair(
        "indices where there is no GPU",
        gpus("Auto"),
        gpus("Auto", 0),
        ["instanceGroups has gpus [0]", "no accelerator"],
        "has kind KIND_CPU but specifies one or more GPUs",
    ),
    pair(
        "profiles of a python model",
        {"instanceGroups": [{"kind": "CPU", "profiles": []}]},
        {"instanceGroups": [{"kind": "CPU", "profiles": ["0"]}]},
        ["instanceGroups.profiles", "tensorrt"],
        "profile field which is only supported for",
    ),
    pair(
        "a resource both global and per device",
        limited(),
        limited(**{"global": True}),
        ["resources has R as global and as per device"],
        "is present as both global",
    ),
]


def warmup(*inputs: Wire, **fields: Any) -> Wire:
    return {"warmups": [{"name": "w", "batchSize": 1, "inputs": list(inputs), **fields}]}


LIFECYCLE = [
    pair(
        "no version named",
        {"versionPolicy": {"type": "Specific", "versions": [1]}},
        {"versionPolicy": {"type": "Specific"}},
        ["versionPolicy Specific needs versions"],
        "at least one version must be available",
    ),
    pair(
        "versions of a policy that takes none",
        {"versionPolicy": {"type": "All"}},
        {"versionPolicy": {"type": "All", "versions": [1]}},
        ["versionPolicy All takes no versions"],
        None,
        why="the fields exclude each other in Triton's own format, which cannot express the mistake",
    ),
    pair(
        "a cache for a decoupled model",
        {"decoupled": True},
        {"decoupled": True, "responseCache": True},
        ["responseCache", "decoupled"],
        "does not currently support model m with 'decoupled'",
    ),
    pair(
        "a warm-up of another type",
        warmup(tensor("X")),
        warmup(tensor("X", data_type="INT32")),
        ["warmups[w].inputs[X].dataType is INT32", "FP32"],
        "data-type is 'INT32', but model 'm' expects 'FP32'",
    ),
    pair(
        "a warm-up of another size",
        warmup(tensor("X")),
        warmup(tensor("X", [5])),
        ["warmups[w].inputs[X].dims [5]", "[4]"],
        r"unexpected shape for input 'X'",
    ),
    pair(
        "a warm-up of another rank",
        warmup(tensor("X")),
        warmup(tensor("X", [4, 1])),
        ["warmups[w].inputs[X].dims [4, 1]", "[4]"],
        r"unexpected shape for input 'X'",
    ),
    pair(
        "a warm-up in the shape that the backend sees",
        {**x([4], reshape={"shape": [2, 2]}), **warmup(tensor("X", [4]))},
        {**x([4], reshape={"shape": [2, 2]}), **warmup(tensor("X", [2, 2]))},
        ["warmups[w].inputs[X].dims [2, 2]", "[4]"],
        r"unexpected shape for input 'X'",
    ),
    pair(
        "a warm-up of a larger batch",
        warmup(tensor("X"), batchSize=8),
        warmup(tensor("X"), batchSize=9),
        ["warmups[w].batchSize is 9", "maxBatchSize 8", "use at most 8"],
        "batch size 9 for 'm_0_0', max allowed is 8",
    ),
    pair(
        "a warm-up of a batch without batches",
        {"maxBatchSize": 0, **warmup(tensor("X"), batchSize=1)},
        {"maxBatchSize": 0, **warmup(tensor("X"), batchSize=2)},
        ["warmups[w].batchSize is 2", "maxBatchSize 0", "use at most 1"],
        "batch size 2 for 'm_0_0', max allowed is 0",
    ),
    pair(
        "a warm-up of zeros with a file",
        warmup(tensor("X", data="Zero")),
        warmup(tensor("X", data="Zero", dataFile="x")),
        ["warmups[w].inputs[X]", "dataFile"],
        None,
        why="the sources exclude each other in Triton's own format, which cannot express the mistake",
    ),
    pair(
        "a warm-up without its input",
        warmup(tensor("X")),
        warmup(),
        ["warmups[w] leaves out input X"],
        "expected 1 inputs but got 0",
    ),
    pair(
        "a warm-up file without a name",
        warmup(tensor("X", data="Zero")),
        warmup(tensor("X", data="File")),
        ["warmups[w].inputs[X]", "dataFile"],
        "failed to open text file for read",
    ),
]


BACKENDS = [
    pair(
        "parameters of two backends",
        {"python": {}},
        {"python": {}, "vllm": {}},
        ["python and vllm are parameters of different backends"],
        None,
        why="blocks are ours: Triton sees their parameters only",
    ),
    pair(
        "a parameter listed twice",
        {"parameters": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"parameters": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        ["parameters has A twice"],
        None,
        why="parameters are a map in Triton's own format, which cannot express the mistake",
    ),
    pair(
        "parameters of another backend",
        {"python": {}},
        {"vllm": {}},
        ["backend is python", "vllm"],
        None,
        why="blocks are ours: Triton sees their parameters only",
    ),
    pair(
        "a parameter set twice",
        {"python": {"forceCpuOnlyInputTensors": True}},
        {
            "python": {"forceCpuOnlyInputTensors": True},
            "parameters": [{"name": "FORCE_CPU_ONLY_INPUT_TENSORS", "value": "no"}],
        },
        ["FORCE_CPU_ONLY_INPUT_TENSORS, which python sets"],
        None,
        why="blocks are ours",
    ),
    pair(
        "CUDA features of a python model",
        {"optimization": {"eagerBatching": True}},
        {"optimization": {"cuda": {"graphs": True}}},
        ["optimization.cuda", "tensorrt"],
        None,
        why="Triton hands them to a backend that does not read them",
    ),
]
