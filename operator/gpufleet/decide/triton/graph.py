"""What the models of an ensemble must be like for it. Rules: Triton's ensemble_utils.cc.

Tensors that a model leaves to its backend are unknown here, and what is unknown is not judged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from gpufleet.api.triton import ensembles, model, tensors
from gpufleet.decide.triton.tensors import VARIABLE

LATEST = -1


def check(models: Sequence[model.Model]) -> Iterator[tuple[str, str]]:
    """(name of the ensemble, what Triton would refuse) over all ensembles of a service."""
    known = {one.name: one for one in models}
    for one in models:
        if one.ensemble is not None:
            for fault in _check_ensemble(one, one.ensemble, known):
                yield one.name, fault
    yield from _check_nesting(known)


def order(models: Sequence[model.Model]) -> list[model.Model]:
    """The models with every ensemble after the models that it is made of; otherwise by name."""
    known = {one.name: one for one in models}
    done: dict[str, model.Model] = {}

    def visit(one: model.Model, above: frozenset[str]) -> None:
        for name in sorted(_parts(one)):
            if name in known and name not in above:
                visit(known[name], above | {name})
        done.setdefault(one.name, one)

    for name in sorted(known):
        visit(known[name], frozenset({name}))
    return list(done.values())


@dataclasses.dataclass(frozen=True, slots=True)
class _Claim:
    """What one model says of a tensor of the ensemble; dims include the batch dimension in `full`."""

    model: str
    data_type: str
    dims: tuple[int, ...]
    full: tuple[int, ...]


def _parts(one: model.Model) -> set[str]:
    return {step.model_name for step in one.ensemble.steps} if one.ensemble else set()


def _find_parts(one: model.Model, known: Mapping[str, model.Model]) -> set[str]:
    """Names of all that an ensemble is made of, through the ensembles in it."""
    seen: set[str] = set()
    reached = _parts(one)
    while reached - seen:
        seen |= reached
        reached = {part for other in seen if other in known for part in _parts(known[other])}
    return seen


def _check_ensemble(
    one: model.Model, ensemble: ensembles.Ensemble, known: Mapping[str, model.Model]
) -> Iterator[str]:
    claims = {tensor.name: _claim(one, tensor, tensor.reshape) for tensor in [*one.inputs, *one.outputs]}
    for step in ensemble.steps:
        part = known.get(step.model_name)
        if part is None:
            yield f"ensemble: the service has no model {step.model_name}: add it to models"
            continue
        if 0 < part.max_batch_size < one.max_batch_size:
            yield (
                f"maxBatchSize is {one.max_batch_size}, but its model {part.name} takes at most "
                f"{part.max_batch_size}: use at most {part.max_batch_size}"
            )
        yield from _check_version(part, step)
        yield from _check_step(part, step, claims)
    yield from _check_cache(one, known)


def _check_version(part: model.Model, step: ensembles.Step) -> Iterator[str]:
    """Which versions there are is known only where the model lists them."""
    policy = part.version_policy
    if policy is None or policy.type != "Specific" or step.model_version == LATEST:
        return
    if step.model_version not in policy.versions:
        yield (
            f"ensemble: a step wants version {step.model_version} of model {part.name}, which loads "
            f"{sorted(policy.versions)}: use one of them, or -1 for the latest"
        )


def _check_cache(one: model.Model, known: Mapping[str, model.Model]) -> Iterator[str]:
    """An ensemble is decoupled where any of its models is, however deep."""
    decoupled = [name for name in sorted(_find_parts(one, known)) if name in known and known[name].decoupled]
    if one.response_cache and decoupled:
        yield (
            f"responseCache is not for an ensemble of decoupled models, and {decoupled[0]} is one: "
            "leave responseCache out"
        )


def _check_step(part: model.Model, step: ensembles.Step, claims: dict[str, _Claim]) -> Iterator[str]:
    sides: tuple[tuple[str, Sequence[tensors.Tensor], Mapping[str, str]], ...] = (
        ("input", part.inputs, step.input_map),
        ("output", part.outputs, step.output_map),
    )
    for side, found, mapped in sides:
        if not found:
            continue
        by_name = {tensor.name: tensor for tensor in found}
        for name in sorted(mapped.keys() - by_name.keys()):
            yield (
                f"ensemble: model {part.name} has no {side} {name}: use one of {', '.join(sorted(by_name))}"
            )
        for name in sorted(mapped.keys() & by_name.keys()):
            claim = _claim(part, by_name[name], None)
            yield from _compare(mapped[name], claims.setdefault(mapped[name], claim), claim)
    for tensor in part.inputs:
        if tensor.name not in step.input_map and not tensor.optional:
            yield f"ensemble: input {tensor.name} of model {part.name} reads no tensor: add it to inputMap"


def _claim(one: model.Model, tensor: tensors.Tensor, reshape: tensors.Reshape | None) -> _Claim:
    dims = tuple(tensor.dims if reshape is None else reshape.shape)
    full = (VARIABLE, *dims) if one.max_batch_size > 0 else dims
    return _Claim(one.name, tensor.data_type, dims, full)


def _compare(tensor: str, one: _Claim, other: _Claim) -> Iterator[str]:
    if one.data_type != other.data_type:
        yield (
            f"ensemble: tensor {tensor} is {one.data_type} in model {one.model} and {other.data_type} in "
            f"model {other.model}: make them equal"
        )
    elif not (_match(one.dims, other.dims) or _match(one.full, other.full)):
        yield (
            f"ensemble: tensor {tensor} has shape {list(one.full)} in model {one.model} and "
            f"{list(other.full)} in model {other.model}: make them equal"
        )


def _match(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    if len(one) != len(other):
        return False
    return all(a == b or VARIABLE in (a, b) for a, b in zip(one, other, strict=True))


def _check_nesting(known: Mapping[str, model.Model]) -> Iterator[tuple[str, str]]:
    """An ensemble may hold ensembles, but not itself."""
    for name, one in known.items():
        if name in _find_parts(one, known):
            yield name, f"ensemble: {name} is part of itself: remove the step"
