"""Names and addresses of sandboxes: every instance and every node has its own."""

from __future__ import annotations

import ipaddress
import itertools
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet_sandbox import instance

INDICES = st.integers(0, instance.MAX_INSTANCES - 1)
ORDINALS = st.integers(1, instance.MAX_NODES)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({"GPUFLEET_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a", id="own variable first"),
        pytest.param({"XDG_CACHE_HOME": "/b"}, "/b/gpufleet", id="then the desktop's"),
        pytest.param({"HOME": "/c"}, "/c/.cache/gpufleet", id="else below home"),
    ],
)
def test_cache_root(monkeypatch, environment, expected):
    for name in ("GPUFLEET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert instance.cache_root() == pathlib.Path(expected)


@pytest.mark.parametrize("index", [pytest.param(-1, id="negative"), pytest.param(16, id="too large")])
def test_index_out_of_range_is_refused(index):
    with pytest.raises(ValueError, match="outside"):
        instance.Instance("x", index)


def test_ranges_of_all_instances_are_disjoint():
    ranges = [
        ipaddress.ip_network(text, strict=False)
        for index in range(instance.MAX_INSTANCES)
        for text in (
            instance.Instance("x", index).pod_cidr,
            instance.Instance("x", index).service_cidr,
            f"{instance.Instance('x', index).bridge_ip}/24",
        )
    ]

    assert not any(one.overlaps(other) for one, other in itertools.combinations(ranges, 2))


@given(index=INDICES, ordinal=ORDINALS)
def test_addresses_lie_in_their_ranges(index, ordinal):
    sandbox = instance.Instance("x", index)
    bridge = ipaddress.ip_network(f"{sandbox.bridge_ip}/24", strict=False)

    assert ipaddress.ip_address(sandbox.node_ip(ordinal)) in bridge
    assert sandbox.node_ip(ordinal) != sandbox.bridge_ip
    assert ipaddress.ip_address(sandbox.dns_ip) in ipaddress.ip_network(sandbox.service_cidr)
    node_range = ipaddress.ip_network(sandbox.node_pod_cidr(ordinal))
    assert node_range.subnet_of(ipaddress.ip_network(sandbox.pod_cidr))


@given(index=INDICES)
def test_interface_names_fit_the_kernel(index):
    assert len(instance.Instance("x", index).bridge) <= 15


def test_node_names_differ_between_instances():
    first, second = instance.Instance("a", 0), instance.Instance("b", 1)

    assert first.node_name(1) == "n1"
    assert second.node_name(1) == "b-n1"
