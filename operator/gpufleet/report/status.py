"""Writes status where it says something new. It holds decisions: a moving count alone waits its turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpufleet import clock, kube
from gpufleet.api import meta, reasons
from gpufleet.state import names

COUNTS_EVERY_S = 30.0
_COUNTS = frozenset(
    {"replicas", "readyReplicas", "activeWorkers", "succeededWorkers", "readyNodes", "resources"}
)
_CYCLES = "assignment"


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
    rest = {key: value for key, value in status.items() if key not in (_CYCLES, "conditions")}
    # An absent count, an empty text and an empty list say the same as 0, "" and [].
    return {key: value for key, value in rest.items() if value not in (0, "", [], None)} | {
        "conditions": conditions
    }


def _without_counts(status: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in status.items() if key not in _COUNTS}
    if "models" in kept:
        kept["models"] = [{k: v for k, v in one.items() if k != "readyPods"} for one in kept["models"]]
    return kept


def _is_reconciling(status: Mapping[str, Any]) -> bool:
    return any(
        one["type"] == reasons.RECONCILING and one["status"] == "True" for one in status.get("conditions", ())
    )


@dataclasses.dataclass
class StatusWriter:
    """Remembers when counts of an object were written last."""

    client: kube.Client
    clock: clock.Clock
    written_s: dict[str, float] = dataclasses.field(default_factory=dict)

    async def write(
        self, raw: Mapping[str, Any], status: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any] | None, float]:
        """(the object after the write or None, seconds until a deferred write is due or 0).

        Raises kube.ApiError.
        """
        old = raw.get("status") or {}
        if not differs(old, status):
            return None, 0.0
        uid = str(raw["metadata"]["uid"])
        due_s = self.written_s.get(uid, float("-inf")) + COUNTS_EVERY_S - self.clock.monotonic_s()
        if due_s > 0 and differs_in_counts_only(old, status):
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
        self._remember(uid, self.clock.monotonic_s())
        return written, 0.0

    def _remember(self, uid: str, now_s: float) -> None:
        """Keeps the times in order, so that those which defer nothing any more are the first to drop."""
        self.written_s.pop(uid, None)
        self.written_s[uid] = now_s
        while now_s - self.written_s[oldest := next(iter(self.written_s))] > COUNTS_EVERY_S:
            del self.written_s[oldest]


def _build_body(raw: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    metadata = raw["metadata"]
    identity = {key: metadata[key] for key in ("name", "namespace", "uid") if metadata.get(key)}
    owned = {key: value for key, value in status.items() if key != _CYCLES}
    return {"apiVersion": meta.API_VERSION, "kind": raw["kind"], "metadata": identity, "status": owned}
