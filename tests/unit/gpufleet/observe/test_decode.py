"""Pods and nodes as decisions see them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpufleet.observe import decode
from gpufleet.state import fleet
from tests.unit.gpufleet.observe import fakes

OURS = {"app.kubernetes.io/managed-by": "gpufleet"}


def container(**resources: Any) -> dict[str, Any]:
    return {"name": "main", "resources": {"limits": resources}}


def sidecar(**resources: Any) -> dict[str, Any]:
    return container(**resources) | {"restartPolicy": "Always"}


def build_pod(
    *containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), status: Any = None, **more: Any
) -> fakes.Raw:
    spec: dict[str, Any] = {"containers": list(containers) or [container()], "initContainers": list(init)}
    if node := more.pop("node", ""):
        spec["nodeName"] = node
    return fakes.build_raw("pod", spec=spec, status=status or {}, **more)


def gpus(count: int | str) -> dict[str, Any]:
    return {"nvidia.com/gpu": str(count)}


@pytest.mark.parametrize(
    ("raw", "requests"),
    [
        pytest.param(build_pod(container(**gpus(2))), {"nvidia.com/gpu": 2}, id="one container"),
        pytest.param(build_pod(container(**gpus(1)), container(**gpus(1))), {"nvidia.com/gpu": 2}, id="sum"),
        pytest.param(
            build_pod(container(**gpus(1)), init=(container(**gpus(4)),)),
            {"nvidia.com/gpu": 4},
            id="larger init",
        ),
        pytest.param(
            build_pod(container(**gpus(1)), init=(sidecar(**gpus(1)), container(**gpus(1)))),
            {"nvidia.com/gpu": 2},
            id="sidecar runs beside",
        ),
        pytest.param(
            build_pod(container(**{"cpu": "100m", "nvidia.com/mig-1g.10gb": "1"})),
            {"nvidia.com/mig-1g.10gb": 1},
            id="only extended resources",
        ),
        pytest.param(build_pod(container(**gpus("1k"))), {"nvidia.com/gpu": 1000}, id="canonical quantity"),
    ],
)
def test_requests(raw: fakes.Raw, requests: dict[str, int]) -> None:
    pod = decode.decode_pod(raw)
    assert pod is not None
    assert pod.requests == requests


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        pytest.param(build_pod(), False, id="somebody else's without devices"),
        pytest.param(build_pod(labels=OURS), True, id="ours without devices"),
        pytest.param(build_pod(container(**gpus(1))), True, id="somebody else's with devices"),
        pytest.param(build_pod(container(**gpus("-1"))), False, id="a quantity that is none"),
        pytest.param(build_pod(labels=OURS, status={"phase": "Gaseous"}), False, id="an unknown phase"),
    ],
)
def test_what_is_kept(raw: fakes.Raw, kept: bool) -> None:
    assert (decode.decode_pod(raw) is not None) == kept


def test_a_whole_pod() -> None:
    raw = build_pod(
        container(**gpus(1)),
        labels=OURS,
        node="n1",
        deletionTimestamp="2030-01-01T00:00:00Z",
        ownerReferences=[{"uid": "other"}, {"uid": "owner", "controller": True}],
        status={
            "phase": "Running",
            "podIP": "10.0.0.9",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "restartCount": 0, "state": {"running": {}}}],
        },
    )
    assert decode.decode_pod(raw) == fleet.Pod(
        uid="uid-pod",
        namespace="team",
        name="pod",
        labels=OURS,
        node="n1",
        ip="10.0.0.9",
        phase="Running",
        ready=True,
        deleting=True,
        requests={"nvidia.com/gpu": 1},
        owner_uid="owner",
        interrupted=fleet.Interruption("Deleted", "2030-01-01T00:00:00Z"),
    )


@pytest.mark.parametrize(
    ("created", "ready", "expected"),
    [
        pytest.param("2030-01-01T00:00:00Z", ("True", "2030-01-01T00:01:30Z"), (0.0, 90.0), id="ready"),
        pytest.param("2030-01-01T00:00:00Z", ("False", "2030-01-01T00:01:30Z"), (0.0, None), id="no more"),
        pytest.param("2030-01-01T00:00:00Z", None, (0.0, None), id="not yet"),
        pytest.param("2030-01-01T00:00:00Z", ("True", None), (0.0, None), id="nobody says since when"),
        pytest.param(None, ("True", "2030-01-01T01:00:00+01:00"), (None, 0.0), id="another time zone"),
        pytest.param("2030-01-01T00:00:00", None, (None, None), id="no time zone"),
        pytest.param("yesterday", ("True", "0000-00-00T00:00:00Z"), (None, None), id="no times"),
    ],
)
def test_since_when(
    created: str | None, ready: tuple[str, str | None] | None, expected: tuple[float | None, float | None]
) -> None:
    conditions = [{"type": "Ready", "status": ready[0], "lastTransitionTime": ready[1]}] if ready else []
    pod = decode.decode_pod(
        build_pod(labels=OURS, creationTimestamp=created, status={"conditions": conditions})
    )
    assert pod is not None
    began_s = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC).timestamp()
    since_s = (None if one is None else one - began_s for one in (pod.created_s, pod.ready_s))
    assert tuple(since_s) == expected


@pytest.mark.parametrize(
    ("waiting", "last", "expected"),
    [
        pytest.param(
            {"reason": "CrashLoopBackOff", "message": "back-off"}, {}, "back-off", id="nothing said"
        ),
        pytest.param(
            {"reason": "CrashLoopBackOff", "message": "back-off"},
            {"terminated": {"exitCode": 1, "message": "no keys"}},
            "no keys",
            id="its last words",
        ),
        pytest.param(
            {"reason": "ErrImagePull", "message": "no such image"},
            {"terminated": {"exitCode": 1, "message": "no keys"}},
            "no such image",
            id="it waits for something else",
        ),
    ],
)
def test_what_a_container_says(waiting: dict[str, str], last: dict[str, Any], expected: str) -> None:
    one = {"name": "main", "restartCount": 1, "state": {"waiting": waiting}, "lastState": last}
    pod = decode.decode_pod(build_pod(labels=OURS, status={"containerStatuses": [one]}))
    assert pod is not None
    assert pod.containers[0].message == expected


def test_why_a_pod_waits() -> None:
    raw = build_pod(
        labels=OURS,
        status={
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
            ],
            "containerStatuses": [
                {
                    "name": "main",
                    "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                }
            ],
        },
    )
    pod = decode.decode_pod(raw)
    assert pod is not None
    assert pod.unschedulable_message == "0/2 nodes"
    assert pod.containers == (
        fleet.ContainerState("main", "CrashLoopBackOff", "OOMKilled", 137, "back-off", 3),
    )


def test_a_whole_node() -> None:
    raw = fakes.build_raw(
        "n1",
        labels={"pool": "a"},
        spec={"unschedulable": True},
        status={
            "allocatable": {"cpu": "8", "nvidia.com/gpu": "8", "hugepages-2Mi": "0"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    )
    assert decode.decode_node(raw) == fleet.Node(
        "n1", {"pool": "a"}, {"nvidia.com/gpu": 8}, True, True, uid="uid-n1"
    )


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param(None, id="none yet"),
        pytest.param([{"type": "Ready", "status": "Unknown"}], id="unknown"),
        pytest.param([{"type": "MemoryPressure", "status": "True"}], id="another"),
    ],
)
def test_a_node_is_ready_only_when_it_says_so(conditions: Any) -> None:
    node = decode.decode_node(fakes.build_raw("n1", status={"conditions": conditions}))
    assert node is not None
    assert not node.ready


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional={"spec": JSON, "status": JSON}))
def test_nonsense_is_left_out_and_never_raises(parts: dict[str, Any]) -> None:
    raw = fakes.build_raw("x") | parts
    assert decode.decode_pod(raw) is None
    node = decode.decode_node(raw)
    assert node is None or node.name == "x"


DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "lastTransitionTime": "2030-01-01T00:00:10Z",
}


def finished(at: str) -> dict[str, Any]:
    terminated = {"exitCode": 0, "reason": "Completed", "finishedAt": f"2030-01-01T00:00:{at}Z"}
    return {"containerStatuses": [{"name": "main", "state": {"terminated": terminated}}]}


@pytest.mark.parametrize(
    ("status", "more", "interrupted"),
    [
        pytest.param({}, {}, None, id="works"),
        pytest.param(
            {"conditions": [DISRUPTED]},
            {},
            fleet.Interruption("EvictionByEvictionAPI", "2030-01-01T00:00:10Z"),
            id="is told to end",
        ),
        pytest.param({"conditions": [DISRUPTED | {"status": "False"}]}, {}, None, id="is not any more"),
        pytest.param(
            {"conditions": [DISRUPTED], **finished("11")},
            {},
            fleet.Interruption("EvictionByEvictionAPI", "2030-01-01T00:00:10Z"),
            id="ended because it was told",
        ),
        pytest.param({"conditions": [DISRUPTED], **finished("09")}, {}, None, id="had ended before"),
        pytest.param(
            {},
            {"deletionTimestamp": "2030-01-01T00:00:40Z", "deletionGracePeriodSeconds": 30},
            fleet.Interruption("Deleted", "2030-01-01T00:00:10Z"),
            id="is deleted: asked when its grace began",
        ),
        pytest.param(
            finished("09"),
            {"deletionTimestamp": "2030-01-01T00:00:40Z", "deletionGracePeriodSeconds": 30},
            None,
            id="was done when it was deleted",
        ),
    ],
)
def test_whether_a_pod_was_interrupted(
    status: dict[str, Any], more: dict[str, Any], interrupted: fleet.Interruption | None
) -> None:
    pod = decode.decode_pod(build_pod(labels=OURS, status=status, **more))
    assert pod is not None
    assert pod.interrupted == interrupted


def test_what_the_kubelet_says_of_the_whole_pod() -> None:
    status = {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}
    pod = decode.decode_pod(build_pod(labels=OURS, status=status))
    assert pod is not None
    assert (pod.reason, pod.message) == ("Evicted", "low on memory")
