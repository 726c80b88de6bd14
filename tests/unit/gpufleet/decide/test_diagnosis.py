from __future__ import annotations

import pytest

from gpufleet.api import reasons
from gpufleet.decide import diagnosis
from gpufleet.state import fleet
from tests import builders

UNSCHEDULABLE = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
PULL_ERROR = "rpc error: not found"


def waiting(reason: str, message: str = "", **fields) -> fleet.ContainerState:
    return fleet.ContainerState("triton", waiting_reason=reason, message=message, **fields)


def pod(name: str = "a", *containers: fleet.ContainerState, **fields) -> fleet.Pod:
    return builders.make_pod(name, containers=containers, **fields)


@pytest.mark.parametrize(
    ("pods", "reason", "words"),
    [
        pytest.param(
            [pod("a", waiting("ErrImagePull", PULL_ERROR))],
            reasons.IMAGE_PULL_FAILED,
            ["triton", PULL_ERROR, "imagePullSecrets"],
            id="image",
        ),
        pytest.param(
            [pod("a", waiting("CreateContainerConfigError", 'configmap "x" not found'))],
            reasons.CONTAINER_CRASHING,
            ['configmap "x" not found'],
            id="configuration",
        ),
        pytest.param(
            [pod("a", waiting("CrashLoopBackOff", exit_code=137, terminated_reason="OOMKilled"))],
            reasons.CONTAINER_CRASHING,
            ["137", "OOMKilled", "logs"],
            id="crash",
        ),
        pytest.param(
            [pod("a", waiting("CrashLoopBackOff", "I1127 16:36:58.1 7 a.cc:1] hello\nerror: no keys\n"))],
            reasons.CONTAINER_CRASHING,
            [": error: no keys;"],
            id="its last words",
        ),
        pytest.param(
            [pod("a", waiting("ContainerCreating"), mount_message='configmap "x" not found')],
            reasons.MOUNT_FAILED,
            ['configmap "x" not found', "create what is missing"],
            id="volume",
        ),
        pytest.param(
            [pod("a", unschedulable_message=UNSCHEDULABLE)],
            reasons.PODS_UNSCHEDULABLE,
            [UNSCHEDULABLE, "ask for less"],
            id="no node",
        ),
        pytest.param(
            [pod(name, unschedulable_message=UNSCHEDULABLE) for name in "abc"],
            reasons.PODS_UNSCHEDULABLE,
            ["(3 pods)"],
            id="how many",
        ),
        pytest.param(
            [pod("a", unschedulable_message=UNSCHEDULABLE), pod("b", waiting("ErrImagePull"))],
            reasons.IMAGE_PULL_FAILED,
            ["image"],
            id="the more telling comes first",
        ),
    ],
)
def test_diagnosis(pods, reason, words) -> None:
    found = diagnosis.diagnose(pods)
    assert found is not None
    assert found[0] == reason
    assert [word for word in words if word not in found[1]] == []


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param([], id="no pods"),
        pytest.param([pod()], id="a pod that may need time"),
        pytest.param([pod("a", waiting("ContainerCreating"))], id="being created"),
        pytest.param([pod("a", fleet.ContainerState("triton", restarts=1, exit_code=1))], id="one restart"),
    ],
)
def test_nothing_to_say(pods) -> None:
    assert diagnosis.diagnose(pods) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            waiting("ErrImagePull", PULL_ERROR),
            waiting("ImagePullBackOff", f'Back-off pulling image "x": ErrImagePull: {PULL_ERROR}'),
            id="pulling and waiting to pull",
        ),
        pytest.param(
            waiting("CrashLoopBackOff", "back-off 10s restarting failed container", restarts=2, exit_code=1),
            waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container", restarts=9, exit_code=1),
            id="waiting longer and longer",
        ),
        pytest.param(
            waiting("CrashLoopBackOff", "back-off 10s restarting failed container", restarts=2, exit_code=1),
            fleet.ContainerState("triton", restarts=3, exit_code=1),
            id="waiting and running again",
        ),
        pytest.param(
            waiting("CrashLoopBackOff", "E1127 16:36:58.0753 1668 a.cc:1] no model", restarts=2, exit_code=1),
            waiting("CrashLoopBackOff", "E1127 16:37:08.1111 17 a.cc:1] no model", restarts=3, exit_code=1),
            id="the same last words",
        ),
    ],
)
def test_a_cycle_is_one_finding(one, other) -> None:
    assert diagnosis.diagnose([pod("a", one)]) == diagnosis.diagnose([pod("a", other)])
