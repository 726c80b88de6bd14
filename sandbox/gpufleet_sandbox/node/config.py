"""The configuration files of a node's daemons, as values."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from gpufleet_sandbox.node import layout

Object = dict[str, Any]
SOCKET_NAME = "containerd.sock"
_EVICTION_SIGNALS = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available")


def build_containerd(cni_plugins: pathlib.Path, *, restrict_oom_score_adj: bool) -> str:
    """containerd's TOML, in the second format: releases 1.x read it, 2.x migrate it as they read it.

    `restrict_oom_score_adj` is for machines without CAP_SYS_RESOURCE, where runc may not lower the score.
    """
    # Strings of TOML and JSON are the same for all that can be in a path.
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# This one would make /opt/containerd on the machine itself.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = {json.dumps(layout.CONTAINERD_SOCKET)}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {json.dumps(layout.PAUSE_IMAGE)}
  restrict_oom_score_adj = {json.dumps(restrict_oom_score_adj)}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {json.dumps(str(cni_plugins))}
    conf_dir = "/etc/cni/net.d"
"""


def build_template_containerd(root: pathlib.Path, state: pathlib.Path) -> str:
    """A containerd that only imports images: it runs no pods and has its files elsewhere."""
    return f"""\
version = 2
root = {json.dumps(str(root))}
state = {json.dumps(str(state))}
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = {json.dumps(str(state / SOCKET_NAME))}
"""


def build_cni(node: layout.NodeLayout) -> Object:
    """Every pod has a routed cable of its own.

    On a bridge, answers between two pods of one node would go past connection tracking, and a Service
    that leads to a pod of the same node would work only where the kernel has br_netfilter.
    """
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": node.pod_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "gpufleet",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def build_kubelet(node: layout.NodeLayout) -> Object:
    """KubeletConfiguration: clients show a certificate or token, and the API server judges them."""
    pki = node.directory / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.ip,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "serving.crt"),
        "tlsPrivateKeyFile": str(pki / "serving.key"),
        "containerRuntimeEndpoint": f"unix://{layout.CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [node.instance.dns_ip],
        "clusterDomain": layout.CLUSTER_DOMAIN,
        # Pods must not inherit the machine's resolvers: nothing could reach them.
        "resolvConf": str(node.directory / "resolv.conf"),
        "volumePluginDir": str(node.directory / "volume-plugins"),
        # The machine's disk and memory are shared: their state says nothing about this node.
        "evictionHard": dict.fromkeys(_EVICTION_SIGNALS, "0%"),
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "4s",
        # Mounted ConfigMaps follow their objects at this interval; the default of a minute is long to watch.
        "syncFrequency": "10s",
        "nodeLeaseDurationSeconds": 16,
    }


def build_kube_proxy(node: layout.NodeLayout) -> Object:
    """KubeProxyConfiguration; the conntrack limits are the machine's and stay as they are."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name,
        "clusterCIDR": node.instance.pod_cidr,
        "clientConnection": {"kubeconfig": str(node.directory / "kube-proxy.kubeconfig")},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def lacks_sys_resource(status: str) -> bool:
    """Whether /proc/<pid>/status shows a process without CAP_SYS_RESOURCE (capability 24)."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return not int(line.split()[1], 16) >> 24 & 1
    return True
