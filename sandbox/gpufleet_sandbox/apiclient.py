"""The few requests that the sandbox itself sends to its API server, over one connection per client.

A thousand nodes are created through this: a kubectl process per request would take minutes.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import pathlib
import ssl
import tempfile
import urllib.parse
from types import TracebackType
from typing import Any

import yaml


class ApiError(RuntimeError):
    """The server answered with an error; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ApiClient:
    """Not safe for use by several threads: one client each."""

    def __init__(self, kubeconfig: pathlib.Path, timeout_s: float = 10.0) -> None:
        cluster, user = _read(kubeconfig)
        address = urllib.parse.urlsplit(cluster["server"])
        self._connection = http.client.HTTPSConnection(
            address.hostname or "",
            address.port or 443,
            timeout=timeout_s,
            context=_build_context(cluster, user),
        )
        self._token = user.get("token")

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def get_or_none(self, path: str) -> Any | None:
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, path: str, body: dict[str, Any], *, subresource: str = "") -> Any:
        """Server-side apply of one object at its own path, as field manager `gpufleet-sandbox`."""
        query = "?fieldManager=gpufleet-sandbox&force=true"
        return self.request("PATCH", f"{path}{subresource}{query}", body, "application/apply-patch+yaml")

    def delete(self, path: str) -> None:
        with contextlib.suppress(ApiError):
            self.request("DELETE", path)

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, content: str = "application/json"
    ) -> Any:
        """The decoded answer: JSON, or text where it is none. Raises ApiError, OSError."""
        headers = {"Accept": "application/json", "Content-Type": content}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._connection.getresponse()
            text = response.read().decode(errors="replace")
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()
            raise OSError(f"{method} {path}: {error}") from error
        if response.status >= 400:
            raise ApiError(response.status, text[:500])
        return _decode(text)


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(kubeconfig: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    config = yaml.safe_load(kubeconfig.read_text())
    current = config.get("current-context") or config["contexts"][0]["name"]
    context = _named(config["contexts"], current)["context"]
    return _named(config["clusters"], context["cluster"])["cluster"], _named(
        config["users"], context["user"]
    )["user"]


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(f"the kubeconfig has no entry named {name}")


def _build_context(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(authority).decode() if authority else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    elif "client-certificate-data" in user:
        # ssl loads chains from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            file.write(base64.b64decode(user["client-key-data"]))
            file.flush()
            context.load_cert_chain(file.name)
    return context
