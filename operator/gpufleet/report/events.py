"""Kubernetes Events about our objects: what repeats within an hour is one Event that counts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from gpufleet import clock, kube
from gpufleet.api import meta
from gpufleet.report import metrics
from gpufleet.state import decision, names

_FORGET_AFTER_S = 3600.0
_MESSAGE_LIMIT = 1024


@dataclasses.dataclass
class EventWriter:
    """Writes Events and remembers how often each was said; losing one loses no state."""

    client: kube.Client
    clock: clock.Clock
    seen: dict[str, tuple[int, float, str]] = dataclasses.field(default_factory=dict)

    async def write(self, raw: Mapping[str, Any], event: decision.Event) -> None:
        """Creates the Event or counts it up. Raises kube.ApiError."""
        now_s = self.clock.monotonic_s()
        self._forget(now_s)
        name = event_name(raw, event)
        stamp = clock.to_rfc3339(self.clock.now())
        count, _, first = self.seen.get(name, (0, now_s, stamp))
        namespace = raw["metadata"].get("namespace") or "default"
        body = _build(raw, event, name, namespace) | {
            "count": count + 1,
            "firstTimestamp": first,
            "lastTimestamp": stamp,
        }
        path = kube.path("v1", "Event", namespace, name)
        await self.client.apply(path, body, manager=names.FIELD_MANAGER, force=True)
        metrics.DECISIONS.labels(raw["kind"], event.reason).inc()
        self.seen.pop(name, None)
        self.seen[name] = (count + 1, now_s, first)

    def _forget(self, now_s: float) -> None:
        """What was said last stands last, so that the old is found at the front."""
        while self.seen and now_s - self.seen[oldest := next(iter(self.seen))][1] > _FORGET_AFTER_S:
            del self.seen[oldest]


def event_name(raw: Mapping[str, Any], event: decision.Event) -> str:
    """The same for the same words about the same object, so that a repetition finds the Event it repeats."""
    text = "\0".join((raw["metadata"]["uid"], event.type, event.reason, event.message))
    return f"{raw['metadata']['name'][:200]}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _build(raw: Mapping[str, Any], event: decision.Event, name: str, namespace: str) -> dict[str, Any]:
    metadata = raw["metadata"]
    about = {
        "apiVersion": meta.API_VERSION,
        "kind": raw["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {key: value for key, value in about.items() if value},
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:_MESSAGE_LIMIT],
        "reportingComponent": names.MANAGER,
        "source": {"component": names.MANAGER},
    }
