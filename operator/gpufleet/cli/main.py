"""The `gpufleet` command: what runs in pods, and what people type.

Each command imports what it needs when it runs, so that `gpufleet --help` and the small agents
do not pay for the operator's libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click
import click.shell_completion

import gpufleet

if TYPE_CHECKING:
    from importlib import metadata

_GROUPS = {
    "completion": "gpufleet.cli.completion",
    "explain": "gpufleet.cli.explain",
    "mig": "gpufleet.cli.mig",
    "profile": "gpufleet.cli.profile",
    "snapshot": "gpufleet.cli.snapshot",
    "status": "gpufleet.cli.status",
    "top": "gpufleet.cli.top",
    "triton": "gpufleet.cli.triton",
    "why": "gpufleet.cli.why",
}
"""Commands with a module of their own, which has them under the same name."""


class Commands(click.Group):
    """The built-in commands and those that other installed packages add under `gpufleet.commands`."""

    def _added(self) -> dict[str, metadata.EntryPoint]:
        from importlib import metadata

        return {entry.name: entry for entry in metadata.entry_points(group="gpufleet.commands")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_GROUPS, *self._added()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if command := super().get_command(ctx, cmd_name):
            return command
        if module := _GROUPS.get(cmd_name):
            group: click.Command = getattr(importlib.import_module(module), cmd_name)
            return group
        entry = self._added().get(cmd_name)
        loaded: click.Command | None = entry.load() if entry else None
        return loaded

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Names alone, for which no command has to be loaded."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        named = (name for name in self.list_commands(ctx) if name.startswith(incomplete))
        return [click.shell_completion.CompletionItem(name) for name in named]


@click.group(cls=Commands)
@click.version_option(gpufleet.__version__, prog_name="gpufleet")
def main() -> None:
    """GPU inference and training fleets on Kubernetes."""


@main.command()
def operator() -> None:
    """Run the operator: reconcile TritonServices, TrainingJobs and GPUPools."""
    from gpufleet import settings
    from gpufleet.handlers import main as handlers_main

    handlers_main.run(settings.Settings())


@main.command()
def simgpu() -> None:
    """Run the simulated GPUs of this node: device plugin, MIG manager, labels, DCGM metrics."""
    from gpufleet.simgpu import main as simgpu_main

    simgpu_main.main()


@main.group()
def agent() -> None:
    """Run what stands beside workloads."""


@agent.command()
def model() -> None:
    """Keep the Triton server of this pod at the list of wanted models."""
    from gpufleet.agents.model import __main__ as model_main

    model_main.main()


@agent.command()
def node() -> None:
    """Say on this Node which pod holds which GPU or MIG slice."""
    from gpufleet.agents.node import main as node_main

    node_main.main()


@agent.command()
@click.option("--url", required=True, metavar="HOST:PORT", help="Triton's gRPC endpoint.")
@click.option("--model", "model_name", required=True, help="Name of the model.")
@click.option("--seconds", default=10.0, show_default=True, help="How long requests are sent.")
@click.option(
    "--concurrency", default=1, show_default=True, help="Connections; with --rate 0, requests at a time."
)
@click.option(
    "--rate", default=0.0, help="Requests per second, whatever the server does; 0: one after another."
)
@click.option("--count", default=0, help="End after so many requests; 0: only time ends it.")
@click.option("--retries", default=0, help="Attempts after a failure, 2 s later.")
@click.option("--batch", default=1, show_default=True, help="Items per request.")
@click.option(
    "--shape", "shapes", multiple=True, metavar="INPUT=N,N", help="Dimensions that the model leaves open."
)
@click.option("--balance", is_flag=True, help="Spread each connection over all addresses of the name.")
@click.option("--wait-for-ready", is_flag=True, help="Requests wait for a connection that is being made.")
def load(
    url: str,
    model_name: str,
    seconds: float,
    concurrency: int,
    rate: float,
    count: int,
    retries: int,
    batch: int,
    shapes: tuple[str, ...],
    balance: bool,
    wait_for_ready: bool,
) -> None:
    """Send inference requests and print what came of them as JSON lines."""
    from gpufleet.agents.load import main as load_main
    from gpufleet.agents.load import traffic

    dims = {
        name: [int(size) for size in sizes.split(",")]
        for name, _, sizes in (one.partition("=") for one in shapes)
    }
    target = load_main.Target(url, model_name, batch, dims, balance=balance, wait_for_ready=wait_for_ready)
    plan = traffic.Plan(seconds, concurrency, rate, count, retries)
    raise SystemExit(load_main.run(target, plan))


@agent.command()
@click.option("--url", required=True, metavar="HOST:PORT", help="Triton's gRPC endpoint, of one server.")
@click.option("--model", "model_name", required=True, help="Name of the model.")
@click.option("--batches", default="1,2,4,8", show_default=True, help="Items per request, one run each.")
@click.option("--concurrency", default="4,16", show_default=True, help="Requests at a time, one run each.")
@click.option("--seconds", default=5.0, show_default=True, help="How long each run takes.")
def profile(url: str, model_name: str, batches: str, concurrency: str, seconds: float) -> None:
    """Load one server with requests of several sizes and print what it counted as JSON lines."""
    from gpufleet.agents.load import main as load_main
    from gpufleet.agents.load import profiling

    sizes, many = ([int(one) for one in text.split(",")] for text in (batches, concurrency))
    raise SystemExit(profiling.run(load_main.Target(url, model_name), sizes, many, seconds))


if __name__ == "__main__":
    main()
