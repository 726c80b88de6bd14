"""The operator itself."""

from __future__ import annotations

from tools.dashboards.board import Board, Panel, Query, Row, one

OURS = "and on (namespace, pod) gpufleet_build_info"

LOOPS = Row(
    "Loops",
    (
        Panel(
            "Leader",
            "1 in the process that works.",
            "short",
            one("gpufleet_leader", "{{pod}}"),
            kind="number",
            width=4,
        ),
        Panel(
            "Passes over objects",
            "Reconciled objects by kind and outcome.",
            "ops",
            one("sum by (kind, result) (rate(gpufleet_reconciles_total[5m]))", "{{kind}} {{result}}"),
            width=10,
        ),
        Panel(
            "Objects that wait",
            "Length of the work queue.",
            "short",
            one("max(gpufleet_queue_depth)", "waiting"),
            width=10,
        ),
        Panel(
            "Time of a pass over an object",
            "99th percentile.",
            "s",
            one("gpufleet:reconcile_seconds:p99", "{{kind}}"),
        ),
        Panel(
            "Time of a pass over the fleet",
            "99th percentile; admission and scaling are late by as much.",
            "s",
            one("gpufleet:cycle_seconds:p99", "cycle"),
        ),
        Panel(
            "Lateness of the event loop",
            "99th percentile of how late the loop runs what is due.",
            "s",
            one("gpufleet:event_loop_lag_seconds:p99", "lag"),
        ),
    ),
)
API = Row(
    "API server",
    (
        Panel(
            "Answers by code",
            "HTTP status of the operator's requests; 0: no answer came.",
            "reqps",
            one("sum by (code) (gpufleet:api_requests:rate5m)", "{{code}}"),
            kind="stack",
        ),
        Panel(
            "Writes",
            "By verb and kind.",
            "wps",
            one("sum by (verb, kind) (rate(gpufleet_api_writes_total[5m]))", "{{verb}} {{kind}}"),
        ),
        Panel(
            "Silence of watches",
            "Since a watch was last heard of; bookmarks come about once a minute.",
            "s",
            one("max by (kind) (gpufleet_watch_age_seconds)", "{{kind}}"),
        ),
    ),
)
DECISIONS = Row(
    "Decisions and objects",
    (
        Panel(
            "Decisions by reason",
            "Decisions that became Events, by kind and reason.",
            "ops",
            one("sum by (kind, reason) (rate(gpufleet_decisions_total[5m]))", "{{kind}} {{reason}}"),
        ),
        Panel(
            "Objects by state",
            "All objects of gpufleet's kinds; a state that none has is left out.",
            "short",
            one("fleet:gpufleet_objects:max > 0", "{{kind}} {{state}}"),
            kind="bars",
        ),
        Panel(
            "Objects that cannot go on",
            "By reason; only a change by a person helps.",
            "short",
            one(
                'sum by (kind, reason) (fleet:gpufleet_objects:count_reason{state="Stalled"})'
                ' or on () label_replace(vector(0), "reason", "none", "", "")',
                "{{kind}} {{reason}}",
            ),
        ),
    ),
)
PROCESS = Row(
    "Process",
    (
        Panel(
            "Memory",
            "Resident memory of each replica.",
            "bytes",
            one(f"process_resident_memory_bytes {OURS}", "{{pod}}"),
        ),
        Panel(
            "CPU",
            "Cores that each replica uses.",
            "short",
            one(f"rate(process_cpu_seconds_total[5m]) {OURS}", "{{pod}}"),
        ),
        Panel(
            "Prometheus answers",
            "1 where the last round of the operator's own queries was answered.",
            "short",
            (Query("max(gpufleet_prometheus_up)", "answers"),),
            top=1,
        ),
    ),
)

BOARD = Board(
    "operator",
    "gpufleet / Operator",
    "The operator's own health: loops, requests, watches, decisions, process.",
    (LOOPS, API, DECISIONS, PROCESS),
)
