"""A small fleet at work, as pages for an exporter: Triton as a real server told it, the rest by our own code.

`recorded/` has what Triton 2.51 told twice, 30 s apart, with 16 clients and a burst of 40 now and then.
"""

from __future__ import annotations

import datetime
import functools
import math
import pathlib
import time
from collections.abc import Callable, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, exposition, parser

from gpufleet.report import metrics, objects
from gpufleet.simgpu import dcgm, podresources, telemetry, usage
from gpufleet.state import snapshot
from tests import builders
from tests.builders import GPU, H100
from tests.integration.prometheus import servers
from tests.integration.prometheus.recording import condition
from tests.unit.gpufleet.simgpu import builders as devices

RECORDED = pathlib.Path(__file__).parent / "recorded"
RECORDED_S = 30.0
GAUGES = (
    "nv_inference_pending_request_count",
    "nv_pinned_memory_pool_total_bytes",
    "nv_pinned_memory_pool_used_bytes",
    "nv_cpu_utilization",
    "nv_cpu_memory_total_bytes",
    "nv_cpu_memory_used_bytes",
)
"""What Triton tells that does not grow; percentiles do not either."""
WAVE_S = 60.0
SERVING, TRAINING = "team-a", "team-b"
HOLDERS: Mapping[str, tuple[str, str, int, int]] = {
    "vision-1": (SERVING, "node-a", 0, 0),
    "vision-2": (SERVING, "node-a", 0, 1),
    "search-1": (SERVING, "node-a", 1, 0),
    "llm-1-0": (TRAINING, "node-b", 0, -1),
    "llm-1-1": (TRAINING, "node-b", 1, -1),
}
"""By pod: namespace, node, GPU, and instance of the GPU, -1 for the whole."""
LAYOUTS: Mapping[str, tuple[tuple[str, ...] | None, ...]] = {
    "node-a": (("3g.40gb", "2g.20gb", "1g.10gb"), ("1g.10gb",) * 4),
    "node-b": (None, None),
}
SERVICE_PODS = tuple(pod for pod, held in HOLDERS.items() if held[0] == SERVING)


def wave(elapsed_s: float, shift: float = 0.0) -> float:
    """A load between 0.4 and 1."""
    return 0.7 + 0.3 * math.sin(2 * math.pi * (elapsed_s / WAVE_S + shift))


def build_snapshot(elapsed_s: float) -> snapshot.Snapshot:
    """Two services, of which one lacks a server; gangs that run, wait and are stuck; a node that is lost."""
    slices = {"nvidia.com/mig-3g.40gb": 1, "nvidia.com/mig-2g.20gb": 1, "nvidia.com/mig-1g.10gb": 5}
    nodes = [
        builders.make_node("node-a", slices, product=H100, pool="h100"),
        builders.make_node("node-b", {GPU: 4}, product=H100, pool="h100"),
        builders.make_node("node-c", {GPU: 2}, product=H100, pool="h100", ready=False),
    ]
    asked = ["nvidia.com/mig-3g.40gb", "nvidia.com/mig-2g.20gb", "nvidia.com/mig-1g.10gb", GPU, GPU]
    pods = []
    for (name, (namespace, node, _, _)), resource in zip(HOLDERS.items(), asked, strict=True):
        build = builders.make_service_pod if namespace == SERVING else builders.make_worker
        owner = name.split("-")[0]
        fields = {"namespace": namespace, "node": node, "phase": "Running", "requests": {resource: 1}}
        pods.append(build(name, owner, **fields))
    return builders.make_snapshot(
        nodes,
        pods,
        pools=[builders.make_pool("h100", nodeSelector={"gpufleet.dev/pool": "h100"})],
        services=[build_service("vision", 2, 2), build_service("search", 2, 1)],
        jobs=list(build_jobs(elapsed_s)),
    )


