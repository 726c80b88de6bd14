"""The Triton server of this pod, through its model-repository API that asks for our key."""

from __future__ import annotations

import dataclasses

import grpc
from tritonclient.grpc import aio as triton
from tritonclient.utils import InferenceServerException


class ServerDownError(Exception):
    """The server does not answer; it may be starting."""


class LoadError(Exception):
    """The server refused to load the model; the message is its own."""


@dataclasses.dataclass
class Server:
    """One connection; every call may raise ServerDownError."""

    address: str
    key_header: str
    key: str
    load_timeout_s: float

    def __post_init__(self) -> None:
        # Triton prefixes the header's name for gRPC.
        self._headers = {f"triton-grpc-protocol-{self.key_header}": self.key}
        self._client = triton.InferenceServerClient(self.address)

    async def is_live(self) -> bool:
        try:
            return bool(await self._client.is_server_live(client_timeout=2.0))
        except (TimeoutError, InferenceServerException, grpc.RpcError):
            return False

    async def loaded(self) -> frozenset[str]:
        """Models that answer requests now."""
        try:
            index = await self._client.get_model_repository_index(
                headers=self._headers, as_json=True, client_timeout=5.0
            )
        except InferenceServerException as error:
            raise ServerDownError(str(error)) from error
        return frozenset(one["name"] for one in index.get("models", ()) if one.get("state") == "READY")

    async def load(self, name: str, config: str) -> None:
        """Returns when the model is loaded and warm. Raises LoadError."""
        try:
            await self._client.load_model(
                name, headers=self._headers, config=config or None, client_timeout=self.load_timeout_s
            )
        except InferenceServerException as error:
            if "UNAVAILABLE" in str(error.status()):
                raise ServerDownError(str(error)) from error
            raise LoadError(str(error.message())) from error

    async def unload(self, name: str) -> None:
        try:
            await self._client.unload_model(name, headers=self._headers, client_timeout=60.0)
        except InferenceServerException as error:
            raise ServerDownError(str(error)) from error

    async def close(self) -> None:
        await self._client.close()
