"""From the kubelet's answers and the GPUs to the annotation's text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.agents.node import hardware, holders, report
from gpufleet.kubelet import podresources_pb2 as pb
from tests.unit.gpufleet.agents.node.builders import device, listing, pod

H100 = "NVIDIA-H100-80GB-HBM3"
GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-3g.40gb"
WHOLE = hardware.Gpu(0, "GPU-a", H100, False)
CUT = hardware.Gpu(
    1, "GPU-b", H100, True,
    (hardware.Instance("MIG-x", "3g.40gb", 4), hardware.Instance("MIG-y", "3g.40gb", 0)),
)  # fmt: skip


def render(*pods: pb.PodResources, gpus: hardware.Gpus = (WHOLE, CUT), token: str = "") -> dict[str, Any]:
    held = holders.read_held(listing(*pods))
    document: dict[str, Any] = json.loads(report.render("boot-1", gpus, held, token))
    return document


def holders_of(document: dict[str, Any]) -> dict[str, str]:
    """Pods by what they hold."""
    parts = [part for gpu in document["gpus"] for part in (gpu, *gpu["instances"])]
    return {one["uuid"]: one["pod"] for one in parts if one["pod"]}


def test_the_whole_document() -> None:
    found = render(pod("team/a", device(SLICE, "MIG-x")), token="t1")
    assert found == {
        "bootID": "boot-1",
        "gpus": [
            {"index": 0, "uuid": "GPU-a", "model": "H100-80GB-SXM", "mig": False, "instances": [], "pod": ""},
            {
                "index": 1, "uuid": "GPU-b", "model": "H100-80GB-SXM", "mig": True, "pod": "",
                "instances": [
                    {"uuid": "MIG-y", "profile": "3g.40gb", "start": 0, "pod": ""},
                    {"uuid": "MIG-x", "profile": "3g.40gb", "start": 4, "pod": "team/a/"},
                ],
            },
        ],
        "token": "t1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param([pod("t/a", device(GPU, "GPU-a"))], {"GPU-a": "t/a/"}, id="a whole GPU"),
        pytest.param([pod("t/a", device(GPU, "GPU-a::1"))], {"GPU-a": "t/a/"}, id="shared in time"),
        pytest.param([pod("t/a", device("nvidia.com/gpu.shared", "GPU-a"))], {"GPU-a": "t/a/"}, id="renamed"),
        pytest.param([pod("t/a", device(GPU, "0"))], {"GPU-a": "t/a/"}, id="a GPU by index"),
        pytest.param([pod("t/a", device(SLICE, "1:0"))], {"GPU-b": "t/a/"}, id="a slice by index: its GPU"),
        pytest.param(
            [pod("t/a", device(GPU, "GPU-z"))], {"GPU-a": "t/a/", "GPU-b": "t/a/"}, id="unknown: all GPUs"
        ),
        pytest.param(
            [pod("t/a", claims=["gpu.nvidia.com/gpu-0"])],
            {"GPU-a": "t/a/", "GPU-b": "t/a/"},
            id="by a claim: all GPUs",
        ),
        pytest.param([pod("t/a", claims=["dra.example.com/nic-0"])], {}, id="a claim on something else"),
        pytest.param([pod("t/a", device("example.com/fpga", "GPU-a"))], {}, id="another vendor's device"),
        pytest.param(
            [pod("t/b", device(GPU, "GPU-a::0")), pod("t/a", device(GPU, "GPU-a::1"))],
            {"GPU-a": "t/a/"},
            id="two pods: the first by name",
        ),
    ],
)
def test_holders(held: list[pb.PodResources], expected: dict[str, str]) -> None:
    assert holders_of(render(*held)) == expected


@pytest.mark.parametrize(
    ("product", "model"),
    [
        pytest.param(H100, "H100-80GB-SXM", id="known"),
        pytest.param("NVIDIA-H100-80GB-HBM3-SHARED", "H100-80GB-SXM", id="known, shared"),
        pytest.param("NVIDIA-Z9", "NVIDIA-Z9", id="in no catalogue"),
    ],
)
def test_models_are_the_catalogues(product: str, model: str) -> None:
    assert render(gpus=(hardware.Gpu(0, "GPU-a", product, False),))["gpus"][0]["model"] == model


@given(st.permutations([pod("t/a", device(SLICE, "MIG-x")), pod("t/b", device(GPU, "GPU-a")), pod("t/c")]))
def test_the_order_of_the_kubelets_answer_changes_nothing(pods: list[pb.PodResources]) -> None:
    assert render(*pods) == render(*sorted(pods, key=lambda one: one.name))


@given(
    st.lists(st.sampled_from(["GPU-a", "GPU-z", "MIG-x", "MIG-z", "0", "1:3", "7", "GPU-a::2"]), min_size=1)
)
def test_whoever_holds_a_device_is_told_somewhere(ids: list[str]) -> None:
    pods = [pod(f"t/p{number}", device(GPU, one)) for number, one in enumerate(ids)]
    assert holders_of(render(*pods))


@pytest.mark.parametrize(
    ("text", "token"),
    [
        pytest.param('{"token":"t1"}', "t1", id="answered"),
        pytest.param('{"gpus":[]}', "", id="never asked"),
        pytest.param("{", "", id="no JSON"),
        pytest.param("[]", "", id="another form"),
        pytest.param("", "", id="empty"),
    ],
)
def test_the_token_of_an_annotation(text: str, token: str) -> None:
    assert report.read_token(text) == token


def test_what_is_offered() -> None:
    answer = pb.AllocatableResourcesResponse(
        devices=[device(GPU, "GPU-b"), device(GPU, "GPU-a"), device(SLICE, "MIG-x"), device("x/nic", "n")]
    )
    assert holders.read_offered(answer) == {GPU: ["GPU-a", "GPU-b"], SLICE: ["MIG-x"]}
