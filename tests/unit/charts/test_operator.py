"""The operator's Deployment: image, settings, scheduling."""

from __future__ import annotations

import pytest

from gpufleet import settings
from tests.unit.charts import rendering
from tests.unit.charts.rendering import environment, find, operator_pod

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param((), "gpufleet.dev/gpufleet:0.1.0", id="appVersion"),
        pytest.param(("image.tag=v9",), "gpufleet.dev/gpufleet:v9", id="tag"),
        pytest.param(
            ("image.tag=v9", f"image.digest={DIGEST}"),
            f"gpufleet.dev/gpufleet@{DIGEST}",
            id="a digest beats a tag",
        ),
        pytest.param(("image.repository=localhost:5000/a/b",), "localhost:5000/a/b:0.1.0", id="repository"),
    ],
)
def test_image(values: tuple[str, ...], image: str) -> None:
    pod = operator_pod(*values)
    assert pod["spec"]["containers"][0]["image"] == image
    assert environment(pod)["GPUFLEET_AGENT_IMAGE"] == image, "agents run the operator's own image"


def test_it_is_not_root_and_mounts_nothing_of_the_node() -> None:
    pod = operator_pod()["spec"]
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 65532)
    assert [(one["name"], one["emptyDir"]) for one in pod["volumes"]] == [("tmp", {})]


LEFT_TO_EXTRA_ENV = {
    "http_host",
    "http_port",
    "poll_agents",
    "request_timeout_s",
    "resync_s",
    "watch_stale_s",
    "lease_name",
    "mig_apply_s",
    "mig_confirm_s",
    "mig_hold_s",
    "mig_settle_s",
    "prometheus_timeout_s",
}


def test_every_setting_is_a_value_or_left_to_extra_env() -> None:
    given = {name.removeprefix("GPUFLEET_").lower() for name in environment(operator_pod())}
    assert given | LEFT_TO_EXTRA_ENV == set(settings.Settings.model_fields)
    assert not given & LEFT_TO_EXTRA_ENV


def test_defaults_of_the_chart_are_those_of_the_operator() -> None:
    defaults = settings.Settings.model_validate({}).model_dump()
    for name, text in environment(operator_pod()).items():
        if text is not None:
            field = name.removeprefix("GPUFLEET_").lower()
            assert settings.Settings.model_validate({field: text}).model_dump()[field] == defaults[field], (
                name
            )


def test_port_and_lease_are_those_of_the_operator() -> None:
    defaults = settings.Settings()
    [container] = operator_pod()["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [defaults.http_port]
    [named] = [rule for rule in find("Role", "gpufleet")["rules"] if "resourceNames" in rule]
    assert named["resourceNames"] == [defaults.lease_name]


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        pytest.param("operator.priorityClassName=high", "priorityClassName", "high", id="priority"),
        pytest.param('operator.nodeSelector={"a":"b"}', "nodeSelector", {"a": "b"}, id="node selector"),
        pytest.param(
            'operator.tolerations=[{"operator":"Exists"}]',
            "tolerations",
            [{"operator": "Exists"}],
            id="taints",
        ),
        pytest.param(
            'operator.affinity={"nodeAffinity":{}}', "affinity", {"nodeAffinity": {}}, id="affinity"
        ),
        pytest.param(
            'imagePullSecrets=[{"name":"s"}]', "imagePullSecrets", [{"name": "s"}], id="pull secrets"
        ),
    ],
)
def test_scheduling(value: str, field: str, expected: object) -> None:
    assert field not in operator_pod()["spec"]
    assert operator_pod(value)["spec"][field] == expected


def test_replicas_spread_by_their_own_labels_unless_told_otherwise() -> None:
    rest = '"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule"'
    value = f'operator.topologySpreadConstraints=[{{{rest}}},{{"labelSelector":{{}},{rest}}}]'
    ours, theirs = operator_pod(value)["spec"]["topologySpreadConstraints"]
    deployment = find("Deployment", "gpufleet")
    assert ours["labelSelector"] == deployment["spec"]["selector"]
    assert theirs["labelSelector"] == {}


def test_extra_variables_and_annotations_come_on_top() -> None:
    env, annotation = 'operator.extraEnv=[{"name":"A","value":"1"}]', 'operator.podAnnotations={"a":"b"}'
    pod = operator_pod(env, annotation)
    assert environment(pod).keys() == environment(operator_pod()).keys() | {"A"}
    assert pod["metadata"]["annotations"] == operator_pod()["metadata"]["annotations"] | {"a": "b"}


def test_several_replicas_get_a_disruption_budget() -> None:
    assert find("PodDisruptionBudget", "gpufleet", "replicas=2")["spec"]["maxUnavailable"] == 1


def test_an_update_starts_the_new_pod_before_it_stops_the_old_one() -> None:
    strategy = find("Deployment", "gpufleet")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_only_pods_that_say_so_have_a_token() -> None:
    for account in rendering.of_kind("ServiceAccount", rendering.SIMGPU):
        assert account["automountServiceAccountToken"] is False
    for workload in rendering.workloads(rendering.SIMGPU):
        assert rendering.pod_of(workload)["spec"]["automountServiceAccountToken"] is True
