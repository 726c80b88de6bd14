"""`gpufleet snapshot`: a support bundle without secrets."""

from __future__ import annotations

import datetime
import pathlib

import click

from gpufleet.cli import about, bundle, door, sources


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="Where to write; unset: gpufleet-snapshot-TIME.tar.gz here.",
)
@about.operator_options
def snapshot(
    path: pathlib.Path | None, context: str | None, operator_namespace: str, server: str | None
) -> None:
    """Write what support needs into one archive; changes nothing in the cluster.

    Objects of gpufleet, labels of nodes, the fleet, queue and decisions as the operator sees them, its logs,
    and Events. Values of environment variables, annotations of others and Secrets are not in it.
    """
    now = datetime.datetime.now(datetime.UTC)
    path = path or pathlib.Path(f"gpufleet-snapshot-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    if path.exists():
        raise click.ClickException(f"{path} is there already: choose another with -f")
    with door.opened(context) as get:
        found = bundle.gather(sources.Sources(get, operator_namespace, server))
    if not found.files:
        why = next(iter(found.missing.values()), "nothing answered")
        raise click.ClickException(f"nothing could be read: {why}")
    try:
        bundle.write(found, path, int(now.timestamp()))
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error}") from error
    click.echo(f"{path}: {len(found.files)} files. Look at it before you send it.")
    for name, why in sorted(found.missing.items()):
        click.echo(f"without {name}: {why}", err=True)