def build_service(name: str, desired: int, ready: int) -> objects.Watched:
    is_whole = desired == ready
    said = ("AllModelsReady", "True") if is_whole else ("PodsUnschedulable", "False")
    status = {
        "conditions": [condition("Ready", *said)],
        "readyReplicas": ready,
        "assignment": {"replicas": desired},
        "models": [{"name": "m", "state": "Ready"}],
    }
    return builders.make_service(
        name, SERVING, status=status, objective={"latency": {"targetMilliseconds": 400}}
    )


def build_jobs(elapsed_s: float) -> tuple[objects.Watched, ...]:
    # Counted from now, as the age of a checkpoint is.
    now_s = time.time()
    written = datetime.datetime.fromtimestamp(now_s - 300 - elapsed_s % 120, datetime.UTC)
    since_noon_s = now_s - builders.NOW.timestamp()
    running = {
        "conditions": [condition("Succeeded", "Running", "Unknown")],
        "activeWorkers": 2,
        "attempt": 2,
        "assignment": {"workers": 2, "accelerator": {"resource": GPU, "count": 1}},
        "failures": {"infrastructure": 1},
        "progress": {"step": 9, "checkpointTime": written, "reportedAt": written},
    }
    waiting = {"conditions": [condition("Succeeded", "InsufficientCapacity", "Unknown")]}
    stuck = {"conditions": [condition("Stalled", "WorldSizeMismatch")]}
    return (
        builders.make_job("llm", TRAINING, status=running),
        builders.make_job("big", TRAINING, status=waiting, created_s=since_noon_s - 900),
        builders.make_job("odd", TRAINING, status=stuck),
    )


def build_operator() -> servers.Page:
    """The metrics of this very process, moved as a leader moves them."""
    seen = [0.0]

    def page(elapsed_s: float) -> str:
        _work(elapsed_s - seen[0], elapsed_s)
        seen[0] = elapsed_s
        told = exposition.generate_latest(objects.Objects(build_snapshot(elapsed_s), 100))
        return (exposition.generate_latest(REGISTRY) + told).decode()

    return page


def _work(passed_s: float, elapsed_s: float) -> None:
    metrics.LEADER.set(1)
    metrics.PROMETHEUS_UP.set(1)
    metrics.QUEUE_DEPTH.set(round(4 * wave(elapsed_s)))
    for kind in ("Pod", "Node", "Deployment"):
        metrics.WATCH_AGE.labels(kind).set(elapsed_s % 55)
    for mode, servers_ in (("Active", 3), ("Advisory", 1)):
        metrics.AUTOSCALER_SERVERS.labels(mode).set(servers_)
        metrics.AUTOSCALER_WANTED.labels(mode).set(servers_ + round(3 * wave(elapsed_s)))
        metrics.AUTOSCALER_GRANTED.labels(mode).set(servers_ + 1)
    metrics.AUTOSCALER_SERVICES.labels("Active", "Ok").set(2)
    metrics.AUTOSCALER_HELD.labels("NoRoom").set(1)
    metrics.AUTOSCALER_HELD.labels("PodsStarting").set(round(wave(elapsed_s)))
    metrics.CYCLE_SECONDS.observe(0.05 * wave(elapsed_s))
    metrics.LOOP_LAG.observe(0.004 * wave(elapsed_s))
    for kind, many in (("TritonService", 4), ("TrainingJob", 2), ("GPUPool", 1)):
        metrics.RECONCILES.labels(kind, "ok").inc(many * passed_s)
        metrics.RECONCILE_SECONDS.labels(kind).observe(0.01 * many * wave(elapsed_s))
        metrics.API_REQUESTS.labels("PATCH", f"{kind.lower()}s", "200").inc(many * passed_s * wave(elapsed_s))
        metrics.API_WRITES.labels("apply", f"{kind.lower()}s").inc(many * passed_s)
    metrics.RECONCILES.labels("TritonService", "error").inc(0.1 * passed_s)
    metrics.API_REQUESTS.labels("PATCH", "deployments", "409").inc(0.2 * passed_s)
    for reason in ("ScaledUp", "ScaledDown", "RolloutComplete"):
        metrics.DECISIONS.labels("TritonService", reason).inc(0.1 * passed_s)


