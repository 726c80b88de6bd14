"""Completion of the command in shells, and of `kubectl gpufleet` by kubectl itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click
from click import shell_completion

_NO_FILES, _FILES = 4, 0
"""Directives of cobra, which kubectl is made with:
https://github.com/spf13/cobra/blob/main/site/content/completions/_index.md"""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete this command: source <(gpufleet completion bash).

    kubectl gpufleet is completed by kubectl's own completion, which finds kubectl_complete-gpufleet on PATH.
    """
    from gpufleet.cli import main

    kind = shell_completion.get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"{shell} is not known")
    # What a shell runs is the script alone; whether it is new enough is asked when it is used.
    click.echo(kind(main.main, {}, "gpufleet", "_GPUFLEET_COMPLETE").source())


def complete_for_kubectl() -> None:
    """The program kubectl_complete-gpufleet: its arguments are the words so far, the last one unfinished."""
    click.echo("\n".join(find(sys.argv[1:])))


def find(words: Sequence[str]) -> Iterator[str]:
    """Lines as kubectl reads them: what may come, then a directive."""
    from gpufleet.cli import main

    known = shell_completion.ShellComplete(main.main, {}, "gpufleet", "_GPUFLEET_COMPLETE")
    items = known.get_completions(list(words[:-1]), words[-1] if words else "")
    for one in items:
        if one.type == "plain":
            yield f"{one.value}\t{one.help.splitlines()[0]}" if one.help else str(one.value)
    yield f":{_FILES if any(one.type != 'plain' for one in items) else _NO_FILES}"
