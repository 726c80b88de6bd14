"""What a fleet tells Prometheus, by the code that tells it: the operator, the simulated GPUs' exporter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, exposition, parser

from gpufleet.report import objects
from gpufleet.simgpu import dcgm, podresources, telemetry, usage
from gpufleet.state import snapshot
from tests import builders
from tests.builders import GPU
from tests.unit.gpufleet.simgpu import builders as devices

OPERATOR = {"namespace": "gpufleet-system", "pod": "gpufleet-0"}
EXPORTER = {"namespace": "gpu-operator", "pod": "dcgm-1"}
PROFILES = ("3g.40gb", "2g.20gb", "1g.10gb")
NODE = "node-a"
TEAM = "team-a"


@dataclasses.dataclass(frozen=True)
class Fleet:
    """A snapshot, and what the pods of its one node use, by namespace and pod."""

    taken: snapshot.Snapshot
    uses: Mapping[tuple[str, str], usage.Use]


def condition(type_: str, reason: str, status: str = "True") -> dict[str, object]:
    return {"type": type_, "status": status, "reason": reason, "lastTransitionTime": builders.NOW}


def build_idle() -> Fleet:
    """One service whose server holds a slice and has nothing to do; a job that has ended; a free slice."""
    status = {
        "conditions": [condition("Ready", "AllModelsReady")],
        "readyReplicas": 1,
        "assignment": {"replicas": 1},
        "models": [{"name": "m", "state": "Ready"}],
    }
    objective = {"latency": {"targetMilliseconds": 50}}
    service = builders.make_service("vision", TEAM, status=status, objective=objective)
    done = builders.make_job("done", TEAM, status={"conditions": [condition("Succeeded", "Completed")]})
    pod = builders.make_service_pod("vision-1", namespace=TEAM, node=NODE, phase="Running")
    node = builders.make_node(NODE, {GPU: 0, "nvidia.com/mig-3g.40gb": 1, "nvidia.com/mig-1g.10gb": 1})
    taken = builders.make_snapshot(
        [node], [pod], pools=[builders.make_pool(status={"conditions": [condition("Ready", "NodesReady")]})],
        services=[service], jobs=[done],
    )  # fmt: skip
    return Fleet(taken, {(TEAM, "vision-1"): usage.Use(0.0, 900.0)})


def tell_operator(fleet: Fleet) -> str:
    """Of objects and devices, with the labels of the scrape."""
    return _label(exposition.generate_latest(objects.Objects(fleet.taken, 100)).decode(), OPERATOR)


def tell_devices(fleet: Fleet) -> str:
    """One board that is cut into PROFILES; the first slices belong to the pods of `uses`, in their order."""
    return tell_board(fleet.uses, PROFILES)


def tell_board(uses: Mapping[tuple[str, str], usage.Use], profiles: Sequence[str]) -> str:
    stock = devices.stock_of(tuple(profiles))
    instances = stock.gpus[0].instances
    containers = [(*pod, "main") for pod in uses]
    holders = [
        podresources.Holder(*container, (instance.uuid,))
        for container, instance in zip(containers, instances, strict=False)
    ]
    exporter = dcgm.Exporter(NODE, devices.FakeClock())
    used = dict(zip(containers, uses.values(), strict=True))
    exporter.observe(telemetry.read_devices(stock.gpus, holders, used, 1.0), {})
    registry = CollectorRegistry()
    registry.register(exporter)
    return _label(exposition.generate_latest(registry).decode(), EXPORTER)


def _label(text: str, scrape: Mapping[str, str]) -> str:
    """With the labels that a scrape adds; those of the same name become `exported_…`, as in Prometheus."""
    lines = []
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            own = {f"exported_{name}" if name in scrape else name: v for name, v in sample.labels.items()}
            labels = ",".join(f'{name}="{value}"' for name, value in {**own, **scrape}.items())
            lines.append(f"{sample.name}{{{labels}}} {sample.value!r}\n")
    return "".join(lines)


def constant(text: str, minutes: int) -> dict[str, str]:
    """Every sample as a series of promtool that stays as it is."""
    pairs = (line.rpartition(" ") for line in text.splitlines())
    return {series: f"{value}x{minutes}" for series, _, value in pairs}
