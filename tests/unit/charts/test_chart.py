"""The whole chart: lint, labels, selectors, CRDs, what is confined and what is optional."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from typing import Any

import pytest
import yaml

from gpufleet import settings
from gpufleet.decide.serving import pod
from tests import builders
from tests.unit.charts import rendering
from tests.unit.charts.rendering import EVERYTHING, NODE_AGENT, SIMGPU, find, of_kind, render


@pytest.mark.parametrize(
    "values", [pytest.param((), id="defaults"), pytest.param(EVERYTHING, id="everything")]
)
def test_lint_is_clean(values: tuple[str, ...]) -> None:
    flags = [flag for value in values for flag in ("--set", value)]
    result = rendering.helm("lint", "--strict", str(rendering.CHART), *flags)
    assert result.returncode == 0, result.stdout


def test_no_object_is_there_twice() -> None:
    named = [(one["kind"], one["metadata"]["name"]) for one in render(*EVERYTHING)]
    assert len(named) == len(set(named))


def test_namespaced_objects_are_in_the_namespace_of_the_release() -> None:
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    cluster_wide = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", *policies}
    for one in render(*EVERYTHING):
        wanted = None if one["kind"] in cluster_wide else rendering.NAMESPACE
        assert one["metadata"].get("namespace") == wanted, one["metadata"]["name"]


@pytest.mark.parametrize("plural", ["tritonservices", "trainingjobs", "gpupools"])
def test_crds_are_installed_and_outlive_the_release(plural: str) -> None:
    crd = find("CustomResourceDefinition", f"{plural}.gpufleet.dev")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    source = yaml.safe_load((rendering.CHART.parents[1] / "crds" / f"{plural}.gpufleet.dev.yaml").read_text())
    assert crd["spec"] == source["spec"]


def test_crds_may_go_with_the_release() -> None:
    for crd in of_kind("CustomResourceDefinition", "crds.keep=false"):
        assert "helm.sh/resource-policy" not in crd["metadata"].get("annotations", {})


def test_crds_can_be_left_to_others() -> None:
    assert not of_kind("CustomResourceDefinition", "crds.create=false")


@pytest.mark.parametrize(
    "kind",
    ["Deployment", "DaemonSet", "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"],
)
def test_selectors_match_the_pods_of_one_workload(kind: str) -> None:
    labels = [rendering.pod_of(one)["metadata"]["labels"] for one in rendering.workloads(*EVERYTHING)]
    ours = [one for one in of_kind(kind, *EVERYTHING) if one["metadata"]["name"] != "gpufleet-triton"]
    assert ours
    for one in ours:
        selector = one["spec"].get("podSelector") or one["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & wanted.keys(), "an upgrade changes these"
        assert sum(wanted.items() <= found.items() for found in labels) == 1, one["metadata"]["name"]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((), id="operator"),
        pytest.param((SIMGPU,), id="with simgpu"),
        pytest.param((NODE_AGENT, "nodeAgent.nvml.enabled=true"), id="with node agents"),
    ],
)
def test_containers_are_confined(values: tuple[str, ...]) -> None:
    for workload in rendering.workloads(*values):
        spec = rendering.pod_of(workload)["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        [container] = spec["containers"]
        context = spec.get("securityContext", {}) | container["securityContext"]
        assert "privileged" not in context
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"livenessProbe", "readinessProbe"} <= container.keys()
        assert "memory" in container["resources"]["limits"]


def test_probes_ask_a_port_that_the_container_has() -> None:
    for workload in rendering.workloads(SIMGPU, NODE_AGENT):
        [container] = rendering.pod_of(workload)["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        asked = [container[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
        assert [one["path"] for one in asked] == ["/healthz", "/readyz"]
        assert {one["port"] for one in asked} <= ports


@pytest.mark.parametrize(
    "kind",
    [
        "PodDisruptionBudget",
        "NetworkPolicy",
        "PodMonitor",
        "PrometheusRule",
        "DaemonSet",
        "ConfigMap",
        "ValidatingAdmissionPolicy",
    ],
)
def test_what_is_optional_is_off_unless_asked_for(kind: str) -> None:
    assert not of_kind(kind)
    assert of_kind(kind, *EVERYTHING)


@pytest.mark.parametrize("are_on", [pytest.param(True, id="on"), pytest.param(False, id="off")])
def test_scrape_annotations(are_on: bool) -> None:
    values = (SIMGPU, NODE_AGENT, f"metrics.scrapeAnnotations={str(are_on).lower()}")
    for workload in rendering.workloads(*values):
        template = rendering.pod_of(workload)
        [container] = template["spec"]["containers"]
        found = template["metadata"].get("annotations", {}).get("prometheus.io/port")
        assert found == (str(container["ports"][0]["containerPort"]) if are_on else None)


def test_monitors_carry_the_labels_that_a_prometheus_selects_by() -> None:
    labelled = "podMonitor.additionalLabels.release=stack"
    monitors = of_kind("PodMonitor", *EVERYTHING, labelled, "podMonitor.interval=15s")
    assert {one["metadata"]["name"] for one in monitors} == {
        "gpufleet",
        "gpufleet-simgpu",
        "gpufleet-node-agent",
        "gpufleet-triton",
    }
    for one in monitors:
        assert one["metadata"]["labels"]["release"] == "stack"
        assert [endpoint["interval"] for endpoint in one["spec"]["podMetricsEndpoints"]] == ["15s"]


def test_a_network_policy_names_its_peers() -> None:
    peers = '[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}]'
    [anyone] = of_kind("NetworkPolicy", "networkPolicy.enabled=true")
    [some] = of_kind("NetworkPolicy", "networkPolicy.enabled=true", f"networkPolicy.from={peers}")
    assert anyone["spec"]["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    [rule] = some["spec"]["ingress"]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "monitoring"
    }


def test_the_monitor_of_triton_finds_the_servers_of_a_service() -> None:
    template = pod.build_template(builders.make_service(), None, None, settings.Settings())
    spec = find("PodMonitor", "gpufleet-triton", *EVERYTHING)["spec"]
    assert spec["namespaceSelector"] == {"any": True}
    within = find("PodMonitor", "gpufleet-triton", *EVERYTHING, 'watchNamespaces=["a"]')["spec"]
    assert within["namespaceSelector"] == {"matchNames": ["a"]}
    labels = template["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert all(one["key"] in labels for one in spec["selector"]["matchExpressions"])
    assert set(spec["podTargetLabels"]) <= labels.keys()
    ports = {port["name"] for one in template["spec"]["containers"] for port in one["ports"]}
    assert {one["port"] for one in spec["podMetricsEndpoints"]} <= ports


def test_the_test_of_helm_is_a_confined_pod_that_asks_the_service() -> None:
    pod = find("Pod", "gpufleet-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    spec, [container] = pod["spec"], pod["spec"]["containers"]
    context = spec["securityContext"] | container["securityContext"]
    assert (context["runAsNonRoot"], context["readOnlyRootFilesystem"]) == (True, True)
    assert (context["capabilities"], context["allowPrivilegeEscalation"]) == ({"drop": ["ALL"]}, False)
    assert spec["automountServiceAccountToken"] is False
    assert container["image"] == rendering.operator_pod()["spec"]["containers"][0]["image"]
    [script] = container["args"]
    service = find("Service", "gpufleet")
    host = f"{service['metadata']['name']}.{rendering.NAMESPACE}.svc:{service['spec']['ports'][0]['port']}"
    assert f'"http://{host}/readyz"' in script
    assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items(), "it is no backend"


@pytest.mark.parametrize(
    ("status", "code"), [pytest.param(200, 0, id="ready"), pytest.param(503, 1, id="never ready")]
)
def test_the_test_of_helm_ends_as_the_operator_answers(status: int, code: int) -> None:
    class Operator(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(b'{"role": "leader"}')

        def log_message(self, *_: Any) -> None:
            pass

    [script] = find("Pod", "gpufleet-test")["spec"]["containers"][0]["args"]
    with http.server.HTTPServer(("127.0.0.1", 0), Operator) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"127.0.0.1:{server.server_port}"
        quick = script.replace(f"gpufleet.{rendering.NAMESPACE}.svc:8080", here).replace(
            "sleep(2)", "sleep(0)"
        )
        result = subprocess.run([sys.executable, "-c", quick], capture_output=True, text=True, check=False)
        server.shutdown()
    assert result.returncode == code, result.stderr
    assert "leader" in result.stdout + result.stderr
