"""Where every program of a cluster comes from: given assets, PATH, Debian, or built from pinned modules."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterable

from gpufleet_sandbox import debian, gobuild, instance, locks, progress

_KUBERNETES = "k8s.io/kubernetes"


def _kubernetes(name: str) -> gobuild.Tool:
    return gobuild.Tool(name, "kubernetes", f"{_KUBERNETES}/cmd/{name}", _KUBERNETES)


TOOLS = {
    tool.name: tool
    for tool in (
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        _kubernetes("kubectl"),
        gobuild.Tool(
            "kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok", ("sigs.k8s.io/kwok/pkg/consts.Version",)
        ),
        gobuild.Tool(
            "helm", "helm", "helm.sh/helm/v4/cmd/helm", "helm.sh/helm/v4", ("helm.sh/helm/v4/internal/version.version",)
        ),
        gobuild.Tool("coredns", "coredns", ".", "github.com/coredns/coredns"),
        gobuild.Tool("pause", "pause", "."),
    )
}
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE = ("kubelet", "kube-proxy")
# Clients work with a server of the same minor version; PATH's copy is used when it matches.
_CLIENT_VERSION_COMMANDS = {
    "kubectl": ("version", "--client", "--output=yaml"),
    "helm": ("version", "--short"),
}


def ensure(name: str, reporter: progress.Reporter | None = None) -> pathlib.Path:
    """The path of program `name`, built into the cache when it is nowhere else.

    Raises gobuild.BuildError or debian.PackageError.
    """
    reporter = reporter or progress.Reporter()
    if given := _find_given(name):
        return given
    if name not in TOOLS:
        return debian.ensure([name], reporter)[name]
    tool = TOOLS[name]
    target = cached_path(tool)
    if target.is_file():
        return target
    if found := _find_client_in_path(tool):
        return found
    with locks.hold(target.with_name(f".{target.name}.lock")):
        if not target.is_file():
            gobuild.build(tool, target, reporter)
    return target


def ensure_all(names: Iterable[str], reporter: progress.Reporter | None = None) -> dict[str, pathlib.Path]:
    reporter = reporter or progress.Reporter()
    return {name: ensure(name, reporter) for name in names}


def cached_path(tool: gobuild.Tool) -> pathlib.Path:
    return instance.cache_root() / "bin" / f"{tool.name}-{tool.version()}"


def is_same_minor(wanted: str, text: str) -> bool:
    """Whether a version in a client's answer has the major and minor numbers of `wanted`."""
    match = re.search(r"v(\d+)\.(\d+)\.\d+", text)
    return match is not None and [match[1], match[2]] == wanted.split(".")[:2]


def _find_given(name: str) -> pathlib.Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    candidate = pathlib.Path(assets, name) if assets else None
    return candidate if candidate and candidate.is_file() else None


def _find_client_in_path(tool: gobuild.Tool) -> pathlib.Path | None:
    arguments = _CLIENT_VERSION_COMMANDS.get(tool.name)
    found = shutil.which(tool.name)
    if arguments is None or found is None:
        return None
    result = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    return pathlib.Path(found) if is_same_minor(tool.version(), result.stdout) else None
