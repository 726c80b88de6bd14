"""The `gpufleet` command: what runs in pods, and what people type.

Each command imports what it needs when it runs, so that `gpufleet --help` and the small agents
do not pay for the operator's libraries.
"""

from __future__ import annotations

import importlib
from importlib import metadata

import click

import gpufleet

_GROUPS = {"triton": "gpufleet.cli.triton"}
"""Groups of commands with a module of their own, which has them under the same name."""


class Commands(click.Group):
    """The built-in commands and those that other installed packages add under `gpufleet.commands`."""

    def _added(self) -> dict[str, metadata.EntryPoint]:
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
    from gpufleet.agents.model import main as model_main

    model_main.run()


if __name__ == "__main__":
    main()
