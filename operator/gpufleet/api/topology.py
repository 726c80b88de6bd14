"""How near the workers of a gang are to each other: what a pool knows, what a job asks, what it got.

The model is Kueue's (KEP-2724): levels from the widest to the narrowest, and per domain a number of workers.
"""

from __future__ import annotations

from typing import Annotated

import pydantic

from gpufleet.api import meta, rules

NODE_LEVEL = "metadata.name"
"""The level below all labels: a domain of one node, by its name."""
MOST_LEVELS = 8
MOST_DOMAINS = 1024

Level = Annotated[
    str,
    pydantic.Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
"""Key of a node label; a job may leave out what stands before its slash."""


class PoolTopology(meta.Schema):
    """How the pool's network is built."""

    levels: Annotated[
        list[Level],
        pydantic.Field(
            min_length=1,
            max_length=MOST_LEVELS,
            description="Node labels that tell a node's place, from the widest level to the narrowest, such "
            "as block, rack, NVLink domain.",
        ),
    ]


class Slices(meta.Schema):
    """Parts of a gang, each of which stays together."""

    size: Annotated[int, pydantic.Field(ge=1, le=10000, description="Workers of one slice.")]
    required: Annotated[Level, pydantic.Field(description="Level of which one domain holds a whole slice.")]


class Topology(meta.Schema):
    """How near workers must be to each other, by the levels of the pool that the gang runs on."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(rules.at_most_one("topology", "required", "preferred"))
    )

    required: Annotated[
        Level | None,
        pydantic.Field(description="Level of which one domain holds the whole gang; until then it waits."),
    ] = None
    preferred: Annotated[
        Level | None,
        pydantic.Field(
            description="Level of which one domain should hold it; else the next wider one, else several."
        ),
    ] = None
    slices: Annotated[
        Slices | None, pydantic.Field(description="Parts that stay together in any case; unset: none.")
    ] = None


class Domain(meta.Schema):
    """A part of the pool, and how many workers belong there."""

    values: Annotated[
        list[Annotated[str, pydantic.Field(max_length=253)]],
        pydantic.Field(
            min_length=1, max_length=MOST_LEVELS + 1, description="Its value of each of the levels."
        ),
    ]
    workers: Annotated[meta.Count, pydantic.Field(description="Workers that have a place in it.")]


class Placement(meta.Schema):
    """Where a gang belongs: its pods may run in these domains only."""

    levels: Annotated[
        list[Level],
        pydantic.Field(
            min_length=1,
            max_length=MOST_LEVELS + 1,
            description=f"Node labels, from the widest level; {NODE_LEVEL} stands for the node itself.",
        ),
    ]
    domains: Annotated[
        list[Domain], pydantic.Field(max_length=MOST_DOMAINS, description="Domains of the last level.")
    ]
