"""containerd, kubelet and kube-proxy of one node: their files, and how they are started."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Mapping

from gpufleet_sandbox import certs, kubeconfig, processes
from gpufleet_sandbox.node import commands, config, cri, layout, namespaces, template

CONTAINERD = "containerd"
KUBELET = "kubelet"
KUBE_PROXY = "kube-proxy"
_POLL_S = 0.1
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def write_files(node: layout.NodeLayout, server: str, binaries: Mapping[str, pathlib.Path]) -> None:
    """Certificates, kubeconfigs and configurations; `server` is the API server's URL."""
    _write_identity(node, server)
    directory = node.directory
    restricted = config.lacks_sys_resource(pathlib.Path("/proc/self/status").read_text())
    toml = config.build_containerd(binaries["ptp"].parent, restrict_oom_score_adj=restricted)
    (directory / "containerd.toml").write_text(toml)
    (directory / "kubelet.json").write_text(json.dumps(config.build_kubelet(node), indent=2))
    (directory / "kube-proxy.json").write_text(json.dumps(config.build_kube_proxy(node), indent=2))
    (directory / "resolv.conf").touch()
    (directory / "volume-plugins").mkdir(exist_ok=True)
    networks = node.on_host("/etc/cni") / "net.d"
    networks.mkdir(parents=True, exist_ok=True)
    (networks / "10-gpufleet.conflist").write_text(json.dumps(config.build_cni(node), indent=2))


def start_containerd(node: layout.NodeLayout, binaries: Mapping[str, pathlib.Path]) -> None:
    """Returns when it answers a kubelet. Raises processes.StartError."""
    argv = [str(binaries[CONTAINERD]), "--config", str(node.directory / "containerd.toml")]
    daemon = _start(node, CONTAINERD, argv, binaries)
    socket = pathlib.Path(f"/proc/{daemon.pid}/root{layout.CONTAINERD_SOCKET}")
    template.wait_for_socket(daemon, socket)
    cri.wait_ready(daemon, socket)


def start_kubelet(
    node: layout.NodeLayout, binaries: Mapping[str, pathlib.Path], labels: Mapping[str, str]
) -> None:
    _start(node, KUBELET, [str(binaries[KUBELET]), *build_kubelet_arguments(node, labels)], binaries)


def start_kube_proxy(node: layout.NodeLayout, binaries: Mapping[str, pathlib.Path]) -> None:
    argv = [str(binaries[KUBE_PROXY]), f"--config={node.directory / 'kube-proxy.json'}"]
    _start(node, KUBE_PROXY, argv, binaries)


def wait_for_services(node: layout.NodeLayout, timeout_s: float = 30.0) -> None:
    """Returns when the node reaches the API server's Service. Raises processes.StartError.

    kube-proxy calls itself healthy before it has seen a single Service, so a connection is the proof.
    """
    script = "import socket, sys; socket.create_connection((sys.argv[1], 443), timeout=1.0)"
    attempt = [*namespaces.enter(node), sys.executable, "-I", "-c", script, node.instance.kubernetes_ip]
    deadline = time.monotonic() + timeout_s
    while commands.attempt(attempt).returncode != 0:
        if time.monotonic() > deadline:
            end = processes.tail(processes.log_path(KUBE_PROXY, node.directory), 15)
            raise processes.StartError(
                f"{node.name} reached no Service in {timeout_s:.0f} s; the end of kube-proxy's log:\n{end}"
            )
        time.sleep(_POLL_S)


def build_kubelet_arguments(node: layout.NodeLayout, labels: Mapping[str, str]) -> list[str]:
    """What the configuration file cannot say."""
    pairs = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return [
        f"--config={node.directory / 'kubelet.json'}",
        f"--kubeconfig={node.directory / 'kubelet.kubeconfig'}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.ip}",
        f"--node-labels={pairs}",
        "--root-dir=/var/lib/kubelet",
    ]


def is_running(node: layout.NodeLayout, name: str) -> bool:
    process = processes.load(name, node.directory)
    return process is not None and process.is_alive()


def _start(
    node: layout.NodeLayout, name: str, argv: list[str], binaries: Mapping[str, pathlib.Path]
) -> processes.Process:
    environment = {"PATH": build_search_path(binaries)}
    return processes.start(name, argv, node.directory, env=environment, prefix=namespaces.enter(node))


def build_search_path(binaries: Mapping[str, pathlib.Path]) -> str:
    """containerd finds its shim and runc by PATH, the kubelet finds mount by it."""
    folders = [str(binaries[name].parent) for name in ("containerd-shim-runc-v2", "runc") if name in binaries]
    return os.pathsep.join(dict.fromkeys([*folders, *_SYSTEM_PATH]))


def _write_identity(node: layout.NodeLayout, server: str) -> None:
    authority = certs.Authority(node.instance.directory / "pki")
    pki = node.directory / "pki"
    pki.mkdir(parents=True, exist_ok=True)
    serving = authority.issue_kubelet_serving(node.name, node.ip)
    sources = {
        "ca.crt": authority.certificate,
        "serving.crt": serving.certificate,
        "serving.key": serving.key,
    }
    for name, source in sources.items():
        shutil.copy2(source, pki / name)
    users = {
        KUBELET: authority.issue_kubelet_client(node.name),
        KUBE_PROXY: authority.issue_client("kube-proxy", "system:kube-proxy"),
    }
    for name, pair in users.items():
        path = node.directory / f"{name}.kubeconfig"
        kubeconfig.write(path, server, authority.certificate, pair)
