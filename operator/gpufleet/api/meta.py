"""What every kind shares: field naming, conditions, names and quantities."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import pydantic
from pydantic import alias_generators

from gpufleet.api import rules

GROUP = "gpufleet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

LONGEST_OBJECT_NAME = 40
"""Characters of a name whose children append a revision or attempt and still fit into 63."""


class Schema(pydantic.BaseModel):
    """Base of every API type: camelCase on the wire, immutable in memory.

    Unknown fields are ignored, not refused: the API server prunes them, and an operator older than
    its CRDs must keep working.
    """

    model_config = pydantic.ConfigDict(
        alias_generator=alias_generators.to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )

    def to_wire(self) -> dict[str, Any]:
        """The JSON form, without the fields that nobody set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


ObjectName = Annotated[
    str, pydantic.Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
"""A DNS-1123 label."""

ReferenceName = Annotated[
    str,
    pydantic.Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        description="Name of the object, in this namespace.",
    ),
]
"""A DNS-1123 subdomain: the name of another object."""

Quantity = Annotated[
    str, pydantic.Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")
]
"""A Kubernetes quantity of CPU, written canonically."""

MemoryQuantity = Annotated[
    str, pydantic.Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$")
]
"""A Kubernetes quantity of bytes: no milli-units."""

Image = Annotated[str, pydantic.Field(min_length=1, max_length=1000, pattern=r"^\S+$")]

RelativePath = Annotated[
    str,
    pydantic.Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[^/:.][^:]*$",
        json_schema_extra=rules.validated(
            rules.Rule(
                rule=r"!self.matches('(^|/)[.][.](/|$)')",
                message="a path may not hold .. as one of its folders: name the folder itself",
                says="self + ' may not hold .. as one of its folders: name the folder itself'",
            )
        ),
    ),
]
"""A path within a volume, which it cannot leave."""

Count = Annotated[int, pydantic.Field(ge=0, le=2**31 - 1)]
Generation = Annotated[int, pydantic.Field(ge=0, le=2**53)]
"""A metadata.generation, within what JSON numbers hold exactly."""

Reason = Annotated[str, pydantic.Field(max_length=128)]
Message = Annotated[str, pydantic.Field(max_length=1024)]


class Condition(Schema):
    """One aspect of the object's state, as every Kubernetes kind tells it."""

    type: Annotated[str, pydantic.Field(max_length=316, description="What the condition is about.")]
    status: Annotated[Literal["True", "False", "Unknown"], pydantic.Field(description="Whether it holds.")]
    reason: Annotated[
        str, pydantic.Field(min_length=1, max_length=1024, description="Why, in one CamelCase word.")
    ]
    message: Annotated[str, pydantic.Field(max_length=32768, description="Why, in a sentence.")] = ""
    observed_generation: Annotated[
        Generation | None, pydantic.Field(description="metadata.generation that it was computed from.")
    ] = None
    last_transition_time: Annotated[
        datetime.datetime, pydantic.Field(description="When status last changed.")
    ]


Conditions = Annotated[
    list[Condition],
    pydantic.Field(
        max_length=16,
        description="The object's state, one condition per aspect.",
        json_schema_extra=rules.list_map("type"),
    ),
]

ObservedGeneration = Annotated[
    Generation | None,
    pydantic.Field(description="metadata.generation that this status answers."),
]


class ObjectMeta(pydantic.BaseModel):
    """The part of metav1.ObjectMeta that decisions use."""

    model_config = pydantic.ConfigDict(
        alias_generator=alias_generators.to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )

    name: str
    namespace: str = ""
    uid: str
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: datetime.datetime | None = None
    deletion_timestamp: datetime.datetime | None = None
    labels: dict[str, str] = pydantic.Field(default_factory=dict)
    annotations: dict[str, str] = pydantic.Field(default_factory=dict)


def quantity_to_bytes(quantity: str) -> int:
    """A memory quantity in bytes.

    Raises:
        ValueError: it is not a quantity, or is in milli-units.
    """
    scale = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    scale |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    number = quantity.rstrip("kKMGTi")
    unit = quantity[len(number) :]
    if unit not in scale:
        raise ValueError(f"{quantity!r} is not a memory quantity: use a unit such as Mi or Gi")
    return int(float(number) * scale[unit])
