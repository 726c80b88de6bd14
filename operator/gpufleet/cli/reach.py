"""The cluster of the user's kubeconfig, and through its API server the operator's read API.

Two operators share one Service and only one of them leads. The API server picks one at random for each
request, so that asking again needs no further right; who may use the proxy of pods asks the leader itself.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import click

SERVICE = "gpufleet"
PORT = 8080
TIMEOUT_S = 10.0
ATTEMPTS = 10
"""Of which each finds one of two operators: all miss the leader once in a thousand times."""

Answer = tuple[int, dict[str, Any]]
"""HTTP status and the operator's own words."""
Get = Callable[[str], tuple[int, bytes]]


class UnreachableError(Exception):
    """The read API did not answer; the text says what did, and what would help."""


class Cluster:
    """Of a context of the kubeconfig. Raises click.ClickException where there is none."""

    def __init__(self, context: str | None) -> None:
        from kubernetes import client, config

        try:
            config.load_kube_config(context=context)
            contexts, active = config.list_kube_config_contexts()
        except config.ConfigException as error:
            raise click.ClickException(f"no cluster: {error}") from error
        chosen = next((one for one in contexts if one["name"] == context), active)
        self.namespace = str(chosen["context"].get("namespace") or "default")
        options = client.Configuration.get_default_copy()
        # One that does not answer is told at once, without a line for every try.
        options.retries = False
        self._api = client.ApiClient(options)

    def read_service(self, namespace: str, name: str) -> dict[str, Any]:
        """The TritonService as it is stored. Raises click.ClickException."""
        from gpufleet.api import triton_service

        return self._read(triton_service.KIND, triton_service.PLURAL, namespace, name)

    def read_job(self, namespace: str, name: str) -> dict[str, Any]:
        """The TrainingJob as it is stored. Raises click.ClickException."""
        from gpufleet.api import training_job

        return self._read(training_job.KIND, training_job.PLURAL, namespace, name)

    def _read(self, kind: str, plural: str, namespace: str, name: str) -> dict[str, Any]:
        from gpufleet.api import meta

        where = ("apis", meta.GROUP, meta.VERSION, "namespaces", namespace, plural, name)
        try:
            status, body = self.get("/" + "/".join(urllib.parse.quote(one, safe="") for one in where))
        except UnreachableError as error:
            raise click.ClickException(str(error)) from error
        found = _parse(body)
        if status == 200 and found is not None:
            return found
        said = (found or {}).get("message") or f"HTTP {status}"
        raise click.ClickException(f"{kind} {namespace}/{name} cannot be read: {said}")

    def get(self, url: str) -> tuple[int, bytes]:
        """HTTP status and body, whatever they are. Raises UnreachableError where nothing answers."""
        import urllib3

        request = self._api.param_serialize("GET", url, header_params={}, auth_settings=["BearerToken"])
        try:
            response = self._api.call_api(*request, _request_timeout=TIMEOUT_S)
            return int(response.status), bytes(response.read())
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"the API server does not answer: {error}") from error


def ask_through(get: Get, namespace: str, path: str, query: Mapping[str, str]) -> Answer:
    """The leader's answer, by way of the API server. Raises UnreachableError."""
    return _read(*fetch_through(get, namespace, path, query))


def fetch_through(get: Get, namespace: str, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
    """As `ask_through`, with the body as it came: that of a large fleet is read only once."""
    root, asked = f"/api/v1/namespaces/{urllib.parse.quote(namespace, safe='')}", _join(path, query)
    leader = ""
    for _ in range(ATTEMPTS):
        status, body = get(f"{root}/services/{SERVICE}:http/proxy{asked}")
        told = _find_standby(status, body)
        if told is None:
            return status, body
        if told["leader"] and told["leader"] != leader:
            leader = str(told["leader"])
            found = _ask_pod(get, f"{root}/pods/{urllib.parse.quote(leader, safe='')}:{PORT}/proxy{asked}")
            if found:
                return found
    raise UnreachableError(
        f"only operators that stand by have answered; the leader is {leader or 'not known'}"
    )


def ask_directly(server: str, path: str, query: Mapping[str, str]) -> Answer:
    """The answer of the operator at this URL. Raises UnreachableError."""
    return _read(*fetch_directly(server, path, query))


def fetch_directly(server: str, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
    """As `ask_directly`, with the body as it came."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(server.rstrip("/") + _join(path, query), timeout=TIMEOUT_S) as response:
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read()
    except (OSError, ValueError) as error:
        raise UnreachableError(f"{server} does not answer: {error}") from error
    if told := _find_standby(status, body):
        raise UnreachableError(f"{server} is no leader: {told['message']}")
    return status, body


def _join(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urllib.parse.urlencode(query)}"


def _ask_pod(get: Get, url: str) -> tuple[int, bytes] | None:
    """None where one may not, or the pod is none."""
    try:
        status, body = get(url)
        return None if _find_standby(status, body) else (status, body)
    except UnreachableError:
        return None


def _read(status: int, body: bytes) -> Answer:
    """Raises UnreachableError where another than the operator has answered."""
    found = _parse(body)
    if found is None:
        raise UnreachableError(f"HTTP {status} without JSON: is the operator an older one?")
    if found.get("kind") == "Status":
        help_ = " (bind the Role gpufleet-snapshot, see the chart's README)" if status == 403 else ""
        raise UnreachableError(f"{found.get('message') or status}{help_}")
    return status, found


def _find_standby(status: int, body: bytes) -> dict[str, Any] | None:
    """What an operator says that does not lead. Raises UnreachableError where none has refused."""
    if status == 200:
        return None
    found = _read(status, body)[1]
    return found if status == 503 and "leader" in found else None


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
