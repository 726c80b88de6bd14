"""`gpufleet mig`: how GPUs can be cut, and how a fleet should be. Only live plans need a cluster."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any, TextIO

import click

from gpufleet.cli import about

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpufleet.decide.mig import catalogue, devices, geometry, layouts

_CATALOGUE = click.option(
    "--catalogue",
    "overrides",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
    help="YAML laid over the shipped catalogue: devices of your own, other spellings. May be repeated.",
)


@click.group()
def mig() -> None:
    """Look at MIG layouts, and plan those of a fleet."""


@mig.command("layouts")
@click.option("--device", required=True, metavar="NAME", help="A model, product label or class: H100-NVL.")
@click.option("--profiles", metavar="P,P…", help="Only these profiles; all of the device by default.")
@click.option("--busy", metavar="P@START,…", help="Instances that stay where they are: 3g.40gb@4.")
@click.option("--maximal", "only_maximal", is_flag=True, help="Only layouts with no room for another.")
@click.option("--count", "only_count", is_flag=True, help="Print how many there are.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "count"]), default="table", show_default=True
)
@_CATALOGUE
def show_layouts(
    device: str,
    profiles: str | None,
    busy: str | None,
    only_maximal: bool,
    only_count: bool,
    output: str,
    overrides: tuple[pathlib.Path, ...],
) -> None:
    """Print every legal layout of one GPU: which instances, and where.

    A layout is a set of GPU Instances with their first memory units, one Compute Instance each; busy
    instances are part of every layout.
    """
    from gpufleet.decide.mig import geometry, layouts

    try:
        model = _find_model(device, load_catalogue(overrides))
        wanted = None if profiles is None else _split(profiles)
        stay = [_parse_placement(text) for text in _split(busy or "")]
        if only_count or output == "count":
            _print_census(layouts.count(model, wanted, stay), as_json=output == "json")
            return
        found = layouts.enumerate_cuts(model, wanted, stay)
        shown = (cut for cut in found if cut.is_maximal or not only_maximal)
        _print_json(model, shown) if output == "json" else _print_table(model, shown, wanted, stay)
    except (geometry.UnknownProfileError, geometry.NoLayoutError) as error:
        raise click.ClickException(str(error)) from error


@mig.command("plan")
@click.option("--snapshot", type=click.File(), help="A fleet as JSON instead; - for standard input.")
@click.option("--dry-run", is_flag=True, help="What it does anyway: a plan changes nothing.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--exact", is_flag=True, help="Also solve the integer program with HiGHS (extra: planner).")
@click.option(
    "--time-limit", default=10.0, show_default=True, type=click.FloatRange(0.1), help="For --exact, in s."
)
@_CATALOGUE
@about.operator_options
def show_plan(
    snapshot: TextIO | None,
    dry_run: bool,
    output: str,
    exact: bool,
    time_limit: float,
    overrides: tuple[pathlib.Path, ...],
    context: str | None,
    operator_namespace: str,
    server: str | None,
) -> None:
    """Print how the GPUs of a fleet should be cut for the demand that waits; changes nothing.

    The operator plans for the cluster as it is now: that needs the Role gpufleet-snapshot in its namespace.
    --snapshot plans for a fleet in a file, without a cluster; docs/mig.md has its form. --exact and
    --catalogue go with it.
    """
    from gpufleet.cli import mig_live, mig_plan

    if snapshot is not None:
        mig_plan.show(snapshot, load_catalogue(overrides), output, time_limit if exact else None)
    elif exact or overrides:
        raise click.UsageError("--exact and --catalogue need --snapshot: the operator has a catalogue")
    else:
        mig_live.show(context, operator_namespace, server, output)


@mig.command("discover")
@click.option("--config", required=True, type=click.File(), help="mig-manager's; - for standard input.")
@click.option("--device", default="", metavar="NAME", help="The model, where the file does not tell.")
@click.option("--new", metavar="NAME", help="A model that the catalogue lacks: its name.")
@click.option("--like", metavar="NAME", help="With --new: a model that is cut alike, for other figures.")
@click.option("--product", default="", metavar="LABEL", help="With --new: its nvidia.com/gpu.product.")
@_CATALOGUE
def discover_devices(
    config: TextIO,
    device: str,
    new: str | None,
    like: str | None,
    product: str,
    overrides: tuple[pathlib.Path, ...],
) -> None:
    """Print what mig-manager found on a node as a file for --catalogue.

    The ConfigMap NODE-mig-config that it makes itself (GPU Operator v26.3), or its config.yaml.
    """
    from gpufleet.cli import mig_devices
    from gpufleet.decide.mig import discovery

    if bool(new) != bool(like):
        raise click.UsageError("--new and --like go together")
    model = discovery.NewModel(new, like, product) if new and like else None
    mig_devices.discover(config.read(), load_catalogue(overrides), device, model)


@mig.command("claim")
@click.option("--profile", required=True, help="MIG profile of the slice: 1g.10gb.")
@click.option("--device", metavar="NAME", help="A model, product label or class; unset: any.")
@click.option("--name", required=True, help="Name of the ResourceClaimTemplate.")
@click.option("-n", "--namespace", default="default", show_default=True)
@_CATALOGUE
def show_claim(
    profile: str, device: str | None, name: str, namespace: str, overrides: tuple[pathlib.Path, ...]
) -> None:
    """Print a ResourceClaimTemplate for a slice, for clusters with NVIDIA's DRA driver."""
    from gpufleet.cli import mig_devices

    known = load_catalogue(overrides)
    mig_devices.claim(name, namespace, profile, [_find_model(device, known)] if device else [])


