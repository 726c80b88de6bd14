"""Gangs: who waits and why, who runs, what it costs."""

from __future__ import annotations

from tools.dashboards.board import Board, Choice, Panel, Query, Row, one

CHOSEN = 'namespace=~"$namespace"'
NAMED = "{{namespace}}/{{trainingjob}}"


def largest(record: str) -> str:
    """The twenty largest of the chosen namespaces."""
    return f"topk(20, {record}{{{CHOSEN}}})"


UTILISATION = Row(
    "Utilisation and memory",
    (
        Panel(
            "GPU activity",
            "Mean over the devices that a gang holds.",
            "percentunit",
            one(largest("job:gpu_active:avg"), NAMED),
            top=1,
        ),
        Panel(
            "GPU memory in use",
            "Framebuffer of those devices.",
            "percentunit",
            one(largest("job:gpu_memory_used:ratio"), NAMED),
            top=1,
        ),
        Panel(
            "Workers that wait for input",
            "GPUs less than 20 % active while CPU or disk is busy: docs/runbooks/alerts/InputBound.md.",
            "short",
            one(f"sum(job:input_bound_workers:count{{{CHOSEN}}}) or vector(0)", "input-bound workers"),
        ),
    ),
)
QUEUE = Row(
    "Queue",
    (
        Panel(
            "Jobs by state",
            "All TrainingJobs, those that have ended too.",
            "short",
            one('fleet:gpufleet_objects:max{kind="TrainingJob"}', "{{state}}"),
            kind="stack",
            width=7,
        ),
        Panel(
            "Why jobs are as they are",
            "Jobs that have not ended, by state and reason.",
            "short",
            one(
                'sum by (state, reason) (fleet:gpufleet_objects:count_reason{kind="TrainingJob"})',
                "{{state}}: {{reason}}",
            ),
            kind="bars",
            width=10,
        ),
        Panel(
            "Time in the queue",
            "Of gangs that may not run yet: since they were made, or since their last attempt ended.",
            "s",
            one(largest("job:gpufleet_wait_seconds:max"), NAMED),
            width=7,
        ),
    ),
)
GANGS = Row(
    "Gangs",
    (
        Panel(
            "Workers",
            "At most, admitted and running, over all gangs that have not ended.",
            "short",
            (
                Query(f"sum(job:gpufleet_workers_desired:max{{{CHOSEN}}})", "at most"),
                Query(f"sum(job:gpufleet_workers_assigned:max{{{CHOSEN}}})", "admitted"),
                Query(f"sum(job:gpufleet_workers_active:max{{{CHOSEN}}})", "running"),
            ),
        ),
        Panel(
            "Age of the newest checkpoint",
            "What would be lost if the gang were stopped now.",
            "s",
            one(largest("job:gpufleet_checkpoint_age_seconds:min"), NAMED),
        ),
        Panel(
            "Failed attempts",
            "Over the life of each job; the twenty with most.",
            "short",
            one(largest("job:gpufleet_failures:max"), NAMED),
        ),
    ),
)
COST = Row(
    "Accelerators",
    (
        Panel(
            "Held by namespace",
            "Devices or slices that running workers hold.",
            "short",
            one(f"namespace:gpufleet_accelerators:sum{{{CHOSEN}}}", "{{namespace}}"),
            kind="stack",
            width=12,
        ),
        Panel(
            "Accelerator-hours of the last day",
            "Held devices or slices, summed over 24 hours.",
            "short",
            one(
                f"sum_over_time(namespace:gpufleet_accelerators:sum{{{CHOSEN}}}[1d:1m]) / 60", "{{namespace}}"
            ),
            kind="bars",
            width=12,
        ),
    ),
)

BOARD = Board(
    "training",
    "gpufleet / Training",
    "TrainingJobs: queue with reasons, gangs, checkpoints, failures, accelerator-hours.",
    (UTILISATION, QUEUE, GANGS, COST),
    (Choice("namespace", "job:gpufleet_workers_desired:max", "namespace"),),
)
