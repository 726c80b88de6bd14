"""`gpufleet sandbox up | install | env | demo | down | status | kubeconfig | logs`."""

from __future__ import annotations

import pathlib
import shlex
import sys

import click

from gpufleet_sandbox import (
    binaries,
    charts,
    debian,
    demo,
    existing,
    fleet,
    gobuild,
    kubectl,
    local,
    network,
    processes,
    progress,
    provider,
    state,
)
from gpufleet_sandbox.images import rootfs

_ERRORS = (
    state.StateError,
    provider.UnsupportedError,
    provider.NodeError,
    gobuild.BuildError,
    debian.PackageError,
    processes.StartError,
    network.NetworkError,
    rootfs.ImageError,
    charts.HelmError,
    kubectl.KubectlError,
    TimeoutError,
    OSError,
)
_NAME = click.option(
    "--name", default="default", show_default=True, help="Which sandbox; several run side by side."
)


class _Group(click.Group):
    """Shows errors that say what would help as one sentence, not as a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except _ERRORS as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def sandbox() -> None:
    """A real Kubernetes cluster on this machine, without a container engine."""


@sandbox.command()
@_NAME
@click.option(
    "--nodes", default=2, show_default=True, type=click.IntRange(0, 64), help="Real nodes; they need root."
)
@click.option("--kwok", default=0, show_default=True, type=click.IntRange(0, 20000), help="Simulated nodes.")
@click.option(
    "--provider", "kind", default="local", type=click.Choice(["local", "existing"]), show_default=True
)
@click.option("--kubeconfig", help="For provider existing; default $KUBECONFIG, then ~/.kube/config.")
@click.option(
    "--images/--no-images", default=True, help="Whether to build images and load them into the nodes."
)
def up(name: str, nodes: int, kwok: int, kind: str, kubeconfig: str | None, images: bool) -> None:
    """Bring the cluster up; what runs already stays."""
    reporter = progress.Reporter()
    if kind == "existing":
        cluster: provider.Provider = existing.ExistingProvider(existing.find_kubeconfig(kubeconfig))
    else:
        cluster = local.LocalProvider(name, nodes, kwok, with_images=images, reporter=reporter)
    with reporter.step(f"sandbox {name} is up"):
        cluster.up()
    reporter.say(f"export KUBECONFIG={cluster.kubeconfig()}")


@sandbox.command()
@_NAME
def install(name: str) -> None:
    """Install gpufleet from this checkout, with simulated GPUs, and cut one of them into MIG slices."""
    reporter = progress.Reporter()
    cluster = local.LocalProvider(name, reporter=reporter)
    path, nodes = cluster.kubeconfig(), cluster.nodes()
    client = kubectl.Kubectl(binaries.ensure("kubectl", reporter), path)
    with reporter.step("chart installed: operator and simulated GPUs"):
        fleet.install(client, binaries.ensure("helm", reporter))
    for node in nodes[:1]:
        with reporter.step(f"{node}: one GPU cut into MIG slices"):
            fleet.cut(client, node)


@sandbox.command()
@_NAME
def env(name: str) -> None:
    """Print what makes a shell know the cluster: eval "$(gpufleet sandbox env)"."""
    path = local.LocalProvider(name).kubeconfig()
    folder = path.parent / "bin"
    fleet.link_clients(folder, binaries.ensure_all(fleet.CLIENTS))
    click.echo(f"export KUBECONFIG={shlex.quote(str(path))}")
    click.echo(f'export PATH={shlex.quote(str(folder))}:"$PATH"')


@sandbox.command(name="demo")
def show_demo() -> None:
    """Show the main job: a cluster, a model served, a gang trained. Ctrl-C ends it."""
    demo.run(progress.Reporter())


@sandbox.command()
@_NAME
def down(name: str) -> None:
    """Take the cluster down and leave nothing behind."""
    local.LocalProvider(name).down()


@sandbox.command()
@click.option("--name", help="Only this sandbox.")
def status(name: str | None) -> None:
    """Show what runs."""
    names = [name] if name else [record.name for record in state.load_all()]
    if not names:
        click.echo("no sandbox runs; start one with `gpufleet sandbox up`")
    for each in names:
        click.echo(f"{each}:")
        for part, words in local.LocalProvider(each).status().items():
            click.echo(f"  {part:<26}{words}")


@sandbox.command()
@_NAME
@click.option("--raw", is_flag=True, help="Print the file's content instead of its path.")
def kubeconfig(name: str, raw: bool) -> None:
    """Print the path of the administrator's kubeconfig."""
    path = local.LocalProvider(name).kubeconfig()
    click.echo(path.read_text() if raw else str(path), nl=not raw)


@sandbox.command()
@click.argument("component", required=False)
@_NAME
@click.option("--lines", default=50, show_default=True, help="How many of the last lines.")
def logs(component: str | None, name: str, lines: int) -> None:
    """Print the end of COMPONENT's log, or the names of components that have one."""
    directory = local.LocalProvider(name).kubeconfig().parent
    files = {
        path.relative_to(directory).with_suffix("").as_posix(): path for path in directory.rglob("*.log")
    }
    if component is None:
        click.echo("\n".join(sorted(files)))
        return
    if component not in files:
        raise click.ClickException(f"{component} has no log; those that have one: {', '.join(sorted(files))}")
    click.echo(processes.tail(pathlib.Path(files[component]), lines))


def main() -> None:
    """Entry point of `python -m gpufleet_sandbox`."""
    sandbox(prog_name="gpufleet sandbox", args=sys.argv[1:])
