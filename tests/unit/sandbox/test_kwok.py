"""Simulated nodes look like nodes with GPUs, and their stages are whole."""

from __future__ import annotations

import ipaddress

import pytest
import yaml

from gpufleet_sandbox import instance, kwok, state


def build_record(index=0, nodes=0):
    return state.Record("x", index, nodes, 1, state.LOOPBACK, {})


def read_flags(record):
    return dict(word.partition("=")[::2] for word in kwok.build_argv(record))


@pytest.mark.parametrize(
    ("nodes", "grace_s"),
    [pytest.param(2, 20, id="beside real nodes"), pytest.param(0, 600, id="alone")],
)
def test_leases_are_renewed_within_the_grace_period(nodes, grace_s):
    lease_s = int(read_flags(build_record(nodes=nodes))["--node-lease-duration-seconds"])

    assert lease_s / 4 < grace_s


def test_default_node_offers_eight_gpus():
    node = kwok.build_node("kwok-0001", kwok.NodeShape())

    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert node["status"]["capacity"] == node["status"]["allocatable"]
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert node["metadata"]["labels"]["nvidia.com/mig.capable"] == "true"


def test_other_resources_replace_the_gpus():
    shape = kwok.NodeShape(resources={"amd.com/gpu": "4"}, labels={"zone": "a"})
    node = kwok.build_node("kwok-0001", shape)

    assert node["status"]["allocatable"]["amd.com/gpu"] == "4"
    assert "nvidia.com/gpu" not in node["status"]["allocatable"]
    assert node["metadata"]["labels"]["zone"] == "a"


@pytest.mark.parametrize(
    ("is_tainted", "count"),
    [pytest.param(True, 1, id="beside real nodes"), pytest.param(False, 0, id="alone")],
)
def test_taint(is_tainted, count):
    assert len(kwok.build_node("kwok-0001", kwok.NodeShape(is_tainted=is_tainted))["spec"]["taints"]) == count


def test_node_has_the_annotation_that_kwok_selects():
    key, _, value = kwok.SELECTOR.partition("=")

    assert kwok.build_node("kwok-0001", kwok.NodeShape())["metadata"]["annotations"][key] == value


def test_pod_addresses_are_carried_by_no_network():
    for index in range(instance.MAX_INSTANCES):
        flags = read_flags(build_record(index=index))

        assert ipaddress.ip_interface(flags["--cidr"]).network.is_reserved


def test_names_of_simulated_nodes_are_known():
    assert kwok.is_simulated(kwok.node_name(7))
    assert not kwok.is_simulated(instance.Instance("x", 1).node_name(7))


def test_stages_cover_the_lives_of_nodes_and_pods():
    stages = list(yaml.safe_load_all(kwok.STAGES.read_text()))

    assert {(stage["spec"]["resourceRef"]["kind"], stage["metadata"]["name"]) for stage in stages} == {
        ("Node", "node-ready"),
        ("Node", "node-not-ready"),
        ("Pod", "pod-ready"),
        ("Pod", "pod-succeeds"),
        ("Pod", "pod-fails"),
        ("Pod", "pod-deleted"),
    }
    assert all({"statusTemplate", "delete"} & set(stage["spec"]["next"]) for stage in stages)
