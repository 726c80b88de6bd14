"""What a support bundle holds: asked one after another, scrubbed, and written once all is known.

A value that is secret in one answer is taken out of all of them: nothing is written before the last answer.
"""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import tarfile
import urllib.parse
from collections.abc import Iterator
from typing import Any

from gpufleet.cli import reach, scrub, sources

LOG_LINES = 20_000
LOG_BYTES = 8 * 2**20
_OPERATOR_PODS = "app.kubernetes.io/name=gpufleet,app.kubernetes.io/component=operator"
_OWN_EVENTS = "involvedObject.apiVersion=gpufleet.dev/v1alpha1"
_OWN = "/apis/gpufleet.dev/v1alpha1"
_NODE_STATUS = ("allocatable", "capacity", "conditions", "nodeInfo")
_READ_API = ("about", "snapshot", "queue", "decisions", "progress")


@dataclasses.dataclass
class Bundle:
    """Files by name, and why others are missing."""

    files: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON values, or the text of logs."""
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    removed: set[str] = dataclasses.field(default_factory=set)

    def add(self, name: str, value: Any) -> None:
        """Scrubs it."""
        self.files[name] = (
            scrub.scrub_text(value) if isinstance(value, str) else scrub.scrub(value, self.removed)
        )

    def texts(self) -> Iterator[tuple[str, str]]:
        """(name, content) of each file, without anything that was secret in any of them."""
        forget = scrub.forgetting(self.removed)
        for name, value in sorted(self.files.items()):
            told = forget(value)
            yield name, told if isinstance(told, str) else json.dumps(told, indent=1)
        yield "missing.json", json.dumps(forget(scrub.scrub(self.missing, set())), indent=1)


def gather(source: sources.Sources) -> Bundle:
    """Asks for everything; what nobody answers is told in `missing`."""
    found = Bundle()
    where = urllib.parse.quote(source.operator_namespace, safe="")
    pods = urllib.parse.quote(_OPERATOR_PODS)
    for path in _READ_API:
        _add(found, f"operator/{path}.json", lambda path=path: source.ask(f"/{path}"))
    urls = {
        "cluster/version.json": "/version",
        "cluster/kinds.json": _OWN,
        "cluster/nodes.json": "/api/v1/nodes",
        **{
            f"objects/{kind}.json": f"{_OWN}/{kind}"
            for kind in ("gpupools", "tritonservices", "trainingjobs", "modelprofiles")
        },
        "events/objects.json": f"/api/v1/events?fieldSelector={urllib.parse.quote(_OWN_EVENTS)}",
        "events/operator.json": f"/api/v1/namespaces/{where}/events",
        "operator/deployment.json": f"/apis/apps/v1/namespaces/{where}/deployments/gpufleet",
        "operator/lease.json": f"/apis/coordination.k8s.io/v1/namespaces/{where}/leases/{sources.LEASE}",
        "operator/pods.json": f"/api/v1/namespaces/{where}/pods?labelSelector={pods}",
    }
    for name, url in urls.items():
        _add(found, name, lambda url=url: source.read(url))
    for pod in found.files.get("operator/pods.json", {}).get("items", []):
        _add_logs(found, source, where, pod["metadata"]["name"])
    return found


def _add(found: Bundle, name: str, ask: Any) -> None:
    try:
        value = json.loads(ask())
    except reach.UnreachableError as error:
        found.missing[name] = str(error)
    except ValueError as error:
        found.missing[name] = f"the answer is no JSON: {error}"
    else:
        found.add(name, _reduce_nodes(value) if name == "cluster/nodes.json" else value)


def _reduce_nodes(listed: dict[str, Any]) -> list[dict[str, Any]]:
    """What placement goes by; images and addresses of nodes say nothing about it."""
    return [
        {
            "name": one["metadata"]["name"],
            "labels": one["metadata"].get("labels", {}),
            "annotations": one["metadata"].get("annotations", {}),
            "spec": {
                key: one["spec"][key] for key in ("taints", "unschedulable") if key in one.get("spec", {})
            },
            "status": {key: one.get("status", {}).get(key) for key in _NODE_STATUS},
        }
        for one in listed.get("items", [])
    ]


def _add_logs(found: Bundle, source: sources.Sources, namespace: str, pod: str) -> None:
    """Of this life and of the one before, which a pod that has never restarted lacks."""
    root = f"/api/v1/namespaces/{namespace}/pods/{urllib.parse.quote(pod, safe='')}/log"
    query = f"container=operator&tailLines={LOG_LINES}&limitBytes={LOG_BYTES}&timestamps=true"
    for name, previous in ((f"logs/{pod}.log", "false"), (f"logs/{pod}.previous.log", "true")):
        try:
            found.add(name, source.read(f"{root}?{query}&previous={previous}").decode(errors="replace"))
        except reach.UnreachableError as error:
            found.missing[name] = str(error)


def write(found: Bundle, path: pathlib.Path, written_s: int) -> None:
    """A tar.gz that only its owner can read. Raises OSError, also where the file is there already."""
    folder = path.name.removesuffix(".tar.gz")
    with path.open("xb") as raw:
        path.chmod(0o600)
        with tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for name, text in found.texts():
                body = text.encode()
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mtime, entry.mode = len(body), written_s, 0o600
                archive.addfile(entry, io.BytesIO(body))
