"""The Triton server of this pod, through its model-repository API that asks for our key."""

from __future__ import annotations

import dataclasses
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format

from gpufleet.agents.model import triton_pb2 as pb

# gRPC doubles the wait for a server that is not up yet, to two minutes; ours is on the same machine. It takes
# no less than 100 ms.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
# An ensemble has no folder in the repository, and Triton asks for a version: a file given along makes one.
_ENSEMBLE_FILE = "file:1/ensemble"
# What makes an ensemble; Triton fills in others on its own.
_ENSEMBLE_FIELDS = (
    "ensemble_scheduling",
    "input",
    "output",
    "max_batch_size",
    "parameters",
    "response_cache",
)
_POLL_FAILED = "failed to poll from model repository"
_LOOK_TIMEOUT_S = 5.0
_UNLOAD_TIMEOUT_S = 60.0


class ServerDownError(Exception):
    """Nobody listens; the server may be starting."""


class NoAnswerError(Exception):
    """The server is there but did not answer as it should; what it has loaded is unknown."""


class LoadError(Exception):
    """The server refused to load the model; the message is its own."""


@dataclasses.dataclass
class Server:
    """One connection; every call may raise ServerDownError or NoAnswerError.

    Not through tritonclient: its import of numpy and all else would make every server that much later.
    """

    address: str
    key_header: str
    key: str
    load_timeout_s: float

    def __post_init__(self) -> None:
        # Triton prefixes the header's name for gRPC.
        self._metadata = ((f"triton-grpc-protocol-{self.key_header}", self.key),)
        self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)

    async def statistics(self) -> dict[str, Any]:
        """What the server has counted of all that is loaded, as JSON of its gRPC protocol."""
        try:
            found = await self._call(
                "ModelStatistics", pb.ModelStatisticsRequest(), pb.ModelStatisticsResponse, _LOOK_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _read_error(error) from error
        counted: dict[str, Any] = json_format.MessageToDict(found, preserving_proto_field_name=True)
        return counted

    async def loaded(self) -> dict[str, str]:
        """Models that answer requests now, and which versions of them: "3" or "2,3"."""
        # The repository's index has what is in its folders, and an ensemble has none there.
        ready = await self.statistics()
        found: dict[str, list[str]] = {}
        for one in ready.get("model_stats", ()):
            found.setdefault(one["name"], []).append(one.get("version", ""))
        return {name: ",".join(sorted(versions, key=_by_number)) for name, versions in found.items()}

    async def load(self, name: str, config: str, *, is_ensemble: bool = False) -> None:
        """Returns when the model is loaded and warm. Raises LoadError."""
        request = pb.RepositoryModelLoadRequest(model_name=name)
        if config:
            request.parameters["config"].string_param = config
        if is_ensemble:
            request.parameters[_ENSEMBLE_FILE].bytes_param = b""
        try:
            await self._call(
                "RepositoryModelLoad", request, pb.RepositoryModelLoadResponse, self.load_timeout_s
            )
        except grpc.aio.AioRpcError as error:
            if _is_down(error):
                raise ServerDownError(_describe(error)) from error
            said = _describe(error)
            if is_ensemble and _POLL_FAILED in said and await self._runs(name, config):
                return
            raise LoadError(explain(said)) from error

    async def _runs(self, name: str, config: str) -> bool:
        """Whether an ensemble is as wanted although its load came back with an error.

        Triton looks for all that it is made of in the repository, does not find the ensembles among that,
        says so, and loads it all the same.
        """
        from tritonclient.grpc import model_config_pb2, service_pb2

        wanted = json_format.Parse(config, model_config_pb2.ModelConfig())
        request = service_pb2.ModelConfigRequest(name=name)
        try:
            answer = await self._call(
                "ModelConfig", request, service_pb2.ModelConfigResponse, _LOOK_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            return False
        return all(getattr(answer.config, field) == getattr(wanted, field) for field in _ENSEMBLE_FIELDS)

    async def unload(self, name: str) -> None:
        request = pb.RepositoryModelUnloadRequest(model_name=name)
        try:
            await self._call(
                "RepositoryModelUnload", request, pb.RepositoryModelUnloadResponse, _UNLOAD_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _read_error(error) from error

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, method: str, request: Any, answer: Any, timeout_s: float) -> Any:
        """One call of Triton's service. Raises grpc.aio.AioRpcError."""
        call = self._channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await call(request, timeout=timeout_s, metadata=self._metadata)


def explain(message: str) -> str:
    """Triton's words, and where to look where it tells the reason to its log alone."""
    if _POLL_FAILED in message:
        return f"{message}; the reason is in the log of the pod's container triton"
    return message


def _by_number(version: str) -> tuple[int, str]:
    return len(version), version


def _is_down(error: grpc.aio.AioRpcError) -> bool:
    return bool(error.code() == grpc.StatusCode.UNAVAILABLE)


def _describe(error: grpc.aio.AioRpcError) -> str:
    return str(error.details() or error.code().name)


def _read_error(error: grpc.aio.AioRpcError) -> ServerDownError | NoAnswerError:
    said = f"{error.code().name}: {_describe(error)}"
    return ServerDownError(said) if _is_down(error) else NoAnswerError(said)
