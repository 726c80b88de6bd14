"""Instance groups and their rate limiter. Rules: Triton's model_config_utils.cc and rate_limiter.cc."""

from __future__ import annotations

from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import instances, model


def check(one: model.Model, *, has_accelerator: bool) -> Iterator[str]:
    """What Triton would refuse, a sentence each: field, value, fix."""
    for group in one.instance_groups:
        if group.kind == "GPU" and not has_accelerator:
            yield (
                f"instanceGroups kind {group.kind} needs a GPU, but the service has no accelerator: "
                "set spec.accelerator, or kind CPU"
            )
        if group.gpus and group.kind in ("CPU", "Model"):
            yield (
                f"instanceGroups kind {group.kind} takes no gpus, and they are {group.gpus}: "
                "leave gpus out, or use kind GPU"
            )
        if group.gpus and group.kind == "Auto" and not has_accelerator:
            yield (
                f"instanceGroups has gpus {group.gpus}, but the service has no accelerator: "
                "leave gpus out, or set spec.accelerator"
            )
        if group.profiles and one.backend_name != "tensorrt":
            yield "instanceGroups.profiles are for the tensorrt backend alone: leave them out"
    yield from _check_resources(one)


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes the groups into `config`."""
    for group in one.instance_groups:
        added = config.instance_group.add(
            kind=f"KIND_{group.kind.upper()}",
            count=group.count,
            gpus=group.gpus,
            profile=group.profiles,
            passive=group.passive,
            host_policy=group.host_policy or "",
        )
        if group.rate_limiter is not None:
            _add_rate_limiter(added.rate_limiter, group.rate_limiter)


def _add_rate_limiter(target: model_config_pb2.ModelRateLimiter, limiter: instances.RateLimiter) -> None:
    target.priority = limiter.priority
    for resource in limiter.resources:
        # `global` is a keyword.
        target.resources.add(**{"name": resource.name, "global": resource.is_global, "count": resource.count})


def _check_resources(one: model.Model) -> Iterator[str]:
    """A pool is the server's or a device's, not both."""
    scopes: dict[str, bool] = {}
    for group in one.instance_groups:
        for resource in group.rate_limiter.resources if group.rate_limiter else ():
            if scopes.setdefault(resource.name, resource.is_global) != resource.is_global:
                yield (
                    f"instanceGroups.rateLimiter.resources has {resource.name} as global and as per device: "
                    "use one, or two names"
                )
