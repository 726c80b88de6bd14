"""A route of the Gateway API by which clients outside of the cluster reach a service."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta

Protocol = Literal["HTTP", "GRPC"]
Hostname = Annotated[
    str,
    pydantic.Field(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]


class GatewayReference(meta.Schema):
    """The Gateway that takes the requests."""

    name: meta.ReferenceName
    namespace: Annotated[
        meta.ObjectName | None, pydantic.Field(description="Its namespace; unset: this one.")
    ] = None
    section_name: Annotated[
        str | None, pydantic.Field(max_length=253, description="One of its listeners; unset: all that fit.")
    ] = None


class Route(meta.Schema):
    """An HTTPRoute or GRPCRoute, whose weights follow a canary."""

    gateway: Annotated[GatewayReference, pydantic.Field(description="The Gateway to attach to.")]
    protocol: Annotated[
        Protocol,
        pydantic.Field(description="HTTP makes an HTTPRoute to port 8000, GRPC a GRPCRoute to port 8001."),
    ] = "HTTP"
    hostnames: Annotated[
        list[Hostname],
        pydantic.Field(max_length=16, description="Names that clients ask for; empty: those of the Gateway."),
    ] = pydantic.Field(default_factory=list)
