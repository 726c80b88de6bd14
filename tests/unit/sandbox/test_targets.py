"""Which pods Prometheus scrapes, and where."""

from __future__ import annotations

import pytest

from gpufleet_sandbox import targets

ASKS = {targets.SCRAPE: "true", targets.PORT: "8002"}


def build_pod(annotations=ASKS, phase="Running", ip="10.128.1.2", node="n1"):
    return {
        "metadata": {"name": "triton-0", "namespace": "team-a", "annotations": annotations},
        "spec": {"nodeName": node},
        "status": {"phase": phase, "podIP": ip},
    }


def test_pod_that_asks_is_scraped():
    assert targets.build_targets([build_pod()]) == [
        {
            "targets": ["10.128.1.2:8002"],
            "labels": {
                "namespace": "team-a",
                "pod": "triton-0",
                "node": "n1",
                "__metrics_path__": "/metrics",
            },
        }
    ]


def test_path_may_be_named():
    (group,) = targets.build_targets([build_pod({**ASKS, targets.PATH: "/m"})])

    assert group["labels"]["__metrics_path__"] == "/m"


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(build_pod(annotations=None), id="no annotations"),
        pytest.param(build_pod({**ASKS, targets.SCRAPE: "false"}), id="asks not to be"),
        pytest.param(build_pod({targets.SCRAPE: "true"}), id="no port"),
        pytest.param(build_pod({**ASKS, targets.PORT: "http"}), id="port is no number"),
        pytest.param(build_pod(phase="Succeeded"), id="ended"),
        pytest.param(build_pod(ip=""), id="no address yet"),
        pytest.param(build_pod(node="kwok-0001"), id="simulated"),
    ],
)
def test_other_pods_are_not_scraped(pod):
    assert targets.build_targets([pod]) == []


def test_file_is_written_only_when_it_changes(tmp_path):
    path = tmp_path / "targets.json"
    targets.write_if_changed(path, [{"targets": ["a"]}])
    first = path.stat().st_ino

    targets.write_if_changed(path, [{"targets": ["a"]}])
    assert path.stat().st_ino == first

    targets.write_if_changed(path, [])
    assert path.read_text() == "[]"
