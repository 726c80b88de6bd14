"""Names and addresses of nodes: short enough, and never shared."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet_sandbox import instance
from gpufleet_sandbox.node import daemons, layout, links, namespaces

NODES = st.builds(
    lambda index, ordinal: layout.NodeLayout(instance.Instance(f"s{index}", index), ordinal),
    st.integers(0, instance.MAX_INSTANCES - 1),
    st.integers(1, instance.MAX_NODES),
)


@given(NODES, NODES)
def test_two_nodes_share_nothing(one: layout.NodeLayout, other: layout.NodeLayout) -> None:
    if one == other:
        return
    for attribute in ("name", "ip", "pod_cidr", "directory", "netns", "link", "cgroup"):
        assert getattr(one, attribute) != getattr(other, attribute)


@given(NODES)
def test_the_kernel_takes_the_interface_name(node: layout.NodeLayout) -> None:
    assert len(node.link) <= 15


@given(NODES)
def test_addresses_lie_in_the_instance_s_networks(node: layout.NodeLayout) -> None:
    pods = ipaddress.ip_network(node.pod_cidr)
    assert pods.subnet_of(ipaddress.ip_network(node.instance.pod_cidr))  # type: ignore[arg-type]
    assert ipaddress.ip_address(node.ip) in ipaddress.ip_network(
        f"{node.instance.bridge_ip}/24", strict=False
    )


@given(NODES)
def test_routes_lead_to_every_other_node(node: layout.NodeLayout) -> None:
    routes = node.plan_peer_routes()
    assert len(routes) == instance.MAX_NODES - 1
    assert node.pod_cidr not in dict(routes)


@given(NODES)
def test_a_node_has_no_default_route(node: layout.NodeLayout) -> None:
    lines = links.plan_inside(node)
    assert not [line for line in lines if "default" in line or "0.0.0.0/0" in line]


@pytest.mark.parametrize("ordinal", [0, -1, instance.MAX_NODES + 1])
def test_an_ordinal_out_of_range_is_refused(ordinal: int) -> None:
    with pytest.raises(ValueError, match="outside 1"):
        layout.NodeLayout(instance.Instance("default", 0), ordinal)


def test_mounts_come_in_an_order_that_works() -> None:
    node = layout.NodeLayout(instance.Instance("default", 0), 1)
    steps = [" ".join(step) for step in namespaces.plan_mounts(node)]
    assert steps[0] == "hostname n1"
    assert steps.index("mount --make-rshared /") < steps.index("mkdir /run/netns /run/lock")
    assert steps[-1] == "mount --make-rshared /var/lib/kubelet"
    for path in layout.MOUNT_POINTS:
        assert f"mount --bind {node.directory}/root{path} {path}" in steps


def test_the_machine_s_tunables_are_covered() -> None:
    node = layout.NodeLayout(instance.Instance("default", 0), 1)
    targets = [step[-1] for step in namespaces.plan_mounts(node)]
    for name in ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"):
        assert f"/proc/sys/{name}" in targets


def test_labels_reach_the_kubelet_sorted() -> None:
    node = layout.NodeLayout(instance.Instance("default", 0), 1)
    arguments = daemons.build_kubelet_arguments(node, {"b": "2", "a": "1"})
    assert "--node-labels=a=1,b=2" in arguments
    assert "--hostname-override=n1" in arguments
