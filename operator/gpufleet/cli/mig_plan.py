"""`gpufleet mig plan`: a fleet before and after, node by node, with cost and reason."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import click

from gpufleet.decide.mig import catalogue, geometry
from gpufleet.decide.mig.planning import fleet, ilp, planner, snapshot, values


def show(file: TextIO, known: catalogue.Catalogue, output: str, exact_limit_s: float | None) -> None:
    """Plan and print. Raises click.ClickException for a snapshot that cannot be planned for."""
    try:
        problem = snapshot.parse(json.load(file), known)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file.name} is not JSON: {error}") from error
    except snapshot.SnapshotError as error:
        raise click.ClickException(f"{file.name}: {error}") from error
    plan = planner.plan(problem.gpus, problem.demands, problem.policy)
    solved = None if exact_limit_s is None else _solve(problem, exact_limit_s)
    document = _to_wire(problem, plan, solved)
    if output == "json":
        click.echo(json.dumps(document, indent=2))
    else:
        _print_table(plan, document)


def _solve(problem: snapshot.Problem, limit_s: float) -> ilp.Solved:
    try:
        with _silence():
            return ilp.solve(problem.gpus, problem.demands, limit_s)
    except ImportError as error:
        raise click.ClickException("--exact needs HiGHS: pip install 'gpufleet[planner]'") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps the banner that HiGHS writes at its start, past Python, out of what is printed."""
    libc = ctypes.CDLL(None)
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        libc.fflush(None)
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)


def _to_wire(problem: snapshot.Problem, plan: values.Plan, solved: ilp.Solved | None) -> dict[str, Any]:
    forecast = dict(problem.policy.forecast) or planner.mix(problem.demands)
    after = fleet.carry_out(problem.gpus, plan)
    document: dict[str, Any] = {
        "reason": plan.reason,
        "message": plan.message,
        "weightedDemand": {
            "wanted": plan.wanted,
            "servedAsIs": plan.without,
            "served": plan.served,
            "bound": round(plan.bound, 4),
        },
        "moved": plan.moved,
        "fragmentation": {
            "before": round(fleet.measure_fragmentation(problem.gpus, forecast), 4),
            "after": round(fleet.measure_fragmentation(after, forecast), 4),
        },
        "demand": [_outcome(one) for one in plan.outcomes],
        "nodes": [
            {"name": node, "gpus": [_change(one) for one in changes]}
            for node, changes in itertools.groupby(plan.changes, key=lambda one: one.node)
        ],
    }
    if solved is not None:
        document["exact"] = {
            "served": round(solved.served, 6),
            "bound": round(solved.bound, 6),
            "gapPercent": round(100 * solved.gap, 4),
        }
    return document


def _outcome(outcome: values.Outcome) -> dict[str, Any]:
    demand = outcome.demand
    models = {} if demand.models is None else {"models": sorted(demand.models)}
    return {
        "profile": demand.profile,
        **models,
        "weight": demand.weight,
        "count": demand.count,
        "served": outcome.served,
    }


def _change(change: values.Change) -> dict[str, Any]:
    recipe = change.recipe
    return {
        "index": change.index,
        "before": _placements(recipe.before.placements),
        "after": _placements(recipe.after.placements),
        "destroy": _placements(recipe.destroyed),
        "create": _placements(recipe.created),
        "moved": recipe.moved,
        "cost": round(recipe.cost, 6),
        "reason": change.reason,
    }


def _placements(placements: Sequence[geometry.Placement]) -> list[dict[str, Any]]:
    return [{"profile": one.profile, "start": one.start} for one in placements]


def _print_table(plan: values.Plan, document: dict[str, Any]) -> None:
    click.echo(f"{plan.reason}: {plan.message}")
    for outcome in plan.outcomes:
        demand = outcome.demand
        click.echo(f"  {demand.profile:<16} weight {demand.weight:<6g} {outcome.served} of {demand.count}")
    before, after = document["fragmentation"]["before"], document["fragmentation"]["after"]
    click.echo(f"fragmentation {before:.1%} → {after:.1%}")
    if exact := document.get("exact"):
        click.echo(
            f"HiGHS: {exact['served']:g} served, at most {exact['bound']:g}, gap {exact['gapPercent']:g} %"
        )
    for node, changes in itertools.groupby(plan.changes, key=lambda one: one.node):
        listed = list(changes)
        click.echo(f"{node}: cost {sum(one.recipe.cost for one in listed):.3f}")
        for change in listed:
            recipe = change.recipe
            click.echo(f"  GPU {change.index}  {_counts(recipe.before)} → {_counts(recipe.after)}")
            click.echo(f"         {change.reason}")


def _counts(layout: geometry.Layout) -> str:
    return ", ".join(f"{number} × {profile}" for profile, number in layout.counts.items()) or "empty"
