"""The chart through the real Helm: what it renders, what it refuses."""

from __future__ import annotations

import functools
import pathlib
import subprocess
from typing import Any

import pytest
import yaml

from gpufleet import settings
from gpufleet_sandbox import binaries

CHART = pathlib.Path(__file__).parents[3] / "charts" / "gpufleet"
SIMGPU = "simgpu.enabled=true"


def helm(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [str(binaries.ensure("helm")), *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@functools.cache
def render(*values: str) -> tuple[dict[str, Any], ...]:
    flags = [flag for value in values for flag in ("--set", value)]
    result = helm("template", "gpufleet", str(CHART), "--namespace", "gpufleet-system", *flags)
    assert result.returncode == 0, result.stderr
    return tuple(document for document in yaml.safe_load_all(result.stdout) if document)


def find(kind: str, name: str, *values: str) -> dict[str, Any]:
    [found] = [one for one in render(*values) if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pod_specs(*values: str) -> list[dict[str, Any]]:
    return [
        one["spec"]["template"]["spec"]
        for one in render(*values)
        if one["kind"] in ("Deployment", "DaemonSet")
    ]


def test_lint_is_clean() -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("value", "named"),
    [
        pytest.param("replicas=-1", "replicas", id="negative replicas"),
        pytest.param("image.pullPolicy=Sometimes", "pullPolicy", id="unknown pull policy"),
        pytest.param("image.digest=md5:1", "digest", id="a digest that is none"),
        pytest.param("simgpu.gpusPerNode=0", "gpusPerNode", id="no GPU"),
        pytest.param("operator.logLevel=LOUD", "logLevel", id="unknown log level"),
        pytest.param("replica=2", "replica", id="a misspelt value"),
    ],
)
def test_wrong_values_are_refused_by_name(value: str, named: str) -> None:
    result = helm("template", "x", str(CHART), "--set", value)
    assert result.returncode != 0
    assert named in result.stderr


@pytest.mark.parametrize("plural", ["tritonservices", "trainingjobs", "gpupools"])
def test_crds_are_installed_and_outlive_the_release(plural: str) -> None:
    crd = find("CustomResourceDefinition", f"{plural}.gpufleet.dev")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    source = yaml.safe_load((CHART.parents[1] / "crds" / f"{plural}.gpufleet.dev.yaml").read_text())
    assert crd["spec"] == source["spec"]


def test_crds_can_be_left_to_others() -> None:
    assert not [one for one in render("crds.create=false") if one["kind"] == "CustomResourceDefinition"]


def rules(*values: str) -> list[dict[str, Any]]:
    return [
        rule for one in render(*values) if one["kind"] in ("Role", "ClusterRole") for rule in one["rules"]
    ]


def test_rights_are_explicit() -> None:
    for rule in rules(SIMGPU):
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not words & {"*", "secrets", "escalate", "bind", "impersonate"}, rule


@pytest.mark.parametrize(
    "values", [pytest.param((), id="operator"), pytest.param((SIMGPU,), id="with simgpu")]
)
def test_containers_are_confined(values: tuple[str, ...]) -> None:
    for pod in pod_specs(*values):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"livenessProbe", "readinessProbe"} <= container.keys()


def test_the_operator_is_not_root() -> None:
    [pod] = pod_specs()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


def test_simulated_gpus_are_off_unless_asked_for() -> None:
    assert not [one for one in render() if "simgpu" in one["metadata"]["name"]]
    assert find("DaemonSet", "gpufleet-simgpu", SIMGPU)


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param((), "gpufleet.dev/gpufleet:0.1.0", id="appVersion"),
        pytest.param(("image.tag=v9",), "gpufleet.dev/gpufleet:v9", id="tag"),
        pytest.param(
            ("image.tag=v9", f"image.digest=sha256:{'a' * 64}"),
            f"gpufleet.dev/gpufleet@sha256:{'a' * 64}",
            id="a digest beats a tag",
        ),
    ],
)
def test_image(values: tuple[str, ...], image: str) -> None:
    [pod] = pod_specs(*values)
    assert pod["containers"][0]["image"] == image
    environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert environment["GPUFLEET_AGENT_IMAGE"] == image, "agents run the operator's own image"


def test_every_variable_is_a_setting() -> None:
    [pod] = pod_specs()
    known = {f"GPUFLEET_{name.upper()}" for name in settings.Settings.model_fields}
    assert {one["name"] for one in pod["containers"][0]["env"]} <= known


def test_the_lease_is_the_one_that_the_operator_may_touch() -> None:
    role = find("Role", "gpufleet")
    [named] = [rule for rule in role["rules"] if "resourceNames" in rule]
    assert named["resourceNames"] == [settings.Settings().lease_name]


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_selectors_match_their_pods(kind: str) -> None:
    for one in render(SIMGPU):
        if one["kind"] == kind:
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_several_replicas_get_a_disruption_budget() -> None:
    assert not [one for one in render() if one["kind"] == "PodDisruptionBudget"]
    assert find("PodDisruptionBudget", "gpufleet", "replicas=2")["spec"]["maxUnavailable"] == 1
