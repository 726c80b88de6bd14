"""A simulated node with MIG: what mig-manager, device plugin, feature discovery and node agent would write.

The GPUs are those of the simulator, so they refuse what hardware refuses. KWOK plays the kubelet; pods get
slices in the order in which this looks.
"""

from __future__ import annotations

import json
from typing import Any

from gpufleet.decide.mig import catalogue
from gpufleet.simgpu import device, inventory, labels, migconfig, repartition
from gpufleet.state import names
from gpufleet_sandbox import kwok
from tests.integration.conftest import Cluster

PRODUCT = "NVIDIA-H100-80GB-HBM3"
TAINT = "gpufleet.dev/test-mig"
NAMESPACE, CONFIG_MAP = "gpu-operator", "gpufleet-mig-layouts"


class MigNode:
    """One node; `tick` is one look of all that is on it."""

    def __init__(self, cluster: Cluster, name: str, *layouts: tuple[str, ...]) -> None:
        self.cluster = cluster
        self.name = name
        gpus = inventory.build_gpus(name, PRODUCT, len(layouts))
        for gpu, layout in zip(gpus, layouts, strict=True):
            gpu.set_mig_mode(True)
            for profile in layout:
                gpu.create_instance(profile)
        self.stock = inventory.Inventory(gpus)
        self.held: dict[str, str] = {}
        self.applied = ""
        self.errors: list[str] = []
        self.fails = False
        self.is_silent = False

    def create(self, pool: str) -> None:
        """As a kubelet registers it, with a taint that keeps the pods of other tests away."""
        shape = kwok.NodeShape(
            resources={}, labels={"gpufleet.dev/pool": pool, **labels.build_labels(self.stock)}
        )
        node = kwok.build_node(self.name, shape)
        node["spec"]["taints"] = [{"key": TAINT, "value": self.name, "effect": "NoSchedule"}]
        self.cluster.kubectl("create", "-f", "-", input=json.dumps(node))
        self.tell()

    def read(self) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.cluster.kubectl("get", "node", self.name, "-o", "json"))
        return shown

    def tell(self) -> None:
        """Labels, allocatable and the device map, as they are now."""
        current = self.read()["metadata"].get("labels", {})
        patch = labels.plan_patch(current, labels.build_labels(self.stock))
        asked = self.read()["metadata"].get("annotations", {}).get(names.DEVICES_REQUESTED_ANNOTATION, "")
        text = json.dumps(self.build_map() | {"token": asked})
        annotations = {} if self.is_silent else {names.DEVICES_ANNOTATION: text}
        self._patch({"metadata": {"labels": patch, "annotations": annotations}})
        offered = {key: str(len(found)) for key, found in self.stock.advertise().items()}
        self._patch({"status": {"allocatable": offered, "capacity": offered}}, "--subresource=status")

    def build_map(self) -> dict[str, Any]:
        return {
            "bootID": "",
            "gpus": [
                {
                    "index": gpu.index,
                    "uuid": gpu.uuid,
                    "model": gpu.model.name,
                    "mig": gpu.mig_enabled,
                    "pod": "",
                    "instances": [
                        {
                            "uuid": one.uuid,
                            "profile": one.profile,
                            "start": one.placement.start,
                            "pod": self.held.get(one.uuid, ""),
                        }
                        for one in gpu.instances
                    ],
                }
                for gpu in self.stock.gpus
            ],
        }

    def tick(self) -> None:
        """Kubelet, mig-manager, then everyone who tells."""
        self._hand_out()
        label = self.read()["metadata"].get("labels", {}).get(names.MIG_CONFIG_LABEL, "")
        if label and label != self.applied:
            self.applied = label
            self._state("pending")
            self._state(self._apply(label))
        self.tell()

    def _hand_out(self) -> None:
        selector = f"--field-selector=spec.nodeName={self.name}"
        pods = json.loads(self.cluster.kubectl("get", "pods", "-A", selector, "-o", "json"))["items"]
        texts = {
            f"{p['metadata']['namespace']}/{p['metadata']['name']}/{p['metadata']['uid']}": p for p in pods
        }
        self.held = {uuid: text for uuid, text in self.held.items() if text in texts}
        for text, pod in sorted(texts.items()):
            if text not in self.held.values():
                [resource] = [
                    key for key in pod["spec"]["containers"][0]["resources"]["limits"] if "mig" in key
                ]
                self.held[self._find_free(resource)] = text
        self.stock.set_busy(self.held)

    def _find_free(self, resource: str) -> str:
        return next(
            one.uuid
            for gpu in self.stock.gpus
            for one in gpu.instances
            if catalogue.resource_name(one.profile) == resource and one.uuid not in self.held
        )

    def _apply(self, label: str) -> str:
        shown = self.cluster.kubectl("get", "configmap", CONFIG_MAP, "-n", NAMESPACE, "-o", "json")
        try:
            entries = migconfig.parse(json.loads(shown)["data"]["config.yaml"])[label]
            if self.fails:
                raise device.DeviceError("ERROR_UNKNOWN", "told to fail")
            repartition.apply(self.stock.gpus, migconfig.plan_wanted(entries, self.stock.gpus))
        except (KeyError, migconfig.ConfigError, device.DeviceError) as error:
            self.errors.append(repr(error))
            self.fails = False
            return "failed"
        return "success"

    def _state(self, state: str) -> None:
        self._patch({"metadata": {"labels": {names.MIG_STATE_LABEL: state}}})

    def _patch(self, body: dict[str, Any], *options: str) -> None:
        self.cluster.kubectl("patch", "node", self.name, "--type=merge", *options, "-p", json.dumps(body))