def load_catalogue(overrides: Sequence[pathlib.Path]) -> catalogue.Catalogue:
    """The shipped catalogue with these files laid over it. Raises click.ClickException."""
    from gpufleet.decide.mig import catalogue, parse

    if not overrides:
        return catalogue.default()
    try:
        return catalogue.extended(*(path.read_text("utf-8") for path in overrides))
    except (parse.CatalogueError, OSError, UnicodeDecodeError) as error:
        raise click.ClickException(str(error)) from error


def _find_model(name: str, known: catalogue.Catalogue) -> devices.DeviceModel:
    """By model, product label or class, whatever the case. Raises click.ClickException with what there is."""
    wanted = name.lower()
    for spellings in (_names, _products, _classes):
        found = [one for one in known.models if wanted in spellings(one)]
        if len({tuple(profile.name for profile in one.profiles) for one in found}) == 1:
            if not found[0].is_mig_capable:
                raise click.ClickException(f"{found[0].name} cannot be cut into MIG slices")
            return found[0]
        if found:
            several = ", ".join(one.name for one in found)
            raise click.ClickException(f"{name} is several devices: {several}")
    capable = ", ".join(one.name for one in known.models if one.is_mig_capable)
    raise click.ClickException(f"no device {name}; those with MIG are {capable}")


def _names(model: devices.DeviceModel) -> set[str]:
    return {model.name.lower()}


def _products(model: devices.DeviceModel) -> set[str]:
    products = {product.lower() for product in model.products}
    return products | {product.removeprefix("nvidia-") for product in products}


def _classes(model: devices.DeviceModel) -> set[str]:
    return {model.device_class.lower(), *(group.lower() for group in model.groups)}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _parse_placement(text: str) -> geometry.Placement:
    from gpufleet.decide.mig import geometry

    profile, _, start = text.rpartition("@")
    if not profile or not start.isdecimal():
        raise click.ClickException(f"--busy {text}: write PROFILE@START, as in 3g.40gb@4")
    return geometry.Placement(profile, int(start))


def _print_census(census: layouts.Census, *, as_json: bool) -> None:
    figures = dataclasses.asdict(census)
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, number in figures.items():
        click.echo(f"{name:<10}{number:>8}")


def _print_json(model: devices.DeviceModel, cuts: Iterator[layouts.Cut]) -> None:
    """One document, written as it is found."""
    family = model.family
    units, slices = (family.memory_units, family.compute_slices) if family else (0, 0)
    head = {"device": model.name, "memoryUnits": units, "computeSlices": slices}
    click.echo(json.dumps(head)[:-1] + ', "layouts": [', nl=False)
    separator = "\n"
    for cut in cuts:
        click.echo(separator + json.dumps(_to_wire(model, cut)), nl=False)
        separator = ",\n"
    click.echo("\n]}")


def _to_wire(model: devices.DeviceModel, cut: layouts.Cut) -> dict[str, Any]:
    from gpufleet.decide.mig import geometry

    placed = cut.layout.placements
    sizes = [geometry.profile_of(model, one.profile).shape.size for one in placed]
    return {
        "placements": [
            {"profile": one.profile, "start": one.start, "size": size}
            for one, size in zip(placed, sizes, strict=True)
        ],
        "counts": cut.layout.counts,
        "creationOrder": geometry.largest_first(model, (one.profile for one in placed)),
        "maximal": cut.is_maximal,
    }


def _print_table(
    model: devices.DeviceModel,
    cuts: Iterator[layouts.Cut],
    profiles: Sequence[str] | None,
    busy: Sequence[geometry.Placement],
) -> None:
    from gpufleet.cli import boxes

    names = [profile.name for profile in model.profiles] if profiles is None else profiles
    ruler = boxes.Ruler.of(model, [*names, *(one.profile for one in busy)])
    click.echo(f"{model.name}, memory units:")
    click.echo(ruler.head())
    for cut in cuts:
        click.echo(ruler.draw(cut.layout.placements) + ("" if cut.is_maximal else "  +"))
    click.echo("+ leaves room for another instance")
