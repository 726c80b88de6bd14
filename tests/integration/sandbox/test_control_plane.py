"""A control plane with simulated nodes: up, used, up again, broken, down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
import yaml

from gpufleet_sandbox import instance, local, processes, state

NAME = f"it-{os.getpid()}"


def wait_until(is_true: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def own() -> Iterator[local.LocalProvider]:
    """A sandbox that the test may break."""
    provided = local.LocalProvider(NAME, node_count=0, kwok_count=2)
    yield provided
    provided.down()


def build_gang(name: str, annotations: dict[str, str]) -> str:
    container = {"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": 4}}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completions": 2,
            "parallelism": 2,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": annotations},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            },
        },
    }
    return yaml.safe_dump(job)


@pytest.mark.parametrize(
    ("name", "annotations", "condition"),
    [
        pytest.param("runs-out", {"gpufleet.dev/kwok-run-seconds": "1"}, "Complete", id="ends with success"),
        pytest.param("fails", {"gpufleet.dev/kwok-exit-code": "3"}, "Failed", id="ends with an exit code"),
        pytest.param(
            "fails-later",
            {"gpufleet.dev/kwok-run-seconds": "1", "gpufleet.dev/kwok-exit-code": "3"},
            "Failed",
            id="ends with an exit code after a while",
        ),
    ],
)
def test_annotations_end_simulated_pods(cluster, name, annotations, condition):
    cluster.kubectl("apply", "-f", "-", input=build_gang(name, annotations))

    cluster.kubectl("wait", f"--for=condition={condition}", f"job/{name}", "--timeout=30s")


def test_simulated_pods_run_until_told_to_fail(cluster):
    cluster.kubectl("apply", "-f", "-", input=build_gang("runs-on", {}))
    pod = ("pod", "--selector=batch.kubernetes.io/job-name=runs-on")
    wait_until(lambda: cluster.kubectl("get", *pod, "-o", "name") != "", "pods of the gang")
    cluster.kubectl("wait", "--for=condition=Ready", *pod, "--timeout=30s")

    name = cluster.kubectl("get", *pod, "-o", "name").split()[0]
    cluster.kubectl("annotate", name, "gpufleet.dev/kwok-exit-code=7")

    cluster.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].state.terminated.exitCode}=7", name)
    cluster.kubectl("wait", "--for=condition=Failed", "job/runs-on", "--timeout=30s")


def test_nodes_carry_simulated_gpus(cluster):
    node = json.loads(cluster.kubectl("get", "node", "kwok-0001", "-o", "json"))

    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"


def test_node_reports_not_ready_while_annotated(cluster):
    cluster.kubectl("annotate", "node", "kwok-0004", "gpufleet.dev/kwok-not-ready=true")
    cluster.kubectl("wait", "--for=condition=Ready=False", "node/kwok-0004", "--timeout=30s")

    cluster.kubectl("annotate", "node", "kwok-0004", "gpufleet.dev/kwok-not-ready-")
    cluster.kubectl("wait", "--for=condition=Ready", "node/kwok-0004", "--timeout=30s")


def test_strangers_are_refused(cluster, tmp_path):
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "guessed"}
    stranger = tmp_path / "stranger.kubeconfig"
    stranger.write_text(yaml.safe_dump(config))

    result = cluster.try_kubectl(f"--kubeconfig={stranger}", "get", "nodes", "--request-timeout=5s")

    assert result.returncode != 0
    assert "Unauthorized" in result.stderr


def test_second_up_keeps_every_process(own):
    own.up()
    directory = own.kubeconfig().parent
    before = {process.name: process.pid for process in processes.load_all(directory)}

    own.up()

    assert {process.name: process.pid for process in processes.load_all(directory)} == before
    assert set(before) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}


def test_down_leaves_nothing(own):
    own.up()
    directory = own.kubeconfig().parent
    pids = [process.pid for process in processes.load_all(directory)]

    own.down()

    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert processes.find_marked(directory) == []
    assert not directory.exists()
    assert state.load(NAME) is None


def test_down_after_sigkill_of_up_leaves_nothing(own):
    command = [sys.executable, "-m", "gpufleet_sandbox", "up", "--name", NAME, "--nodes=0", "--kwok=2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as up:
        directory = instance.cache_root() / "instances" / NAME
        wait_until(
            lambda: processes.load("kube-apiserver", directory) is not None, "the API server's pid file"
        )
        up.send_signal(signal.SIGKILL)
    assert processes.find_marked(directory)

    own.down()

    assert processes.find_marked(directory) == []
    assert not directory.exists()


def test_objects_outlive_a_crash_of_the_api_server(own):
    own.up()
    before = own.status()

    own.restart_apiserver(outage_s=0.5)

    wait_until(lambda: own.status() == before, f"{before} again")
    assert before["simulated nodes"] == "2 of 2 Ready"


def test_sandboxes_run_side_by_side(cluster, own):
    own.up()

    assert own.kubeconfig().read_text() != cluster.kubeconfig.read_text()
    assert own.status()["kube-apiserver"] == "running"
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"


def test_size_cannot_shrink(own):
    own.up()

    with pytest.raises(state.StateError, match="down"):
        local.LocalProvider(NAME, node_count=1).up()
