"""Raw JSON requests to the API server: one time limit, one rate limit, one set of errors for all of them.

Typed models are not used here: decoding one Pod into the client library's models costs about nine times
what plain JSON does, and they drop the fields of a newer server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
import yarl
from kubernetes import aio

from gpufleet import clock, ratelimit, settings

Raw = dict[str, Any]
OnWrite = Callable[[str, str], None]
OnAnswer = Callable[[str, str, int], None]

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
WATCH_TIMEOUT_S = 290  # of one watch; the next goes on from where it was
KINDS = (
    "TritonService", "TrainingJob", "GPUPool", "ModelProfile", "Deployment", "Service", "ConfigMap", "Job",
    "HTTPRoute", "GRPCRoute", "Pod", "Node", "Event", "Lease", "CustomResourceDefinition",
    "ResourceSlice",
)  # fmt: skip
PLURALS: Mapping[str, str] = {kind: f"{kind.lower()}s" for kind in KINDS} | {
    "PriorityClass": "priorityclasses"
}


class ApiError(Exception):
    """The API server did not do what was asked; `status` is HTTP's, 0 where no answer came."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.message = message


class NotFound(ApiError):
    """404: no such object, or no such kind."""


class Conflict(ApiError):
    """409: it exists, has changed, or a field belongs to another manager."""


class Gone(ApiError):
    """410: that resourceVersion is no longer kept; list again."""


class Refused(ApiError):
    """400, 403, 413, 422: the same request would be refused again."""


class Unavailable(ApiError):
    """429, 5xx, a timeout or a broken connection: the same request may succeed later."""


_ERRORS: Mapping[int, type[ApiError]] = dict.fromkeys((400, 403, 413, 422), Refused) | {
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: Unavailable,
}


def error_of(status: int, message: str) -> ApiError:
    """The error that stands for this HTTP status."""
    return _ERRORS.get(status, Unavailable if status >= 500 else ApiError)(status, message)


