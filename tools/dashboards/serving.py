"""Services one by one: what they answer, how fast, with how many servers and why."""

from __future__ import annotations

from tools.dashboards.board import Board, Choice, Panel, Query, Row, one

CHOSEN = 'namespace=~"$namespace",tritonservice=~"$service"'
NAMED = "{{namespace}}/{{tritonservice}}"


def busiest(record: str, more: str = "") -> str:
    """The twenty largest of the chosen services."""
    return f"topk(20, {record}{{{CHOSEN}{more}}})"


UTILISATION = Row(
    "Utilisation and memory",
    (
        Panel(
            "GPU activity",
            "Mean over the devices that its servers hold.",
            "percentunit",
            one(busiest("service:gpu_active:avg"), NAMED),
            top=1,
        ),
        Panel(
            "GPU memory in use",
            "Framebuffer of those devices.",
            "percentunit",
            one(busiest("service:gpu_memory_used:ratio"), NAMED),
            top=1,
        ),
        Panel(
            "Mean batch",
            "Inferences by executions. Far below the batch size: batch before you add servers.",
            "short",
            one(busiest("service:triton_batch_size:mean5m"), NAMED),
        ),
    ),
)
THROUGHPUT = Row(
    "Throughput",
    (
        Panel(
            "Requests",
            "Requests that succeeded.",
            "reqps",
            one(busiest("service:triton_requests:rate5m"), NAMED),
        ),
        Panel(
            "Failures",
            "Requests without an answer, refused ones too; the board Fleet has the reasons.",
            "reqps",
            one(busiest("service:triton_all_failures:rate5m"), NAMED),
        ),
        Panel(
            "Waiting requests",
            "Requests in Triton's queues.",
            "short",
            one(busiest("service:triton_pending_requests:sum"), NAMED),
        ),
    ),
)
LATENCY = Row(
    "Latency",
    (
        Panel(
            "99th percentile and objective",
            "Of the slowest pod and model, beside what spec.objective promises.",
            "s",
            (
                Query(busiest("service:triton_latency_seconds:max", ',quantile="0.99"'), NAMED),
                Query(busiest("service:gpufleet_objective_seconds:max"), f"{NAMED} objective"),
            ),
        ),
        Panel(
            "Mean latency",
            "Queue and execution; sums are divided, not means averaged.",
            "s",
            one(busiest("service:triton_duration_seconds:mean5m"), NAMED),
        ),
        Panel(
            "Mean wait in the queue",
            "Time in the queue by requests that succeeded.",
            "s",
            one(busiest("service:triton_queue_seconds:mean5m"), NAMED),
        ),
    ),
)
SERVERS = Row(
    "Servers, and why so many",
    (
        Panel(
            "Decided and ready",
            "Servers that the fleet cycle gave, and those whose models are all ready.",
            "short",
            (
                Query(f"sum(service:gpufleet_replicas_desired:max{{{CHOSEN}}})", "decided"),
                Query(f"sum(service:gpufleet_replicas_ready:max{{{CHOSEN}}})", "ready"),
            ),
        ),
        Panel(
            "Decided, by service",
            "The twenty largest.",
            "short",
            one(busiest("service:gpufleet_replicas_desired:max"), NAMED),
        ),
        Panel(
            "Models that are not ready",
            "Models of a service that no pod answers for.",
            "short",
            one(busiest("service:gpufleet_models_lacking:max"), NAMED),
        ),
        Panel(
            "What signals ask for, and what is left of it",
            "All scaled services: before any clamp, and after all of them.",
            "short",
            (
                Query("max by (mode) (gpufleet_autoscaler_wanted_servers)", "{{mode}} asked for"),
                Query("max by (mode) (gpufleet_autoscaler_granted_servers)", "{{mode}} granted"),
            ),
            width=7,
        ),
        Panel(
            "Held back, by reason",
            "Scaled services that something moved or held in the last pass: docs/runbooks/autoscaling.",
            "short",
            one("max by (reason) (gpufleet_autoscaler_held_services)", "{{reason}}"),
            width=7,
        ),
        Panel(
            "How services are",
            "By the reason that their status gives.",
            "short",
            one(
                'sum by (state, reason) (fleet:gpufleet_objects:count_reason{kind="TritonService"})',
                "{{state}}: {{reason}}",
            ),
            kind="bars",
            width=10,
        ),
        Panel(
            "Decisions of the last hour, by reason",
            "Decisions about services that became Events.",
            "short",
            one(
                'sum by (reason) (increase(gpufleet_decisions_total{kind="TritonService"}[1h]))',
                "{{reason}}",
            ),
            kind="bars",
            width=24,
        ),
    ),
)

BOARD = Board(
    "serving",
    "gpufleet / Serving",
    "TritonServices: utilisation, throughput, latency, servers and the reasons for their number.",
    (UTILISATION, THROUGHPUT, LATENCY, SERVERS),
    (
        Choice("namespace", "service:gpufleet_replicas_desired:max", "namespace"),
        Choice("service", 'service:gpufleet_replicas_desired:max{namespace=~"$namespace"}', "tritonservice"),
    ),
)
