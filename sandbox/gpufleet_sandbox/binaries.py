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
        # Not Debian's 3.4: on it the API server can neither stream lists nor read from its cache.
        gobuild.Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
        gobuild.Tool("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok"),
        gobuild.Tool(
            "helm",
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            "helm.sh/helm/v4",
            ("helm.sh/helm/v4/internal/version.version",),
        ),
        # For the one test that installs the chart with both.
        gobuild.Tool(
            "helm-3",
            "helm-3",
            "helm.sh/helm/v3/cmd/helm",
            "helm.sh/helm/v3",
            ("helm.sh/helm/v3/internal/version.version",),
        ),
        # Beside Debian's 2.42: the operator's queries are held against both. Service discovery is left out.
        gobuild.Tool(
            "prometheus-3",
            "prometheus",
            "github.com/prometheus/prometheus/cmd/prometheus",
            "github.com/prometheus/prometheus",
            ("github.com/prometheus/common/version.Version",),
            ("remove_all_sd",),
        ),
        gobuild.Tool("coredns", "coredns", ".", "github.com/coredns/coredns"),
        gobuild.Tool("pause", "pause", "."),
        gobuild.Tool("s3", "s3", ".", "github.com/rclone/gofakes3"),
    )
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE = ("kubelet", "kube-proxy")
# Clients work with a server of the same minor version, so PATH's copy will do; of anything else PATH's
# copy is used only when it is the pinned version itself.
_CLIENT_VERSION_COMMANDS = {
    "kubectl": ("version", "--client", "--output=yaml"),
    "helm": ("version", "--short"),
}


def ensure(name: str, reporter: progress.Reporter | None = None) -> pathlib.Path:
    """The path of program `name`, built into the cache when it is nowhere else.

    Raises gobuild.BuildError or debian.PackageError.
    """
    reporter = reporter or progress.Reporter()
    if given := find_given(name):
        return given
    if name not in TOOLS:
        return debian.ensure([name], reporter)[name]
    tool = TOOLS[name]
    target = cached_path(tool)
    if target.is_file():
        return target
    if found := _find_in_path(tool):
        return found
    with locks.hold(target.with_name(f".{target.name}.lock")):
        if not target.is_file():
            gobuild.build(tool, target, reporter)
    return target


def ensure_all(names: Iterable[str], reporter: progress.Reporter | None = None) -> dict[str, pathlib.Path]:
    """Every program asked for; what Debian packages is installed in one go, before anything is built."""
    reporter = reporter or progress.Reporter()
    wanted = list(names)
    debian.ensure([name for name in wanted if name not in TOOLS and find_given(name) is None], reporter)
    return {name: ensure(name, reporter) for name in wanted}


def cached_path(tool: gobuild.Tool) -> pathlib.Path:
    return instance.cache_root() / "bin" / f"{tool.name}-{tool.version()}"


def is_version(wanted: str, text: str, *, parts: int) -> bool:
    """Whether the version in a program's answer has the first `parts` numbers of `wanted`."""
    match = re.search(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return match is not None and list(match.groups())[:parts] == wanted.split(".")[:parts]


def find_given(name: str) -> pathlib.Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    candidate = pathlib.Path(assets, name) if assets else None
    return candidate if candidate and candidate.is_file() else None


def _find_in_path(tool: gobuild.Tool) -> pathlib.Path | None:
    found = shutil.which(tool.name)
    if found is None or tool.package == ".":
        return None
    client = _CLIENT_VERSION_COMMANDS.get(tool.name)
    result = subprocess.run([found, *(client or ["--version"])], capture_output=True, text=True, check=False)
    matches = is_version(tool.version(), result.stdout, parts=2 if client else 3)
    return pathlib.Path(found) if matches else None
