"""The first look: the four rows that everybody expects, then devices, power and cost."""

from __future__ import annotations

from tools.dashboards.board import Board, Panel, Query, Row, Text, by_profile, one

WHOLE, SLICES = 'resource!~".*mig-.*"', 'resource=~".*mig-.*"'

UTILISATION = Row(
    "Utilisation",
    (
        Panel(
            "GPUs are active",
            "Share of time in which the graphics engine works, over all GPUs and MIG instances.",
            "percentunit",
            one("fleet:gpu_active:avg", "fleet"),
            kind="number",
            width=4,
            top=1,
        ),
        Panel(
            "By model of GPU",
            "GR_ENGINE_ACTIVE of DCGM, which exists on MIG too; the mean over devices.",
            "percentunit",
            one("model:gpu_active:avg", "{{modelName}}"),
            width=10,
            top=1,
        ),
        Panel(
            "By namespace",
            "The ten busiest namespaces; devices that their services and jobs hold.",
            "percentunit",
            one("topk(10, namespace:gpu_active:avg)", "{{namespace}}"),
            width=10,
            top=1,
        ),
    ),
)
MEMORY = Row(
    "Memory",
    (
        Panel(
            "Memory in use",
            "Framebuffer of all GPUs and MIG instances.",
            "percentunit",
            one("fleet:gpu_memory_used:ratio", "fleet"),
            kind="number",
            width=4,
            top=1,
        ),
        Panel(
            "By model of GPU",
            "Used framebuffer as a share of used and free.",
            "percentunit",
            one("model:gpu_memory_used:ratio", "{{modelName}}"),
            width=10,
            top=1,
        ),
        Panel(
            "By service",
            "The ten services whose devices are fullest.",
            "percentunit",
            one("topk(10, service:gpu_memory_used:ratio)", "{{namespace}}/{{tritonservice}}"),
            width=10,
            top=1,
        ),
    ),
)
THROUGHPUT = Row(
    "Throughput",
    (
        Panel(
            "Requests and inferences",
            "Requests that succeeded, and their inferences. An ensemble counts, and each of its models too.",
            "reqps",
            (
                Query("fleet:triton_requests:rate5m", "requests"),
                Query("fleet:triton_inferences:rate5m", "inferences"),
            ),
        ),
        Panel(
            "By service",
            "The ten services with most requests.",
            "reqps",
            one("topk(10, service:triton_requests:rate5m)", "{{namespace}}/{{tritonservice}}"),
        ),
        Panel(
            "Failures",
            "Requests without an answer, by Triton's reason; REJECTED is a full queue.",
            "reqps",
            one("fleet:triton_failures:rate5m", "{{reason}}"),
            kind="stack",
        ),
    ),
)
LATENCY = Row(
    "Latency",
    (
        Panel(
            "Mean latency",
            "Time of all requests by their number, summed over pods first. Queue is part of the whole.",
            "s",
            (
                Query("fleet:triton_duration_seconds:mean5m", "whole"),
                Query("fleet:triton_queue_seconds:mean5m", "in the queue"),
            ),
        ),
        Panel(
            "99th percentile by service",
            "Of its slowest pod and model; the ten slowest services.",
            "s",
            one(
                'topk(10, service:triton_latency_seconds:max{quantile="0.99"})',
                "{{namespace}}/{{tritonservice}}",
            ),
        ),
        Panel(
            "Wait in the queue by service",
            "Mean time in Triton's queue; the ten longest.",
            "s",
            one("topk(10, service:triton_queue_seconds:mean5m)", "{{namespace}}/{{tritonservice}}"),
        ),
    ),
)
DEVICES = Row(
    "Devices",
    (
        Panel(
            "Whole GPUs by state",
            "Extended resources that are no MIG slices: held by pods, free, or on nodes that take no pod.",
            "short",
            one(f"sum by (state) (fleet:gpufleet_devices:sum{{{WHOLE}}})", "{{state}}"),
            kind="stack",
        ),
        Panel(
            "MIG slices by profile and state",
            "As the nodes offer them now.",
            "short",
            one(by_profile(f"fleet:gpufleet_devices:sum{{{SLICES}}}"), "{{profile}} {{state}}"),
            kind="stack",
        ),
        Panel(
            "By pool",
            "Devices and slices of each pool by state.",
            "short",
            one("sum by (pool, state) (pool:gpufleet_devices:sum)", "{{pool}} {{state}}"),
            kind="bars",
        ),
    ),
)
POWER = Row(
    "Power, energy and cost",
    (
        Panel(
            "Power",
            "What the boards draw; one that is cut into slices counts once.",
            "watt",
            one("model:gpu_power_watts:sum", "{{modelName}}"),
            kind="stack",
        ),
        Panel(
            "Energy of the last hour",
            "From the boards' own counters.",
            "kwatth",
            one("fleet:gpu_energy_joules:increase1h / 3.6e6", "fleet"),
            kind="number",
        ),
        Panel(
            "Cost of an hour",
            "Boards × the price typed in above; idle is the share in which their engines did nothing.",
            "currencyUSD",
            (
                Query("fleet:gpu_boards:count * $price", "all boards"),
                Query("fleet:gpu_boards:count * $price * (1 - fleet:gpu_active:avg)", "idle"),
            ),
        ),
    ),
)

BOARD = Board(
    "fleet",
    "gpufleet / Fleet",
    "All GPUs and what they do: utilisation, memory, throughput, latency, devices, power, cost.",
    (UTILISATION, MEMORY, THROUGHPUT, LATENCY, DEVICES, POWER),
    (Text("price", "Price of a GPU hour", "2.5"),),
)
