"""How a model is laid out over a gang: data × tensor × pipeline × context = workers × devices of each.

The rule is Megatron-LM's (megatron/core/parallel_state.py); experts keep the tensor split and divide
data × context.
"""

from __future__ import annotations

from typing import Any

from gpufleet.api import training_gang, training_job


def find_mismatch(job: training_job.TrainingJob, workers: int, per_worker: int) -> str | None:
    """What is wrong with a gang of this size, and what would help; None where the layout fits it."""
    wanted = job.spec.parallelism
    if wanted is None:
        return None
    world, split = workers * per_worker, _split(wanted)
    size = f"{workers} workers × {per_worker} devices = {world} processes"
    ways = f"tensor {wanted.tensor} × pipeline {wanted.pipeline} × context {wanted.context}"
    fix = "change parallelism, workers or accelerator.count in a new job"
    if world % split:
        return f"{size} cannot be split by {ways} = {split}: {fix}"
    if wanted.data is not None and wanted.data * split != world:
        return f"{size}, but data {wanted.data} × {ways} = {wanted.data * split}: {fix}, or leave data out"
    sharing = world // (wanted.tensor * wanted.pipeline)
    if sharing % wanted.expert:
        return f"expert {wanted.expert} does not divide data × context = {sharing} of {size}: {fix}"
    return None


def count_workers(job: training_job.TrainingJob, given: int, per_worker: int) -> int:
    """The largest gang of at most `given` workers that the layout fits, `given` where none does."""
    smallest = min(given, job.spec.workers.min or job.spec.workers.max)
    sizes = range(given, smallest - 1, -1)
    return next((size for size in sizes if find_mismatch(job, size, per_worker) is None), given)


def build_env(job: training_job.TrainingJob, workers: int, per_worker: int) -> list[dict[str, Any]]:
    """The layout for the program's command line, data worked out; nothing where none is wanted."""
    wanted = job.spec.parallelism
    if wanted is None:
        return []
    world = workers * per_worker
    ways = {
        "WORLD_SIZE": world,
        "DATA_PARALLEL": world // _split(wanted),
        "TENSOR_PARALLEL": wanted.tensor,
        "PIPELINE_PARALLEL": wanted.pipeline,
        "CONTEXT_PARALLEL": wanted.context,
        "EXPERT_PARALLEL": wanted.expert,
    }
    return [{"name": f"GPUFLEET_{name}", "value": str(value)} for name, value in ways.items()]


def _split(wanted: training_gang.Parallelism) -> int:
    return wanted.tensor * wanted.pipeline * wanted.context
