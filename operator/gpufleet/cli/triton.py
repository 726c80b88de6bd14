"""`gpufleet triton`: what Triton would be given, and what a change would do to a running service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar, TextIO

import click
import pydantic
import yaml

from gpufleet.api import triton_service
from gpufleet.api.triton import model
from gpufleet.cli import tune, unknown
from gpufleet.decide.serving import models
from gpufleet.decide.triton import change, config, graph

_COLOURS = {
    change.Effect.LOAD: "green",
    change.Effect.UNLOAD: "red",
    change.Effect.LIVE: "green",
    change.Effect.RELOAD: "yellow",
}


class _Loader(yaml.SafeLoader):
    """Takes a plain y or n for a boolean, as kubectl does and this library alone does not."""

    bool_values: ClassVar[dict[str, bool]] = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))


@click.group()
def triton() -> None:
    """Look at models the way Triton will."""


triton.add_command(tune.tune)


@triton.command("config")
@click.argument("file", type=click.File())
@click.option("--model", "only", metavar="NAME", help="Print this model's config.pbtxt alone.")
@click.option(
    "--diff", "against_cluster", is_flag=True, help="Compare with the running service: live or reload."
)
def show_config(file: TextIO, only: str | None, against_cluster: bool) -> None:
    """Print the config.pbtxt of every model of the TritonServices in FILE (- for standard input).

    Needs no cluster, except with --diff. Exits with 1 and the reasons where Triton would refuse a model.
    """
    services = list(_read(file, _find_namespace() if against_cluster else "default"))
    if not services:
        raise click.ClickException(f"{file.name} holds no TritonService")
    faults = [fault for service in services for fault in _find_faults(service)]
    if faults:
        raise click.ClickException("Triton would refuse:\n  " + "\n  ".join(faults))
    for service in services:
        if against_cluster:
            _print_changes(service)
        else:
            _print_configs(service, only)
    names = {one.name for service in services for one in service.spec.models}
    if only is not None and only not in names:
        raise click.ClickException(f"no model {only}: {file.name} has {', '.join(sorted(names))}")


def _read(file: TextIO, namespace: str) -> Iterator[triton_service.TritonService]:
    """The services of the file; `namespace` is that of those that name none."""
    try:
        documents = [document for document in yaml.load_all(file, _Loader) if isinstance(document, dict)]
    except yaml.YAMLError as error:
        raise click.ClickException(f"{file.name} is not YAML: {error}") from error
    for document in documents:
        if document.get("kind") == triton_service.KIND:
            yield _parse(document, namespace)


def _parse(document: dict[str, Any], namespace: str) -> triton_service.TritonService:
    for path in unknown.find(document.get("spec") or {}, triton_service.TritonServiceSpec, "spec"):
        click.secho(
            f"warning: {path} is not a field, and the API server would drop it", fg="yellow", err=True
        )
    metadata = {"uid": "", "namespace": namespace, **(document.get("metadata") or {})}
    try:
        return triton_service.TritonService.model_validate({**document, "metadata": metadata, "status": {}})
    except pydantic.ValidationError as error:
        lines = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        name = metadata.get("name", "?")
        raise click.ClickException(f"TritonService {name} is invalid:\n  " + "\n  ".join(lines)) from error


def _find_faults(service: triton_service.TritonService) -> list[str]:
    return [f"{service.metadata.name}: spec.{fault}" for fault in models.find_faults(service)]


def _print_configs(service: triton_service.TritonService, only: str | None) -> None:
    for one in graph.order(service.spec.models):
        if only is None:
            click.echo(f"# {service.metadata.namespace}/{service.metadata.name}: {one.name}/config.pbtxt")
        if only in (None, one.name):
            click.echo(_show(one))


def _show(one: model.Model) -> str:
    if models.is_as_in_repository(one):
        return f"# nothing is said of {one.name}: the repository's own config.pbtxt holds\n"
    return config.to_pbtxt(config.build(one))


def _print_changes(service: triton_service.TritonService) -> None:
    namespace, name = service.metadata.namespace, service.metadata.name
    changes = change.compare(_read_running(namespace, name), models.build_wanted(service))
    if not changes:
        click.echo(f"{namespace}/{name}: no model changes")
    for one in changes:
        effect = click.style(f"{one.effect:<7}", fg=_COLOURS[one.effect])
        values = f" {one.field}: {_short(one.before)} → {_short(one.after)}" if one.field else ""
        click.echo(f"{effect} {namespace}/{name} {one.model}{values}")


def _short(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, sort_keys=True)


def _find_namespace() -> str:
    """That of the current context, where kubectl would apply the file. Raises ClickException."""
    from kubernetes import config as kubernetes_config

    try:
        context = kubernetes_config.list_kube_config_contexts()[1]
    except kubernetes_config.ConfigException as error:
        raise click.ClickException(f"no cluster to compare with: {error}") from error
    return str(context["context"].get("namespace") or "default")


def _read_running(namespace: str, name: str) -> dict[str, Any]:
    """The list that the pods of the running service follow. Raises ClickException where there is none."""
    from kubernetes import client
    from kubernetes import config as kubernetes_config
    from kubernetes.client.exceptions import ApiException

    from gpufleet.state import names

    try:
        kubernetes_config.load_kube_config()
        found = client.CoreV1Api().read_namespaced_config_map(names.wanted_models_name(name), namespace)
        listed: dict[str, Any] = json.loads(found.data[names.WANTED_MODELS_KEY])
    except kubernetes_config.ConfigException as error:
        raise click.ClickException(f"no cluster to compare with: {error}") from error
    except ApiException as error:
        if error.status == 404:
            raise click.ClickException(f"no running service {namespace}/{name} to compare with") from error
        raise click.ClickException(f"the cluster answered {error.status}: {error.reason}") from error
    return listed