def build_devices() -> servers.Page:
    """Both nodes of the fleet by the exporter of the simulated GPUs; its time runs ten times as fast."""
    clock = devices.FakeClock()
    stocks = {node: devices.stock_of(*layout) for node, layout in LAYOUTS.items()}
    exporters = {node: dcgm.Exporter(node, clock) for node in stocks}
    registry = CollectorRegistry()
    for one in exporters.values():
        registry.register(one)

    def page(elapsed_s: float) -> str:
        clock.at_s = 10 * elapsed_s
        for node, stock in stocks.items():
            holders, uses = [], {}
            for number, (pod, (namespace, where, gpu, instance)) in enumerate(HOLDERS.items()):
                if where != node:
                    continue
                device = stock.gpus[gpu]
                uuid = device.uuid if instance < 0 else device.instances[instance].uuid
                holders.append(podresources.Holder(namespace, pod, "main", (uuid,)))
                cores = 0.15 if pod == "llm-1-1" else 0.9 * wave(elapsed_s, number / 5)
                uses[namespace, pod, "main"] = usage.Use(cores, 6000 + 1500 * number)
            exporters[node].observe(telemetry.read_devices(stock.gpus, holders, uses, 1.0), {})
        return exposition.generate_latest(registry).decode()

    return page


@functools.cache
def read_recorded() -> tuple[tuple[str, float, float], ...]:
    """Every series of Triton with its first and second value; one that does not grow has the same twice."""
    first, second = (
        {
            (sample.name, tuple(sample.labels.items())): sample.value
            for family in parser.text_string_to_metric_families((RECORDED / f"triton-{n}.txt").read_text())
            for sample in family.samples
        }
        for n in (1, 2)
    )
    found = []
    for (name, labels), later in second.items():
        named = ",".join(f'{key}="{value}"' for key, value in labels)
        is_gauge = name in GAUGES or any(key == "quantile" for key, _ in labels)
        before = later if is_gauge else first[name, labels]
        found.append((f"{name.removesuffix('_total')}{{{named}}}", before, later))
    return tuple(found)


def build_triton(scale: float, shift: float) -> servers.Page:
    """The recorded server at a share of its load, which comes and goes."""
    worked = [0.0, 0.0]

    def page(elapsed_s: float) -> str:
        worked[0] += scale * wave(elapsed_s, shift) * (elapsed_s - worked[1]) / RECORDED_S
        worked[1] = elapsed_s
        slower = wave(elapsed_s, shift)
        return "".join(
            f"{series} {value}\n"
            for series, before, later in read_recorded()
            for value in [later * slower if "quantile" in series else before + (later - before) * worked[0]]
        )

    return page


def build_node(node: str, cpu_busy: float) -> servers.Page:
    """What node_exporter tells of a node with four CPUs, under the names that it uses."""

    def page(elapsed_s: float) -> str:
        told = "".join(
            f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}} {share * elapsed_s}\n'
            for cpu in range(4)
            for mode, share in (("idle", 1 - cpu_busy), ("user", cpu_busy))
        )
        told += f'node_disk_io_time_seconds_total{{device="nvme0n1"}} {0.3 * elapsed_s}\n'
        return told + f'node_uname_info{{nodename="{node}"}} 1\n'

    return page


def build_pages() -> dict[str, tuple[servers.Page, dict[str, str]]]:
    """By name: what a target tells, and the labels that its scrape adds."""
    operator = {"namespace": "gpufleet-system", "pod": "gpufleet-0"}
    exporter = {"namespace": "gpu-operator", "pod": "dcgm-1"}
    pages: dict[str, tuple[Callable[[float], str], dict[str, str]]] = {
        "operator": (build_operator(), operator),
        "dcgm": (build_devices(), exporter),
    }
    for number, (node, busy) in enumerate((("node-a", 0.2), ("node-b", 0.95))):
        address = f"10.0.0.{number}:9100"
        pages[node] = (build_node(node, busy), {"instance": address})
    for number, pod in enumerate(SERVICE_PODS):
        labels = {"namespace": SERVING, "pod": pod}
        pages[pod] = (build_triton(1 - 0.3 * number, number / 3), labels)
    return pages
