"""Every line of a node's configuration that something depends on."""

from __future__ import annotations

import json
import pathlib
import tomllib
from typing import Any

import pytest

from gpufleet_sandbox import instance
from gpufleet_sandbox.node import config, layout

NODE = layout.NodeLayout(instance.Instance("second", 3), 2)
CRI = "io.containerd.grpc.v1.cri"


def get(tree: Any, path: str) -> Any:
    """The value at a path whose parts are separated by `/`."""
    for part in path.split("/"):
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("version", 2, id="format that 1.x reads and 2.x migrates"),
        pytest.param("grpc/address", "/run/containerd/containerd.sock", id="socket in the node's own /run"),
        pytest.param(f"plugins/{CRI}/sandbox_image", "registry.k8s.io/pause:3.10", id="sandbox image"),
        pytest.param(f"plugins/{CRI}/restrict_oom_score_adj", True, id="oom score"),
        pytest.param(f"plugins/{CRI}/cni/bin_dir", "/usr/lib/cni", id="CNI plugins"),
        pytest.param(f"plugins/{CRI}/containerd/snapshotter", "overlayfs", id="snapshotter of the template"),
        pytest.param(
            f"plugins/{CRI}/containerd/runtimes/runc/options/SystemdCgroup",
            False,
            id="cgroupfs, as the kubelet",
        ),
        pytest.param("disabled_plugins/0", "io.containerd.internal.v1.opt", id="nothing in /opt"),
    ],
)
def test_containerd(path: str, value: object) -> None:
    text = config.build_containerd(pathlib.Path("/usr/lib/cni"), restrict_oom_score_adj=True)
    assert get(tomllib.loads(text), path) == value


def test_containerd_may_lower_the_score_where_the_machine_lets_it() -> None:
    text = config.build_containerd(pathlib.Path("/opt/cni/bin"), restrict_oom_score_adj=False)
    assert get(tomllib.loads(text), f"plugins/{CRI}/restrict_oom_score_adj") is False


def test_template_containerd_runs_no_pods_and_keeps_to_its_folders() -> None:
    folder = pathlib.Path('/cache with "quotes"')
    read = tomllib.loads(config.build_template_containerd(folder / "root", folder / "state"))
    assert CRI in read["disabled_plugins"]
    assert read["root"] == '/cache with "quotes"/root'
    assert read["grpc"]["address"] == '/cache with "quotes"/state/containerd.sock'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("plugins/0/type", "ptp", id="a routed cable per pod"),
        pytest.param("plugins/0/ipam/ranges/0/0/subnet", "10.131.2.0/24", id="pod range of this node"),
        pytest.param("plugins/0/ipMasq", False, id="pods keep their addresses"),
        pytest.param("plugins/1/type", "portmap", id="host ports"),
    ],
)
def test_cni(path: str, value: object) -> None:
    assert get(config.build_cni(NODE), path) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("authentication/anonymous/enabled", False, id="nobody without a name"),
        pytest.param("authentication/webhook/enabled", True, id="tokens are reviewed"),
        pytest.param("authorization/mode", "Webhook", id="the API server decides"),
        pytest.param("failCgroupV1", False, id="cgroup version 1 will do"),
        pytest.param("failSwapOn", False, id="swap will do"),
        pytest.param("cgroupRoot", "/gpufleet/gpf3/n2", id="pods below the node's group"),
        pytest.param("cgroupDriver", "cgroupfs", id="no systemd in a node"),
        pytest.param("address", "10.250.3.12", id="listens on the node's address"),
        pytest.param("clusterDNS", ["10.67.0.10"], id="DNS of this instance"),
        pytest.param("evictionHard/memory.available", "0%", id="the machine's memory is not the node's"),
        pytest.param("evictionHard/nodefs.available", "0%", id="nor is its disk"),
        pytest.param("imageGCHighThresholdPercent", 100, id="images cannot be pulled again"),
        pytest.param("nodeStatusUpdateFrequency", "4s", id="failures show soon"),
    ],
)
def test_kubelet(path: str, value: object) -> None:
    assert get(config.build_kubelet(NODE), path) == value


def test_kubelet_files_lie_in_the_node_s_directory() -> None:
    kubelet = config.build_kubelet(NODE)
    paths = [
        kubelet["tlsCertFile"],
        kubelet["tlsPrivateKeyFile"],
        kubelet["authentication"]["x509"]["clientCAFile"],
        kubelet["resolvConf"],
        kubelet["volumePluginDir"],
    ]
    assert all(NODE.directory in pathlib.Path(path).parents for path in paths)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("mode", "nftables", id="nftables"),
        pytest.param("clusterCIDR", "10.131.0.0/16", id="pods of this instance"),
        pytest.param("hostnameOverride", "second-n2", id="the Node's name"),
        pytest.param("conntrack/maxPerCore", 0, id="the machine's conntrack table stays"),
    ],
)
def test_kube_proxy(path: str, value: object) -> None:
    assert get(config.build_kube_proxy(NODE), path) == value


@pytest.mark.parametrize(
    "build",
    [config.build_cni, config.build_kubelet, config.build_kube_proxy],
    ids=["cni", "kubelet", "kube-proxy"],
)
def test_can_be_written_as_json(build: Any) -> None:
    assert json.loads(json.dumps(build(NODE))) == build(NODE)


@pytest.mark.parametrize(
    ("status", "lacks"),
    [
        pytest.param("Name:\tx\nCapEff:\t000001ffffffffff\n", False, id="all capabilities"),
        pytest.param("Name:\tx\nCapEff:\t000001fffeffffff\n", True, id="all but this one"),
        pytest.param("CapEff:\t0000000000000000\n", True, id="none"),
        pytest.param("Name:\tx\n", True, id="unknown: the careful answer"),
    ],
)
def test_lacks_sys_resource(status: str, lacks: bool) -> None:
    assert config.lacks_sys_resource(status) is lacks
