"""Applies the children of one object and prunes what it owns no longer.

A name that a foreign object already has is a conflict, never an adoption: the first apply looks before it
writes and does not force, so that an object which appears in between refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gpufleet import kube
from gpufleet.api import meta
from gpufleet.apply import drift
from gpufleet.decide.resources import meta as resources
from gpufleet.state import children, decision, names


class ChildConflictError(Exception):
    """The name of a child is taken by an object that is not ours."""


class ChildLeavingError(Exception):
    """The name of a child is still taken by one that is about to go without anybody's help."""


class Owned(Protocol):
    """What is known to exist, with our own writes laid over it."""

    def children_of(self, uid: str) -> tuple[children.Child, ...]: ...

    def note_written(self, raw: Mapping[str, Any]) -> None: ...

    def note_deleted(self, child: children.Child) -> None: ...


async def apply(
    client: kube.Client,
    owned: Owned,
    owner: Mapping[str, Any],
    decided: decision.Decision,
) -> None:
    """Deletes what is neither wanted nor kept, scales, then applies in order: release before taking.

    Raises:
        ChildConflictError: a name is taken by a foreign object.
        ChildLeavingError: a name is taken by an object that is about to go.
        kube.ApiError: the API server refused or could not be reached; Conflict where a child to be deleted
            or scaled is no longer the one that the decision saw.
    """
    uid = str(owner["metadata"]["uid"])
    existing = {child.ref: child for child in owned.children_of(uid)}
    wanted = {children.ChildRef(one["kind"], one["metadata"]["name"]) for one in decided.apply}
    for ref in sorted(existing.keys() - wanted - decided.keep):
        await _delete(client, owned, existing[ref])
    for ref, replicas in sorted(decided.scale.items()):
        if ref in existing:
            await _scale(client, owned, existing[ref], replicas)
    for manifest in decided.apply:
        ref = children.ChildRef(manifest["kind"], manifest["metadata"]["name"])
        await _apply_one(client, owned, owner, manifest, existing.get(ref))


async def _apply_one(
    client: kube.Client,
    owned: Owned,
    owner: Mapping[str, Any],
    manifest: Mapping[str, Any],
    existing: children.Child | None,
) -> None:
    complete = _complete(manifest, owner)
    if existing is not None and (existing.is_deleting or drift.is_applied(complete, existing.body)):
        return
    stamped = _stamp(complete)
    metadata = manifest["metadata"]
    path = kube.path(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])
    if existing is None and not await _is_ours(client, path, owner):
        written = await _create(client, path, stamped)
    else:
        written = await client.apply(path, stamped, manager=names.FIELD_MANAGER, force=True)
    owned.note_written(written)


async def _is_ours(client: kube.Client, path: str, owner: Mapping[str, Any]) -> bool:
    """False where nothing has the name. Raises ChildConflictError, ChildLeavingError."""
    try:
        live = await client.get(path)
    except kube.NotFound:
        return False
    references = live["metadata"].get("ownerReferences") or []
    if any(reference.get("uid") == owner["metadata"]["uid"] for reference in references):
        return True
    kind, name = live.get("kind", "object"), live["metadata"]["name"]
    if any(_is_predecessor(one, owner) for one in references):
        raise ChildLeavingError(f"{kind} {name} of the former {owner['kind']} is being deleted")
    raise ChildConflictError(
        f"{kind} {name} exists already and is not ours: rename or delete it, or rename this {owner['kind']}"
    )


def _is_predecessor(reference: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether it names an object that `owner` has replaced: the garbage collector is after all it owned."""
    return (
        reference.get("kind") == owner["kind"]
        and reference.get("name") == owner["metadata"]["name"]
        and str(reference.get("apiVersion", "")).startswith(f"{meta.GROUP}/")
    )


async def _create(client: kube.Client, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return await client.apply(path, manifest, manager=names.FIELD_MANAGER, force=False)
    except kube.Conflict as error:
        name = manifest["metadata"]["name"]
        raise ChildConflictError(f"{manifest['kind']} {name} was made by somebody else just now") from error


async def _scale(client: kube.Client, owned: Owned, child: children.Child, replicas: int) -> None:
    # An Indexed Job has both numbers, which may only change together.
    fields = ("parallelism", "completions") if child.kind == "Job" else ("replicas",)
    if child.is_deleting or all(child.body["spec"].get(field, 1) == replicas for field in fields):
        return
    path = kube.path(child.api_version, child.kind, child.namespace, child.name)
    seen = {"uid": child.uid, "resourceVersion": child.resource_version}
    patch = {"metadata": seen, "spec": dict.fromkeys(fields, replicas)}
    owned.note_written(await client.merge_patch(path, patch, manager=names.FIELD_MANAGER))


async def _delete(client: kube.Client, owned: Owned, child: children.Child) -> None:
    path = kube.path(child.api_version, child.kind, child.namespace, child.name)
    await client.delete(path, uid=child.uid, resource_version=child.resource_version)
    owned.note_deleted(child)


def _complete(manifest: Mapping[str, Any], owner: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its owner, by UID, so that deleting the owner deletes it."""
    about = owner["metadata"]
    reference = resources.build_owner_reference(owner["kind"], about["name"], about["uid"])
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [reference]}}


def _stamp(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its hash, by which a later pass knows that nothing is to be done."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), names.APPLIED_HASH: drift.compute_hash(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
