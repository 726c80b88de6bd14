"""`gpufleet mig discover` and `gpufleet mig claim`: data and manifests for people to apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import yaml

if TYPE_CHECKING:
    from gpufleet.decide.mig import catalogue, devices, discovery


def discover(text: str, known: catalogue.Catalogue, device: str, new: discovery.NewModel | None) -> None:
    """Prints what the configuration of a node adds to the catalogue. Raises click.ClickException."""
    from gpufleet.decide.mig import catalogue, discovery, parse

    try:
        found = discovery.read(text)
        if len(found) > 1 and (device or new):
            raise click.ClickException("the node has several kinds of devices, which their PCI ids name")
        overlays = [discovery.build_overlay(one, known, device, new) for one in found]
        shown = yaml.safe_dump({"models": [one for one in overlays if one]}, sort_keys=False)
        catalogue.extended(shown)
    except (discovery.DiscoveryError, parse.CatalogueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(shown, nl=False)


def claim(name: str, namespace: str, profile: str, models: list[devices.DeviceModel]) -> None:
    """Prints the template of a claim for one slice, and how a pod asks. Raises click.ClickException."""
    from gpufleet.api import accelerator
    from gpufleet.decide.mig import catalogue, claims

    having = [one for one in models if catalogue.profile(one, profile)]
    if models and not having:
        known = ", ".join(sorted({one.name for model in models for one in model.profiles}))
        raise click.ClickException(f"no MIG profile {profile} there; there are {known or 'none'}")
    products = sorted({product for one in having for product in one.products})
    assigned = accelerator.AssignedAccelerator(
        resource=catalogue.resource_name(profile), count=1, products=products[:32]
    )
    template = claims.build_claim_template(name, namespace, {}, assigned)
    pod: dict[str, Any] = {"spec": {"containers": [{"name": "CONTAINER"}]}}
    used = claims.use_claim(pod, "CONTAINER", assigned.resource, name)
    click.echo(yaml.safe_dump(template, sort_keys=False), nl=False)
    click.echo("---\n# In the template of a pod:")
    for line in yaml.safe_dump(used, sort_keys=False).splitlines():
        click.echo(f"# {line}")
