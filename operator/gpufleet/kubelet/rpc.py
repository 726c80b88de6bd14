"""Methods of the kubelet's gRPC services, spelled once: paths, messages, and how a socket is dialled."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message

from gpufleet.kubelet import deviceplugin_pb2 as plugin_pb
from gpufleet.kubelet import podresources_pb2 as resources_pb

REGISTRATION = "v1beta1.Registration"
DEVICE_PLUGIN = "v1beta1.DevicePlugin"
POD_RESOURCES = "v1.PodResourcesLister"
API_VERSION = "v1beta1"
TIMEOUT_S = 10.0

# Without an authority of its own Python sends the socket's escaped path, which Go servers refuse.
CHANNEL_OPTIONS = [("grpc.default_authority", "localhost")]


def dial(socket: pathlib.Path) -> Any:
    """An asynchronous channel to a unix socket."""
    return grpc.aio.insecure_channel(f"unix://{socket}", options=CHANNEL_OPTIONS)


async def register(socket: pathlib.Path, endpoint: str, resource: str) -> None:
    """Tell the kubelet that `endpoint`, a socket beside its own, serves `resource`. Raises grpc.RpcError."""
    async with dial(socket) as channel:
        call = channel.unary_unary(
            f"/{REGISTRATION}/Register",
            request_serializer=plugin_pb.RegisterRequest.SerializeToString,
            response_deserializer=plugin_pb.Empty.FromString,
        )
        request = plugin_pb.RegisterRequest(version=API_VERSION, endpoint=endpoint, resource_name=resource)
        await call(request, timeout=TIMEOUT_S)


async def list_pod_resources(socket: pathlib.Path) -> resources_pb.ListPodResourcesResponse:
    """What every container of the node holds. Raises grpc.RpcError."""
    request, response = resources_pb.ListPodResourcesRequest(), resources_pb.ListPodResourcesResponse
    found: resources_pb.ListPodResourcesResponse = await _ask(socket, "List", request, response)
    return found


async def get_allocatable(socket: pathlib.Path) -> resources_pb.AllocatableResourcesResponse:
    """Every device that plugins offer on the node, held or not. Raises grpc.RpcError."""
    request, response = resources_pb.AllocatableResourcesRequest(), resources_pb.AllocatableResourcesResponse
    found: resources_pb.AllocatableResourcesResponse = await _ask(
        socket, "GetAllocatableResources", request, response
    )
    return found


async def _ask(
    socket: pathlib.Path, method: str, request: message.Message, response: type[message.Message]
) -> Any:
    async with dial(socket) as channel:
        call = channel.unary_unary(
            f"/{POD_RESOURCES}/{method}",
            request_serializer=_serialize,
            response_deserializer=response.FromString,
        )
        return await call(request, timeout=TIMEOUT_S)


def unary(handler: Callable[[Any, Any], Awaitable[message.Message]], request: type[message.Message]) -> Any:
    """A served method with one request and one response."""
    return grpc.unary_unary_rpc_method_handler(
        handler, request_deserializer=request.FromString, response_serializer=_serialize
    )


def streaming(handler: Callable[[Any, Any], Any], request: type[message.Message]) -> Any:
    """A served method with one request and a stream of responses."""
    return grpc.unary_stream_rpc_method_handler(
        handler, request_deserializer=request.FromString, response_serializer=_serialize
    )


async def serve(socket: pathlib.Path, service: str, methods: Mapping[str, Any]) -> Any:
    """A running gRPC server on a fresh unix socket."""
    socket.unlink(missing_ok=True)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    server.add_insecure_port(f"unix://{socket}")
    try:
        await server.start()
    except asyncio.CancelledError:
        await server.stop(grace=None)
        raise
    return server


def describe(error: grpc.RpcError) -> str:
    """A failed call in one line."""
    return f"{error.code().name}: {error.details()}"


def _serialize(value: message.Message) -> bytes:
    return value.SerializeToString()
