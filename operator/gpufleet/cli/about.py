"""What commands about one object have in common: its name, where to find it, and whom to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from gpufleet.cli import reach

Ask = Callable[[str, Mapping[str, str]], reach.Answer]
"""(path, query) → answer of the operator's read API."""
_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPERATOR_OPTIONS = (
    click.option(
        "--operator-namespace",
        default="gpufleet-system",
        show_default=True,
        envvar="GPUFLEET_NAMESPACE",
        help="Where the operator runs, which is asked through the API server.",
    ),
    click.option(
        "--server", metavar="URL", help="Ask the operator there instead, such as through a port-forward."
    ),
)
_OPTIONS = (
    click.option("-n", "--namespace", help="Namespace of the object; unset: that of the context."),
    click.option("--context", help="Context of the kubeconfig; unset: the current one."),
    click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
    *_OPERATOR_OPTIONS,
)


def options(command: _Command) -> _Command:
    """Adds namespace, context, output, operator_namespace and server."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def operator_options(command: _Command) -> _Command:
    """Adds operator_namespace and server."""
    for option in reversed(_OPERATOR_OPTIONS):
        command = option(command)
    return command


def asking(cluster: reach.Cluster, operator_namespace: str, server: str | None) -> Ask:
    """Asks the operator: directly where `server` names it, else through the API server."""

    def ask(path: str, query: Mapping[str, str]) -> reach.Answer:
        if server:
            return reach.ask_directly(server, path, query)
        return reach.ask_through(cluster.get, operator_namespace, path, query)

    return ask


def parse_subject(words: tuple[str, ...], short: str, kind: str, plural: str) -> str:
    """The name in KIND/NAME or KIND NAME, as kubectl takes them. Raises click.UsageError."""
    spelled = {short, *(f"{one}{end}" for one in (kind.lower(), plural) for end in ("", ".gpufleet.dev"))}
    parts = words[0].split("/") if len(words) == 1 else list(words)
    if len(parts) != 2 or parts[0].lower() not in spelled or not parts[1] or "/" in parts[1]:
        raise click.UsageError(f"{' '.join(words)!r} is no {kind}: write {short}/NAME")
    return parts[1]