def path(api_version: str, kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The URL path of an object, or of a collection where no name is given.

    Raises:
        KeyError: the kind is not one that gpufleet uses.
    """
    root = ["apis", *api_version.split("/")] if "/" in api_version else ["api", api_version]
    parts = [*root, *(("namespaces", namespace) if namespace else ()), PLURALS[kind], name, subresource]
    return "/" + "/".join(urllib.parse.quote(part, safe="") for part in parts if part)


def kind_of(url_path: str) -> str:
    """The plural in a path of `path`, for metrics."""
    parts = url_path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    named = rest[2:] if rest[0] == "namespaces" and len(rest) > 2 else rest
    return named[0]


class Client:
    """One connection pool to one API server."""

    def __init__(
        self,
        api_client: Any,
        options: settings.Settings,
        on_write: OnWrite | None = None,
        time_source: clock.Clock | None = None,
        on_answer: OnAnswer = lambda *_: None,
    ) -> None:
        self._api = api_client
        self._configuration = api_client.configuration
        self._options = options
        self._on_write = on_write
        self._on_answer = on_answer
        self._clock = time_source or clock.SystemClock()
        self._bucket = ratelimit.TokenBucket(options.write_rate_per_s, 2 * options.write_rate_per_s)

    async def get(self, url_path: str, *, metadata_only: bool = False, **params: str | int) -> Raw:
        accept = METADATA if metadata_only else "application/json"
        return await self._request("GET", url_path, params=params, headers={"Accept": accept})

    async def list(self, url_path: str, *, metadata_only: bool = False, **params: str | int) -> Raw:
        """One page of a collection; `params` as the API names them (limit, labelSelector, continue_)."""
        accept = METADATA_LIST if metadata_only else "application/json"
        return await self._request("GET", url_path, params=params, headers={"Accept": accept})

    async def apply(self, url_path: str, body: Mapping[str, Any], *, manager: str, force: bool) -> Raw:
        """Server-side apply; Conflict where another manager holds a field and `force` is off."""
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._write("apply", "PATCH", url_path, body, params, APPLY_PATCH)

    async def merge_patch(self, url_path: str, body: Mapping[str, Any], *, manager: str) -> Raw:
        """Conflict where `body` has a resourceVersion that is no longer the object's."""
        return await self._write("patch", "PATCH", url_path, body, {"fieldManager": manager}, MERGE_PATCH)

    async def create(self, url_path: str, body: Mapping[str, Any]) -> Raw:
        return await self._write("create", "POST", url_path, body, {}, "application/json")

    async def delete(self, url_path: str, *, uid: str, resource_version: str | None = None) -> None:
        """Deletes exactly this object, its own children in the background; one that is gone is fine."""
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": "Background",
        }
        with contextlib.suppress(NotFound):
            await self._write("delete", "DELETE", url_path, body, {}, "application/json")

    async def watch(
        self, url_path: str, *, on_open: Callable[[], None] = lambda: None, **params: str | int
    ) -> AsyncIterator[Raw]:
        """Events until the server ends the stream; an ERROR event is raised as the error it stands for."""
        query = params | {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": WATCH_TIMEOUT_S}
        connect_s, silence_s = self._options.request_timeout_s, self._options.watch_stale_s * 0.75
        limit = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=silence_s)
        async with self._send("GET", url_path, query, {}, None, limit) as response:
            on_open()
            async for line in _lines(response):
                event: Raw = msgspec.json.decode(line)
                if event["type"] == "ERROR":
                    raise error_of(int(event["object"].get("code", 500)), _message_of(event["object"]))
                yield event

    async def close(self) -> None:
        await self._api.close()

    async def _write(
        self,
        verb: str,
        method: str,
        url_path: str,
        body: Mapping[str, Any],
        params: Mapping[str, str | int],
        content_type: str,
    ) -> Raw:
        await asyncio.sleep(self._bucket.reserve(self._clock.monotonic_s()))
        if self._on_write:
            self._on_write(verb, kind_of(url_path))
        headers = {"Content-Type": content_type}
        return await self._request(method, url_path, params=params, headers=headers, body=body)

    async def _request(
        self,
        method: str,
        url_path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Raw:
        limit = aiohttp.ClientTimeout(total=self._options.request_timeout_s)
        async with self._send(method, url_path, params or {}, headers or {}, body, limit) as response:
            return msgspec.json.decode(await response.read(), type=Raw)

    @contextlib.asynccontextmanager
    async def _send(
        self,
        method: str,
        url_path: str,
        params: Mapping[str, str | int],
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
        limit: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response of a request that succeeded; everything else is an ApiError."""
        query = urllib.parse.urlencode({name.rstrip("_"): value for name, value in params.items()})
        base = self._configuration.host.rstrip("/")
        url = yarl.URL(f"{base}{url_path}{'?' if query else ''}{query}", encoded=True)
        is_answered = False
        try:
            wrapped = await self._api.rest_client.request(
                method, url, headers=await self._headers(headers), body=body, _request_timeout=limit
            )
            async with wrapped.response as response:
                is_answered = True
                self._on_answer(method, kind_of(url_path), response.status)
                if response.status >= 400:
                    raise error_of(response.status, _message_in(await response.read(), response.reason))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            if not is_answered:
                self._on_answer(method, kind_of(url_path), 0)
            raise Unavailable(0, f"{method} {url_path}: {error or type(error).__name__}") from error

    async def _headers(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """`wanted` with who we are; tokens are read again as they expire."""
        found = {"Accept": "application/json", "User-Agent": "gpufleet"} | dict(wanted)
        for part in (await self._configuration.auth_settings()).values():
            if part["in"] == "header" and part["value"]:
                found[part["key"]] = part["value"]
        return found


async def load_configuration() -> Any:
    """The service account's configuration in a pod, otherwise that of the kubeconfig.

    Raises:
        ApiError: neither can be used.
    """
    configuration = aio.client.Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            aio.config.load_incluster_config(client_configuration=configuration)
        else:
            await aio.config.load_kube_config(client_configuration=configuration, persist_config=False)
    except (aio.config.ConfigException, OSError) as error:
        raise ApiError(0, f"no way to the API server: {error}: run in a pod or set KUBECONFIG") from error
    return configuration


@contextlib.asynccontextmanager
async def connect(
    options: settings.Settings, on_write: OnWrite | None = None, on_answer: OnAnswer = lambda *_: None
) -> AsyncIterator[Client]:
    """A client for the cluster that this process belongs to or that KUBECONFIG names."""
    api_client = aio.client.ApiClient(configuration=await load_configuration())
    client = Client(api_client, options, on_write, on_answer=on_answer)
    try:
        yield client
    finally:
        await client.close()


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines, however long: an object may be larger than the reader's own limit."""
    buffer = bytearray()
    async for chunk in response.content.iter_any():
        buffer += chunk
        *whole, rest = bytes(buffer).split(b"\n") if b"\n" in chunk else [bytes(buffer)]
        for line in whole:
            if line:
                yield line
        if whole:
            buffer = bytearray(rest)


def _message_in(body: bytes, reason: str | None) -> str:
    try:
        return _message_of(msgspec.json.decode(body))
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace") or reason or ""


def _message_of(status: object) -> str:
    """With the causes that the message does not name itself, such as a PodDisruptionBudget."""
    if not isinstance(status, dict):
        return ""
    said = str(status.get("message") or status.get("reason") or "")
    causes = [str(one.get("message") or "") for one in (status.get("details") or {}).get("causes") or ()]
    return " ".join((said, *(one for one in causes if one not in said)))
