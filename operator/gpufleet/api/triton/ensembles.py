"""Ensembles: a graph of models that answers as one model."""

from __future__ import annotations

from typing import Annotated

import pydantic

from gpufleet.api import meta

TensorMap = Annotated[
    dict[str, Annotated[str, pydantic.Field(min_length=1, max_length=256)]],
    pydantic.Field(min_length=1, max_length=64),
]


class Step(meta.Schema):
    """One model of the graph. Tensors of the ensemble connect the steps."""

    model_name: Annotated[
        str, pydantic.Field(min_length=1, max_length=128, description="Model of this service.")
    ]
    model_version: Annotated[
        int, pydantic.Field(ge=-1, le=2**53, description="Version of the model; -1: the latest.")
    ] = -1
    input_map: Annotated[
        TensorMap, pydantic.Field(description="Each input of the model → the ensemble's tensor it reads.")
    ]
    output_map: Annotated[
        TensorMap, pydantic.Field(description="Outputs of the model → the ensemble's tensors they become.")
    ]


class Ensemble(meta.Schema):
    """A graph of models that answers as one model."""

    steps: Annotated[
        list[Step], pydantic.Field(min_length=1, max_length=64, description="Models of the graph.")
    ]
