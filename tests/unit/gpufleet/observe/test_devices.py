"""The device map as node agents publish it, and where a pod may go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpufleet.observe import constraints, decode, decode_nodes, devices
from gpufleet.state import devices as values
from gpufleet.state import fleet

PUBLISHED = {
    "bootID": "b-1",
    "gpus": [
        {
            "index": 1,
            "uuid": "GPU-1",
            "model": "H100-80GB",
            "mig": True,
            "pod": "",
            "instances": [
                {"uuid": "MIG-2", "profile": "3g.40gb", "start": 4, "pod": ""},
                {"uuid": "MIG-1", "profile": "1g.10gb", "start": 0, "pod": "team/a/uid-a"},
            ],
        },
        {
            "index": 0,
            "uuid": "GPU-0",
            "model": "H100-80GB",
            "mig": False,
            "instances": [],
            "pod": "team/b/uid-b",
        },
    ],
}


def test_gpus_and_instances_come_in_order() -> None:
    found = devices.read("n", json.dumps(PUBLISHED))
    assert found == values.DeviceMap(
        "b-1",
        (
            values.Gpu(0, "GPU-0", "H100-80GB", False, (), "team/b/uid-b"),
            values.Gpu(
                1,
                "GPU-1",
                "H100-80GB",
                True,
                (
                    values.Instance("MIG-1", "1g.10gb", 0, "team/a/uid-a"),
                    values.Instance("MIG-2", "3g.40gb", 4),
                ),
            ),
        ),
    )
    assert [gpu.pods for gpu in found.gpus] == [("team/b/uid-b",), ("team/a/uid-a",)]


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "{}", "nonsense", '{"bootID":"x","gpus":[{"index":"one","uuid":"u"}]}', '{"gpus":[]}'],
)
def test_what_cannot_be_read_is_no_map(text: str | None) -> None:
    assert devices.read("n", text) is None


def test_an_answer_has_the_token_it_was_asked_with() -> None:
    found = devices.read("n", json.dumps(PUBLISHED | {"token": "t"}))
    assert found is not None
    assert found.token == "t"


def make_pod(**fields: Any) -> dict[str, Any]:
    """A raw pod that asks for a slice; `metadata` and keys of its spec."""
    container = {"name": "c", "resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}}
    metadata = {"name": "p", "namespace": "team", "uid": "u", **fields.pop("metadata", {})}
    return {"metadata": metadata, "spec": {"containers": [container], **fields}}


def required(*terms: Any) -> dict[str, Any]:
    wanted = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wanted}}


IN = {"key": "a", "operator": "In", "values": ["1", "2"]}
EXISTS = {"key": "b", "operator": "Exists"}


@pytest.mark.parametrize(
    ("spec", "terms"),
    [
        pytest.param({}, (), id="nothing said"),
        pytest.param({"nodeSelector": {"x": "y"}}, ((fleet.Requirement("x", "In", ("y",)),),), id="selector"),
        pytest.param(
            {"affinity": required({"matchExpressions": [IN]}, {"matchExpressions": [EXISTS]})},
            ((fleet.Requirement("a", "In", ("1", "2")),), (fleet.Requirement("b", "Exists"),)),
            id="either of two terms",
        ),
        pytest.param(
            {"nodeSelector": {"x": "y"}, "affinity": required({"matchExpressions": [IN]})},
            ((fleet.Requirement("x", "In", ("y",)), fleet.Requirement("a", "In", ("1", "2"))),),
            id="both",
        ),
        pytest.param({"affinity": {"nodeAffinity": {}}}, (), id="preferred only"),
    ],
)
def test_where_a_pod_may_go(spec: dict[str, Any], terms: Any) -> None:
    found = decode.decode_pod(make_pod(**spec))
    assert found is not None
    assert found.constraints.terms == terms


def test_a_pod_that_has_a_node_has_no_constraints() -> None:
    found = decode.decode_pod(
        make_pod(nodeName="n", nodeSelector={"x": "y"}, tolerations=[{"operator": "Exists"}])
    )
    assert found is not None
    assert found.constraints == fleet.Constraints()


OWNED = [{"uid": "o", "kind": "ReplicaSet", "controller": True}]


@pytest.mark.parametrize(
    ("metadata", "evictable"),
    [
        pytest.param({"ownerReferences": OWNED}, True, id="of a ReplicaSet"),
        pytest.param({}, False, id="nobody makes it again"),
        pytest.param(
            {"ownerReferences": [{"uid": "o", "kind": "DaemonSet", "controller": True}]}, False, id="daemon"
        ),
        pytest.param(
            {"ownerReferences": [{"uid": "o", "kind": "ReplicaSet"}]}, False, id="owned, not controlled"
        ),
        pytest.param(
            {"ownerReferences": OWNED, "annotations": {"gpufleet.dev/do-not-disrupt": "true"}},
            False,
            id="ours",
        ),
        pytest.param(
            {
                "ownerReferences": OWNED,
                "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            },
            False,
            id="the autoscaler's",
        ),
        pytest.param({"ownerReferences": OWNED, "labels": {"gpufleet.dev/job": "j"}}, False, id="a gang's"),
    ],
)
def test_who_may_be_evicted(metadata: dict[str, Any], evictable: bool) -> None:
    found = decode.decode_pod(make_pod(metadata=metadata))
    assert found is not None
    assert found.evictable is evictable


def test_of_constraints_only_hard_ones_are_read() -> None:
    assert constraints.read(constraints.PodSpec()) == fleet.Constraints()


def test_a_node_with_all_that_is_ours() -> None:
    raw = {
        "metadata": {
            "name": "n",
            "uid": "u",
            "annotations": {
                "gpufleet.dev/devices": json.dumps(PUBLISHED),
                "gpufleet.dev/mig-hold": "h",
                "x": "y",
            },
        },
        "spec": {"taints": [{"key": "gpufleet.dev/repartition", "effect": "NoSchedule"}]},
        "status": {"nodeInfo": {"bootID": "b-1"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    node = decode_nodes.decode_node(raw)
    assert node is not None
    assert (node.uid, node.boot_id, node.annotations) == ("u", "b-1", {"gpufleet.dev/mig-hold": "h"})
    assert node.devices is not None
    assert (node.is_fenced, node.is_usable) == (True, False)
