"""The operator's own Prometheus metrics; labels are kinds, verbs and reasons, never names of objects.

What is told of single objects is in `objects`.
"""

from __future__ import annotations

import prometheus_client

import gpufleet

RECONCILES = prometheus_client.Counter(
    "gpufleet_reconciles_total", "Reconciled objects by outcome.", ["kind", "result"]
)
RECONCILE_SECONDS = prometheus_client.Histogram(
    "gpufleet_reconcile_duration_seconds", "Time to reconcile one object.", ["kind"]
)
CYCLE_SECONDS = prometheus_client.Histogram(
    "gpufleet_cycle_duration_seconds", "Time of one pass over the whole fleet."
)
QUEUE_DEPTH = prometheus_client.Gauge("gpufleet_queue_depth", "Objects that wait to be reconciled.")
API_WRITES = prometheus_client.Counter(
    "gpufleet_api_writes_total", "Writes sent to the API server.", ["verb", "kind"]
)
API_REQUESTS = prometheus_client.Counter(
    "gpufleet_api_requests_total",
    "Requests to the API server by the answer's HTTP status, 0 where none came; kopf's own are not counted.",
    ["method", "kind", "code"],
)
DECISIONS = prometheus_client.Counter(
    "gpufleet_decisions_total", "Decisions that became Events, by reason.", ["kind", "reason"]
)
AUTOSCALER_DECISIONS = prometheus_client.Counter(
    "gpufleet_autoscaler_decisions_total", "Decisions about the number of servers, by reason.", ["reason"]
)
AUTOSCALER_SERVICES = prometheus_client.Gauge(
    "gpufleet_autoscaler_services", "Services that are scaled, by the class of their load.", ["mode", "type"]
)
AUTOSCALER_HELD = prometheus_client.Gauge(
    "gpufleet_autoscaler_held_services", "Services whose number something moved or held.", ["reason"]
)
AUTOSCALER_SERVERS = prometheus_client.Gauge(
    "gpufleet_autoscaler_servers", "Servers that scaled services have.", ["mode"]
)
AUTOSCALER_WANTED = prometheus_client.Gauge(
    "gpufleet_autoscaler_wanted_servers", "Servers that signals ask for, before any clamp.", ["mode"]
)
AUTOSCALER_GRANTED = prometheus_client.Gauge(
    "gpufleet_autoscaler_granted_servers", "Servers that all clamps have left of them.", ["mode"]
)
DISRUPTION_GPUS = prometheus_client.Gauge(
    "gpufleet_disruption_gpus", "GPUs given up within the last hour, by the act that took them.", ["act"]
)
DISRUPTION_LIMIT = prometheus_client.Gauge(
    "gpufleet_disruption_limit_gpus", "GPUs that may be given up within an hour; 0 where that is not limited."
)
MIG_ROUND_SECONDS = prometheus_client.Histogram(
    "gpufleet_mig_round_duration_seconds", "Time of one look at the MIG layouts of the whole fleet."
)
MIG_SLICES = prometheus_client.Gauge(
    "gpufleet_mig_slices", "MIG slices of managed pools, used or free.", ["profile", "use"]
)
MIG_NODES = prometheus_client.Gauge(
    "gpufleet_mig_nodes",
    "Nodes of managed pools, by where they are in a change and why.",
    ["phase", "reason"],
)
MIG_STEPS = prometheus_client.Counter(
    "gpufleet_mig_steps_total",
    "Steps of repartitions, by kind and by what became of them.",
    ["kind", "result"],
)
MIG_EVICTIONS = prometheus_client.Counter(
    "gpufleet_mig_evictions_total", "Pods asked to go for a repartition.", ["result"]
)
PROMETHEUS_UP = prometheus_client.Gauge(
    "gpufleet_prometheus_up", "1 where the last round of queries was answered, else 0."
)
LOOP_LAG = prometheus_client.Histogram(
    "gpufleet_event_loop_lag_seconds",
    "How late the event loop runs what is due.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
LEADER = prometheus_client.Gauge("gpufleet_leader", "1 in the process that holds the lease, else 0.")
WATCH_AGE = prometheus_client.Gauge(
    "gpufleet_watch_age_seconds", "Time since a watch was last heard of, bookmarks included.", ["kind"]
)
_BUILD = prometheus_client.Gauge("gpufleet_build_info", "1, labelled with the version.", ["version"])
_BUILD.labels(gpufleet.__version__).set(1)
