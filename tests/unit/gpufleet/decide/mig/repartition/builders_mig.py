"""Nodes with device maps, changes under way and the pods that hold slices."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from gpufleet.decide.mig import catalogue, geometry
from gpufleet.decide.mig.repartition import configs, facts, steps
from gpufleet.state import devices, fleet, mig, names
from tests import builders

H100 = builders.H100
NOW = builders.NOW
ONE, THREE = "1g.10gb", "3g.40gb"
SLICE = catalogue.resource_name(ONE)

Slices = Mapping[str, int] | None


def at(seconds: float) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


def make_map(
    *gpus: Slices,
    product: str = H100,
    holders: Mapping[tuple[int, int], str] | None = None,
    boot: str = "",
    token: str = "",
) -> devices.DeviceMap:
    """GPUs with these slices, created in the driver's order.

    `holders` are pods by (GPU, number of the slice); a holder of slice -1 has the whole GPU.
    """
    model = catalogue.model_of_product(product)
    assert model is not None
    found = []
    for index, slices in enumerate(gpus):
        wanted = [name for name, number in (slices or {}).items() for _ in range(number)]
        placed = sorted(geometry.creation_order(model, wanted), key=lambda one: one.start)
        instances = tuple(
            devices.Instance(
                f"MIG-{index}-{number}", one.profile, one.start, (holders or {}).get((index, number), "")
            )
            for number, one in enumerate(placed)
        )
        whole = (holders or {}).get((index, -1), "")
        found.append(devices.Gpu(index, f"GPU-{index}", model.name, slices is not None, instances, whole))
    return devices.DeviceMap(boot, tuple(found), token)


def make_node(
    *gpus: Slices,
    name: str = "node-a",
    product: str = H100,
    label: str = "",
    state: str = "",
    change: mig.Change | None = None,
    holders: Mapping[tuple[int, int], str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> fleet.Node:
    """A Ready node of pool `h100` with a map that agrees with what it offers; fenced where it changes."""
    layout = mig.Layout.of(dict(enumerate(gpus)))
    offered = {catalogue.resource_name(key): number for key, number in layout.totals.items()}
    whole = sum(slices is None for slices in gpus)
    labels = {
        names.GPU_PRODUCT_LABEL: product,
        "gpufleet.dev/pool": "h100",
        names.MIG_CONFIG_LABEL: label,
        names.MIG_STATE_LABEL: state,
    }
    notes = dict(annotations or {}) | ({names.MIG_CHANGE_ANNOTATION: change.to_text()} if change else {})
    base: dict[str, Any] = {
        "labels": {key: value for key, value in labels.items() if value} | dict(fields.pop("labels", {})),
        "allocatable": offered | ({builders.GPU: whole} if whole else {}),
        "annotations": notes,
        "uid": f"uid-{name}",
        "devices": make_map(
            *gpus,
            product=product,
            holders=holders,
            boot=fields.get("boot_id", ""),
            token=change.token if change else "",
        ),
        "taints": FENCE if change else (),
    }
    return fleet.Node(name, **(base | fields))


FENCE = (fleet.Taint(names.REPARTITION_TAINT, "", "NoSchedule"),)


def make_holder(name: str, node: str = "node-a", resource: str = SLICE, **fields: Any) -> fleet.Pod:
    """A running pod that holds a slice."""
    base: dict[str, Any] = {"node": node, "phase": "Running", "requests": {resource: 1}}
    return builders.make_pod(name, **(base | fields))


def holder_text(name: str) -> str:
    """As the node agent writes a pod."""
    return f"{builders.NAMESPACE}/{name}/uid-{name}"


def make_change(before: Iterable[Slices], after: Iterable[Slices], **fields: Any) -> mig.Change:
    """A change that began now and was published at once."""
    back = mig.Layout.of(dict(enumerate(before)))
    to = mig.Layout.of(dict(enumerate(after)))
    config = configs.choose_name(to, ())
    base: dict[str, Any] = {
        "phase": "Fenced",
        "pool": "h100",
        "to": to,
        "config": config,
        "back": back,
        "back_config": configs.choose_name(back, {config}),
        "label_before": "",
        "began": NOW,
        "since": NOW,
        "published": NOW,
    }
    return mig.Change(**(base | fields))


def make_context(change: mig.Change | None = None, **fields: Any) -> steps.Context:
    """Nothing stands against a beginning, and the ConfigMap has what the change needs."""
    published = {change.config, change.back_config} if change else set()
    base: dict[str, Any] = {
        "pool": "h100",
        "published": frozenset(published),
        "limits": steps.Limits(
            settle_s=5, config_settle_s=20, grace_s=10, confirm_s=15, apply_s=300, hold_s=60
        ),
        "drain_timeout_s": 600.0,
    }
    return steps.Context(**(base | fields))


def read(node: fleet.Node, *pods: fleet.Pod) -> facts.Facts:
    return facts.read(node, pods)
