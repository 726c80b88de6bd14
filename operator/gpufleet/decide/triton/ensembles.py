"""An ensemble's own graph. Rules: Triton's model_config_utils.cc, ValidateEnsembleSchedulingConfig.

What its models must be like for it is `graph`'s part.
"""

from __future__ import annotations

from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import ensembles, model

PLATFORM = "ensemble"
_FORBIDDEN = (
    ("instance_groups", "instanceGroups"),
    ("optimization", "optimization"),
    ("warmups", "warmups"),
    ("backend", "backend"),
    ("batching", "batching"),
    ("sequence_batching", "sequenceBatching"),
    *((block, block) for block in model.BACKEND_BLOCKS),
)


def check(one: model.Model) -> Iterator[str]:
    """What Triton would refuse, a sentence each: field, value, fix."""
    if one.ensemble is None:
        return
    for attribute, field in _FORBIDDEN:
        if getattr(one, attribute):
            yield f"{field} is not for an ensemble, whose models have their own: leave it out"
    for field, found in (("inputs", one.inputs), ("outputs", one.outputs)):
        if not found:
            yield f"{field} of an ensemble cannot be found by a backend: list them"
    yield from _check_flow(one, one.ensemble)


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes the graph into `config`."""
    if one.ensemble is None:
        return
    config.platform = PLATFORM
    for step in one.ensemble.steps:
        added = config.ensemble_scheduling.step.add(
            model_name=step.model_name, model_version=step.model_version
        )
        added.input_map.update(step.input_map)
        added.output_map.update(step.output_map)


def _check_flow(one: model.Model, ensemble: ensembles.Ensemble) -> Iterator[str]:
    """Every tensor has one source, and every source a use."""
    sources = [tensor.name for tensor in one.inputs]
    sinks = {tensor.name for tensor in one.outputs}
    written = [tensor for step in ensemble.steps for tensor in step.output_map.values()]
    read = {tensor for step in ensemble.steps for tensor in step.input_map.values()}
    for tensor in sorted({tensor for tensor in written if written.count(tensor) > 1}):
        yield f"ensemble.steps write tensor {tensor} more than once: give each output its own name"
    for tensor in sorted(set(sources) & set(written)):
        yield f"ensemble.steps write tensor {tensor}, which is an input of the ensemble: rename one of them"
    for tensor in sorted(set(sources) - read):
        yield f"ensemble: input {tensor} is read by no step: map it, or remove it"
    for tensor in sorted(set(written) - read - sinks):
        yield f"ensemble: tensor {tensor} is read by no step and is no output: remove it from outputMap"
    for tensor in sorted(sinks - set(written)):
        yield f"ensemble: output {tensor} is written by no step: map it, or remove it"
    for tensor in sorted(read - set(written) - set(sources)):
        yield f"ensemble: tensor {tensor} is written by no step and is no input: map it to what a step writes"
    if stuck := _find_cycle(sources, ensemble):
        yield f"ensemble: steps of {', '.join(stuck)} wait for each other's outputs: remove the cycle"


def _find_cycle(sources: list[str], ensemble: ensembles.Ensemble) -> list[str]:
    """Models of steps that never run although each of their tensors has a source."""
    written = {tensor for step in ensemble.steps for tensor in step.output_map.values()}
    ready = set(sources) | {
        tensor for step in ensemble.steps for tensor in step.input_map.values() if tensor not in written
    }
    waiting = list(ensemble.steps)
    while runnable := [step for step in waiting if ready.issuperset(step.input_map.values())]:
        ready.update(tensor for step in runnable for tensor in step.output_map.values())
        waiting = [step for step in waiting if step not in runnable]
    return [step.model_name for step in waiting]
