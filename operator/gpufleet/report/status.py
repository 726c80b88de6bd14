"""Writes status where it says something new.

Status holds decisions, not telemetry: while an object is on its way, what is new waits a moment for what
completes it, and a moving count alone waits longer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpufleet import clock, kube
from gpufleet.api import meta, reasons
from gpufleet.state import names

PROGRESS_S = 1.0
"""How long news of an object on its way waits for more: two pods become ready one after the other."""
COUNTS_EVERY_S = 30.0
"""Shortest time between two writes that only move counts."""
_COUNTS = frozenset(
    {"replicas", "readyReplicas", "activeWorkers", "succeededWorkers", "readyNodes", "resources"}
)
_COUNTS_OF_MODELS = frozenset({"readyPods", "loadMilliseconds"})
_CYCLES = frozenset({"assignment", "autoscaling", "mig", "rightSizing"})


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the parts that reconcile owns say something else; transition times do not count."""
    return _comparable(old) != _comparable(new)


def differs_in_counts_only(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether only counts moved, of pods or nodes, while the object is still on its way."""
    if not _is_reconciling(new):
        return False
    return not differs(_without_counts(old), _without_counts(new))


def _comparable(status: Mapping[str, Any]) -> dict[str, Any]:
    conditions = [
        {key: value for key, value in one.items() if key != "lastTransitionTime"}
        for one in status.get("conditions", ())
    ]
    rest = {key: value for key, value in status.items() if key != "conditions" and key not in _CYCLES}
    # An absent count, an empty text and an empty list say the same as 0, "" and [].
    return {key: value for key, value in rest.items() if value not in (0, "", [], None)} | {
        "conditions": conditions
    }


def _without_counts(status: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in status.items() if key not in _COUNTS}
    if "models" in kept:
        kept["models"] = [
            {k: v for k, v in one.items() if k not in _COUNTS_OF_MODELS} for one in kept["models"]
        ]
    return kept


def _is_reconciling(status: Mapping[str, Any]) -> bool:
    return any(
        one["type"] == reasons.RECONCILING and one["status"] == "True" for one in status.get("conditions", ())
    )


@dataclasses.dataclass
class StatusWriter:
    """Remembers by UID when an object was written last, and since when it has had news."""

    client: kube.Client
    clock: clock.Clock
    written_s: dict[str, float] = dataclasses.field(default_factory=dict)
    news_s: dict[str, float] = dataclasses.field(default_factory=dict)

    async def write(
        self, raw: Mapping[str, Any], status: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any] | None, float]:
        """(the object after the write or None, seconds until a deferred write is due or 0).

        Raises kube.ApiError.
        """
        old = raw.get("status") or {}
        uid = str(raw["metadata"]["uid"])
        if not differs(old, status):
            self.news_s.pop(uid, None)
            return None, 0.0
        due_s = self._find_due_s(uid, old, status) - self.clock.monotonic_s()
        if due_s > 0:
            return None, due_s
        written = await self.client.apply(
            kube.path(
                meta.API_VERSION,
                raw["kind"],
                raw["metadata"].get("namespace", ""),
                raw["metadata"]["name"],
                "status",
            ),
            _build_body(raw, status),
            manager=names.FIELD_MANAGER,
            force=True,
        )
        self.news_s.pop(uid, None)
        self._remember(self.written_s, uid)
        return written, 0.0

    def _find_due_s(self, uid: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> float:
        """When this status is to be written, by the monotonic clock."""
        if differs_in_counts_only(old, new):
            return self.written_s.get(uid, float("-inf")) + COUNTS_EVERY_S
        if not (_is_reconciling(old) and _is_reconciling(new)):
            return float("-inf")
        if uid not in self.news_s:
            self._remember(self.news_s, uid)
        return self.news_s[uid] + PROGRESS_S

    def _remember(self, times: dict[str, float], uid: str) -> None:
        """Keeps the times in order, so that those which defer nothing any more are the first to drop."""
        now_s = self.clock.monotonic_s()
        times.pop(uid, None)
        times[uid] = now_s
        while now_s - times[oldest := next(iter(times))] > COUNTS_EVERY_S:
            del times[oldest]


def _build_body(raw: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    metadata = raw["metadata"]
    identity = {key: metadata[key] for key in ("name", "namespace", "uid") if metadata.get(key)}
    owned = {key: value for key, value in status.items() if key not in _CYCLES}
    return {"apiVersion": meta.API_VERSION, "kind": raw["kind"], "metadata": identity, "status": owned}
