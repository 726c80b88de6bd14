"""What the read API and the API server say, for commands about the whole fleet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from gpufleet.cli import picture, reach
from gpufleet.state import snapshot
from tests.builders import NOW

PROXY = "/api/v1/namespaces/gpufleet-system/services/gpufleet:http/proxy"
ABOUT = {
    "version": "0.1.0",
    "leader": "gpufleet-1",
    "silentWatches": [],
    "preemption": "Advisory",
    "prometheus": {"configured": True, "ageSeconds": 4.0, "error": "", "notes": []},
}


def condition(type_: str, status: str, reason: str, message: str = "", age_s: float = 3600) -> dict[str, Any]:
    since = stamp(NOW.timestamp() - age_s)
    told = {"type": type_, "status": status, "reason": reason, "message": message}
    return {**told, "lastTransitionTime": since}


def stamp(at_s: float) -> str:
    return NOW.fromtimestamp(at_s, NOW.tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(taken: snapshot.Snapshot) -> bytes:
    """As the read API writes it."""
    return msgspec.json.encode(taken, enc_hook=lambda one: one.model_dump(mode="json", by_alias=True))


def read(taken: snapshot.Snapshot) -> picture.Fleet:
    return msgspec.json.decode(encode(taken), type=picture.Fleet)


def thing(name: str = "vision", *conditions: dict[str, Any], **rest: Any) -> picture.Thing:
    """One of our objects, made an hour ago, in namespace `team`; keywords are laid over its status."""
    spec = rest.pop("spec", {})
    wire = {
        "metadata": {"name": name, "namespace": "team", "creationTimestamp": stamp(NOW.timestamp() - 3600)},
        "spec": spec,
        "status": {"conditions": list(conditions), **rest},
    }
    return msgspec.convert(wire, picture.Thing, strict=False)


class Answers:
    """An API server that has these paths; others are not found."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    def get(self, url: str) -> tuple[int, bytes]:
        answer = self._answers.get(url.rstrip("?"))
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return 404, json.dumps({"kind": "Status", "message": f"{url} not found"}).encode()
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def silent(url: str) -> tuple[int, bytes]:
    raise reach.UnreachableError("the API server does not answer")
