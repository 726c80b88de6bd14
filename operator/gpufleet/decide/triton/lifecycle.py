"""Versions, warm-up and response cache. Rules: model_config_utils.cc and backend_model_instance.cc."""

from __future__ import annotations

from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import lifecycle, model, tensors
from gpufleet.decide.triton.tensors import VARIABLE


def check(one: model.Model) -> Iterator[str]:
    """What Triton would refuse, a sentence each: field, value, fix."""
    policy = one.version_policy
    if policy is not None and policy.type == "Specific" and not policy.versions:
        yield "versionPolicy Specific needs versions, and there are none: list them, or use Latest"
    if policy is not None and policy.type != "Specific" and policy.versions:
        yield f"versionPolicy {policy.type} takes no versions: leave them out, or use Specific"
    if one.response_cache and one.decoupled:
        yield "responseCache is not for decoupled models: leave one of the two out"
    for warmup in one.warmups:
        if warmup.batch_size:
            yield from _check_warmup(one, warmup)


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes version policy, warm-up and cache into `config`."""
    if one.version_policy is not None:
        _add_versions(config.version_policy, one.version_policy)
    for warmup in one.warmups:
        added = config.model_warmup.add(name=warmup.name, batch_size=warmup.batch_size, count=warmup.count)
        for source in warmup.inputs:
            added.inputs[source.name].CopyFrom(_build_input(source))
    if one.response_cache:
        config.response_cache.enable = True
    if one.decoupled:
        config.model_transaction_policy.decoupled = True


def _add_versions(target: model_config_pb2.ModelVersionPolicy, policy: lifecycle.VersionPolicy) -> None:
    if policy.type == "All":
        target.all.SetInParent()
    elif policy.type == "Specific":
        target.specific.versions.extend(sorted(policy.versions))
    else:
        target.latest.num_versions = policy.num_versions


def _build_input(source: lifecycle.WarmupInput) -> model_config_pb2.ModelWarmup.Input:
    built = model_config_pb2.ModelWarmup.Input(data_type=f"TYPE_{source.data_type}", dims=source.dims)
    if source.data == "File":
        built.input_data_file = source.data_file or ""
    elif source.data == "Random":
        built.random_data = True
    else:
        built.zero_data = True
    return built


def _check_warmup(one: model.Model, warmup: lifecycle.Warmup) -> Iterator[str]:
    where = f"warmups[{warmup.name}]"
    # Without a batch dimension a request is a batch of one.
    largest = max(1, one.max_batch_size)
    if warmup.batch_size > largest:
        yield (
            f"{where}.batchSize is {warmup.batch_size}, more than maxBatchSize {one.max_batch_size} allows: "
            f"use at most {largest}"
        )
    sent = {source.name: source for source in warmup.inputs}
    for source in warmup.inputs:
        if (source.data == "File") != (source.data_file is not None):
            yield f"{where}.inputs[{source.name}]: data File and dataFile go together: set both or none"
    if not one.inputs:
        return
    known = {tensor.name: tensor for tensor in one.inputs}
    for name, tensor in known.items():
        if name not in sent and not tensor.optional:
            yield f"{where} leaves out input {name}: add it"
        if name in sent:
            yield from _check_input(f"{where}.inputs[{name}]", sent[name], tensor)


def _check_input(where: str, source: lifecycle.WarmupInput, tensor: tensors.Input) -> Iterator[str]:
    if source.data_type != tensor.data_type:
        yield f"{where}.dataType is {source.data_type}, but the input's is {tensor.data_type}: use that"
    same_rank = len(source.dims) == len(tensor.dims)
    if not same_rank or any(
        wanted not in (VARIABLE, dim) for dim, wanted in zip(source.dims, tensor.dims, strict=True)
    ):
        yield (
            f"{where}.dims {source.dims} do not fit the input's dims {tensor.dims}: "
            "make them equal where the input's are not -1"
        )
