"""An API server of a dictionary: get, apply and delete with versions, UIDs and a journal of writes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

from gpufleet import kube

Raw = dict[str, Any]


class MemoryClient:
    """Objects by URL path; a path in `failing` answers with that error instead."""

    def __init__(self) -> None:
        self.objects: dict[str, Raw] = {}
        self.failing: dict[str, kube.ApiError] = {}
        self.journal: list[tuple[str, str]] = []
        self.managers: list[tuple[str, bool]] = []
        self._versions = itertools.count(100)

    def add(self, raw: Raw) -> Raw:
        """Stores an object as somebody else would have written it."""
        metadata = raw["metadata"]
        path = kube.path(raw["apiVersion"], raw["kind"], metadata.get("namespace", ""), metadata["name"])
        return self._store(path, raw)

    async def get(self, path: str) -> Raw:
        self._fail(path)
        if path not in self.objects:
            raise kube.NotFound(404, f"{path} not found")
        return copy.deepcopy(self.objects[path])

    async def apply(self, path: str, body: Mapping[str, Any], *, manager: str, force: bool) -> Raw:
        self.journal.append(("apply", path))
        self.managers.append((manager, force))
        self._fail(path)
        target = path.removesuffix("/status")
        if path == target:
            return self._store(path, body)
        held = await self.get(target)
        if held["metadata"]["uid"] != body["metadata"].get("uid", held["metadata"]["uid"]):
            raise kube.Conflict(409, "uid mismatch")
        if body["metadata"].get("resourceVersion") not in (None, held["metadata"]["resourceVersion"]):
            raise kube.Conflict(409, "the object has been modified")
        return self._store(target, held | {"status": {**held.get("status", {}), **body["status"]}})

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, manager: str) -> Raw:
        """One level deep, which is all that is asked of it."""
        self.journal.append(("patch", path))
        held = await self.get(path)
        metadata = dict(body["metadata"])
        labels = held["metadata"].get("labels", {}) | metadata.pop("labels", {})
        if not metadata.items() <= held["metadata"].items():
            raise kube.Conflict(409, "the precondition does not hold")
        if "spec" not in body:
            kept = {key: value for key, value in labels.items() if value is not None}
            return self._store(path, held | {"metadata": held["metadata"] | {"labels": kept}})
        return self._store(path, held | {"spec": held["spec"] | body["spec"]})

    async def delete(self, path: str, *, uid: str, resource_version: str | None = None) -> None:
        self.journal.append(("delete", path))
        self._fail(path)
        metadata = self.objects[path]["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (uid, resource_version):
            raise kube.Conflict(409, "the precondition does not hold")
        del self.objects[path]

    def written(self) -> list[str]:
        """What was written, in order, as the last parts of the paths."""
        return [f"{verb} {'/'.join(path.split('/')[-2:])}" for verb, path in self.journal]

    def _fail(self, path: str) -> None:
        if path in self.failing:
            raise self.failing[path]

    def _store(self, path: str, raw: Mapping[str, Any]) -> Raw:
        held = self.objects.get(path)
        uid = held["metadata"]["uid"] if held else f"uid-of-{path.rsplit('/', 1)[1]}"
        version = {"resourceVersion": str(next(self._versions))}
        stored = {**raw, "metadata": {"uid": uid} | raw["metadata"] | version}
        self.objects[path] = copy.deepcopy(stored)
        return copy.deepcopy(stored)
