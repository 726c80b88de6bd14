"""The API server and the kubelet over HTTPS: raw JSON, one object followed at a time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import api_client, configuration

log = logging.getLogger(__name__)

FIELD_MANAGER = "gpufleet-simgpu"
REQUEST_TIMEOUT_S = 15
WATCH_S = 300
RETRY_S = 2.0
MERGE_PATCH = "application/merge-patch+json"


class ApiError(Exception):
    """The server answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


TRANSIENT = (ApiError, aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What a loop survives by trying again."""


class Api:
    """Requests with the credentials of `load_configuration`: to the API server, or to `host`."""

    def __init__(self, settings: configuration.Configuration, host: str | None = None) -> None:
        self._client = api_client.ApiClient(settings)
        self._host = host

    async def close(self) -> None:
        await self._client.close()

    async def read(self, path: str, **query: str) -> dict[str, Any]:
        """GET of a JSON object. Raises ApiError."""
        return await self._json("GET", path, query)

    async def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge patch; the object as it is afterwards. Raises ApiError."""
        return await self._json("PATCH", path, {"fieldManager": FIELD_MANAGER}, body)

    async def watch(self, path: str, **query: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Events of one watch request, until the server ends it. Raises ApiError."""
        asked = {"watch": "true", "timeoutSeconds": str(WATCH_S), "allowWatchBookmarks": "true", **query}
        limit = aiohttp.ClientTimeout(total=WATCH_S + REQUEST_TIMEOUT_S, sock_connect=REQUEST_TIMEOUT_S)
        response = await self._send("GET", path, asked, limit=limit)
        async with response:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 0), event["object"].get("message", ""))
                yield event["type"], event["object"]

    async def _json(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with await self._send(method, path, query, body, limit) as response:
            found: dict[str, Any] = json.loads(await response.read())
            return found

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        limit: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"} | ({"Content-Type": MERGE_PATCH} if body is not None else {})
        verb, url, sent, data, _ = await self._client.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, body=body,
            auth_settings=["BearerToken"], _host=self._host,
        )  # fmt: skip
        answer = await self._client.rest_client.request(
            verb, url, headers=sent, body=data, _request_timeout=limit
        )
        response: aiohttp.ClientResponse = answer.response
        if response.status >= 400:
            async with response:
                raise ApiError(response.status, (await response.text())[:500])
        return response


async def load_configuration() -> configuration.Configuration:
    """The pod's service account, else the current kubeconfig."""
    settings = configuration.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=settings)
    return settings


async def open_kubelet(host_ip: str, port: int, insecure_tls: bool) -> Api:
    """The same credentials, sent to this node's kubelet."""
    settings = await load_configuration()
    settings.verify_ssl = not insecure_tls
    host = f"[{host_ip}]" if ":" in host_ip else host_ip
    # Not settings.host: refreshing the token sets that back to the API server.
    return Api(settings, f"https://{host}:{port}")


async def follow(
    api: Api, path: str, name: str, handle: Callable[[dict[str, Any] | None], Awaitable[None]]
) -> None:
    """Hand every state of one object to `handle`, None while it does not exist; for ever."""
    selector = f"metadata.name={name}"
    while True:
        try:
            listing = await api.read(path, fieldSelector=selector)
            await handle(next(iter(listing["items"] or ()), None))
            version = listing["metadata"]["resourceVersion"]
            async for kind, body in api.watch(path, fieldSelector=selector, resourceVersion=version):
                if kind != "BOOKMARK":
                    await handle(None if kind == "DELETED" else body)
        except TRANSIENT as error:
            log.warning("watch of %s %s: %s; again in %.0f s", path, name, error, RETRY_S)
            await asyncio.sleep(RETRY_S)
