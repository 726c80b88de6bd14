"""`gpufleet mig plan` for the cluster itself: the operator plans as it would now, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from gpufleet.cli import reach, sentences

_PATH = "/mig-plan"
_NO_POOL = (
    "No GPUPool has a MIG mode, so nothing is planned. spec.mig.mode: Dynamic has plans made; they are "
    "carried out only with spec.mig.act: Active."
)


def show(context: str | None, operator_namespace: str, server: str | None, output: str) -> None:
    """Ask and print. Raises click.ClickException where nobody answers."""
    plan = ask(context, operator_namespace, server)
    click.echo(json.dumps(plan, indent=2) if output == "json" else "\n".join(tell(plan)))


def ask(context: str | None, operator_namespace: str, server: str | None) -> dict[str, Any]:
    """The operator's plan of this moment. Raises click.ClickException."""
    try:
        if server:
            status, body = reach.ask_directly(server, _PATH, {})
        else:
            status, body = reach.ask_through(_find_cluster(context).get, operator_namespace, _PATH, {})
    except reach.UnreachableError as error:
        raise click.ClickException(
            f"the operator makes the plan, and it was not reached: {error}. Without it: --snapshot FILE"
        ) from error
    if status != 200:
        raise click.ClickException(f"the operator makes no plan: {body.get('message') or f'HTTP {status}'}")
    return {"dryRun": True, **body}


def _find_cluster(context: str | None) -> reach.Cluster:
    try:
        return reach.Cluster(context)
    except click.ClickException as error:
        raise click.ClickException(f"{error.message} Without a cluster: --snapshot FILE") from error


def tell(plan: Mapping[str, Any]) -> Iterator[str]:
    """Pool by pool, node by node."""
    yield f"Dry run, planned at {plan['at']}: nothing is changed."
    if not plan["pools"]:
        yield _NO_POOL
    for pool in plan["pools"]:
        yield f"GPUPool {pool['name']}, {pool['mode']}, {pool['act']}"
        yield f"{pool['reason']}: {pool['message']}"
        for one in pool["demand"]:
            yield f"  {one['profile']:<16} weight {one['weight']:<6g} {one['served']} of {one['count']}"
        for node in pool["nodes"]:
            yield from _tell_node(node)
        for one in pool["leftAlone"]:
            number = sentences.count(one["nodes"], "node")
            yield f"left alone: {number}, such as {one['example']}: {one['reason']}"
    for message in plan["contradictions"]:
        yield f"left alone: {message}"


def _tell_node(node: Mapping[str, Any]) -> Iterator[str]:
    cost = "" if node["cost"] is None else f"cost {node['cost']:.3f}, "
    yield f"{node['name']}: {cost}{node['reason']}: {node['message']}"
    for gpu in node["gpus"]:
        yield f"  GPU {gpu['index']}  {_cut(gpu['before'])} → {_cut(gpu['after'])}"
        if gpu["reason"]:
            yield f"         {gpu['reason']}"


def _cut(slices: Mapping[str, int] | None) -> str:
    if slices is None:
        return "whole"
    return ", ".join(f"{number} × {name}" for name, number in slices.items()) or "empty"
