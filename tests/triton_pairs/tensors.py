"""Inputs and outputs."""

from __future__ import annotations

from tests.triton_pairs.pairs import pair, tensor, x, y

TENSORS = [
    pair("a dimension of 0", x([1, 4]), x([0, 4]), ["inputs[X].dims", "0"], "dimension must be integer >= 1"),
    pair(
        "an output's dimension of 0",
        y([4]),
        y([0]),
        ["outputs[Y].dims", "0"],
        "dimension must be integer >= 1",
    ),
    pair(
        "NHWC of 2 dims",
        x([8, 8, 3], format="NHWC"),
        x([8, 8], format="NHWC"),
        ["inputs[X].format", "NHWC", "3 dims"],
        "NHWC/NCHW require 3 dims",
    ),
    pair(
        "NCHW of 4 dims",
        x([3, 8, 8], format="NCHW"),
        x([1, 3, 8, 8], format="NCHW"),
        ["inputs[X].format", "NCHW", "3 dims"],
        "NHWC/NCHW require 3 dims",
    ),
    pair(
        "an input shape tensor",
        x(),
        x(isShapeTensor=True),
        ["inputs[X].isShapeTensor", "tensorrt"],
        "shape tensors are only supported for TensorRT",
    ),
    pair(
        "an output shape tensor",
        y(),
        y(isShapeTensor=True),
        ["outputs[Y].isShapeTensor", "tensorrt"],
        "shape tensors are only supported for TensorRT",
    ),
    pair(
        "a reshape to nothing without batches",
        {"maxBatchSize": 8, **x([1], reshape={"shape": []})},
        {"maxBatchSize": 0, **x([1], reshape={"shape": []})},
        ["inputs[X].reshape.shape", "empty", "maxBatchSize"],
        "cannot have empty reshape for non-batching",
    ),
    pair(
        "a reshape to 0",
        x([4], reshape={"shape": [4, 1]}),
        x([4], reshape={"shape": [4, 0]}),
        ["inputs[X].reshape.shape", "0"],
        "reshape dimensions must be integer >= 1",
    ),
    pair(
        "a reshape of another size",
        x([4], reshape={"shape": [2, 2]}),
        x([4], reshape={"shape": [2, 3]}),
        ["inputs[X].reshape.shape [2, 3]", "[4]"],
        "has different size for dims and reshape",
    ),
    pair(
        "an output reshape of another size",
        y([4], reshape={"shape": [4, 1]}),
        y([4], reshape={"shape": [5]}),
        ["outputs[Y].reshape.shape [5]", "[4]"],
        "has different size for dims and reshape",
    ),
    pair(
        "a reshape with a fixed part of another size",
        x([2, 4, -1, 6], reshape={"shape": [8, -1, 1, 6]}),
        x([2, 4, -1, 6], reshape={"shape": [8, -1, 6, 6]}),
        ["inputs[X].reshape.shape", "dims [2, 4, -1, 6]"],
        "has different size for dims and reshape",
    ),
    pair(
        "a reshape with a variable dimension more",
        x([-1, 4], reshape={"shape": [-1, 2, 2]}),
        x([-1, 4], reshape={"shape": [-1, -1, 4]}),
        ["inputs[X].reshape.shape", "dims [-1, 4]"],
        "different number of variable-size dimensions",
    ),
    pair(
        "a variable dimension that becomes fixed",
        x([-1], reshape={"shape": [-1, 1]}),
        x([-1], reshape={"shape": [4]}),
        ["inputs[X].reshape.shape [4]", "dims [-1]"],
        "has different size for dims and reshape",
    ),
    pair(
        "a reshape to nothing of more than one element",
        x([1], reshape={"shape": []}),
        x([4], reshape={"shape": []}),
        ["inputs[X].reshape.shape []", "[4]"],
        "has different size for dims and reshape",
    ),
    pair(
        "an output reshape to nothing without batches",
        {"maxBatchSize": 8, **y([1], reshape={"shape": []})},
        {"maxBatchSize": 0, **y([1], reshape={"shape": []})},
        ["outputs[Y].reshape.shape", "empty", "maxBatchSize"],
        "'Y' cannot have empty reshape for non-batching",
    ),
    pair(
        "an output reshape to 0",
        y([4], reshape={"shape": [4, 1]}),
        y([4], reshape={"shape": [4, 0]}),
        ["outputs[Y].reshape.shape", "0"],
        "'Y' reshape dimensions must be integer >= 1",
    ),
    pair(
        "an input listed twice",
        {"inputs": [tensor("X"), tensor("Z")]},
        {"inputs": [tensor("X"), tensor("X")]},
        ["inputs names X twice"],
        None,
        why="Triton keeps one of the two without a word",
    ),
]
