"""Wrong values are refused before anything is installed, by name."""

from __future__ import annotations

import pytest

from tests.unit.charts import rendering


@pytest.mark.parametrize(
    ("value", "named"),
    [
        pytest.param("replicas=-1", "/replicas", id="negative replicas"),
        pytest.param("replica=2", "'replica' not allowed", id="a misspelt value"),
        pytest.param("image.pullPolicy=Sometimes", "/image/pullPolicy", id="unknown pull policy"),
        pytest.param("image.digest=md5:1", "/image/digest", id="a digest that is none"),
        pytest.param("image.repository=a b", "/image/repository", id="an image with a space"),
        pytest.param("image.tag=v1:2", "/image/tag", id="a tag that is none"),
        pytest.param('imagePullSecrets=["a"]', "/imagePullSecrets/0", id="a Secret without name"),
        pytest.param("crds.create=perhaps", "/crds/create", id="a word for a boolean"),
        pytest.param(
            'userRoles.readers=[{"kind":"Team","name":"a"}]', "/userRoles/readers/0/kind", id="no subject"
        ),
        pytest.param("operator.logLevel=LOUD", "/operator/logLevel", id="unknown log level"),
        pytest.param("operator.workers=0", "/operator/workers", id="no worker"),
        pytest.param("operator.writeRate=0", "/operator/writeRate", id="no write"),
        pytest.param("operator.resources.limit.cpu=1", "'limit' not allowed", id="misspelt limits"),
        pytest.param(
            'operator.nodeSelector={"a": 1}', "/operator/nodeSelector/a", id="a label that is no text"
        ),
        pytest.param(
            'operator.tolerations=[{"effect":"Never"}]', "/operator/tolerations/0/effect", id="unknown effect"
        ),
        pytest.param(
            'operator.topologySpreadConstraints=[{"maxSkew":1}]', "'topologyKey'", id="half a constraint"
        ),
        pytest.param(
            'operator.extraEnv=[{"value":"1"}]', "/operator/extraEnv/0", id="a variable without name"
        ),
        pytest.param("podMonitor.interval=often", "/podMonitor/interval", id="no duration"),
        pytest.param("networkPolicy.from=[{}]", "/networkPolicy/from/0", id="a peer that is nobody"),
        pytest.param("simgpu.gpusPerNode=0", "/simgpu/gpusPerNode", id="no GPU"),
        pytest.param("simgpu.migStrategy=none", "/simgpu/migStrategy", id="unknown MIG strategy"),
        pytest.param(
            'simgpu.migConfigs={"a":[{"devices":"some","mig-enabled":true}]}',
            "/simgpu/migConfigs/a/0/devices",
            id="a MIG configuration of no device",
        ),
        pytest.param(
            "operator.lease.renewSeconds=8",
            "less than half of durationSeconds (15)",
            id="a lease that lapses",
        ),
        pytest.param('watchNamespaces=["a","a"]', "/watchNamespaces", id="a namespace twice"),
        pytest.param('watchNamespaces=["A_b"]', "/watchNamespaces/0", id="no namespace"),
        pytest.param(
            "prometheus.secretName=s", "set the URL of the Prometheus", id="a Secret for no Prometheus"
        ),
        pytest.param(
            "nodeAgent.nvml.starts=true", "needs nodeAgent.nvml.enabled=true", id="starts without a driver"
        ),
        pytest.param(
            'operator.extraEnv=[{"name":"A","value":""},{"name":"A","value":""}]',
            "operator.extraEnv names A twice",
            id="a variable twice",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(value: str, named: str) -> None:
    result = rendering.template(value)
    assert result.returncode != 0
    assert named in result.stderr


def test_no_variable_of_the_chart_can_be_set_beside_its_value() -> None:
    for name in rendering.environment(rendering.operator_pod()):
        result = rendering.template(f'operator.extraEnv=[{{"name":"{name}","value":"1"}}]')
        assert f"names {name} twice" in result.stderr


def test_a_parent_chart_may_switch_it_and_hand_globals_down() -> None:
    assert rendering.render("global.region=west", "enabled=true")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param(("podMonitor.enabled=true",), "PodMonitor", id="monitors"),
        pytest.param(("prometheusRule.enabled=true",), "PrometheusRule", id="rules"),
    ],
)
def test_a_cluster_without_the_prometheus_operator_is_told_apart_from_no_cluster(
    values: tuple[str, ...], kind: str
) -> None:
    known = ("--api-versions", "apps/v1/Deployment")
    refused = rendering.template(*values, flags=known)
    assert f"this cluster has no kind {kind}: install the CRDs of the Prometheus operator" in refused.stderr
    theirs = ("--api-versions", f"monitoring.coreos.com/v1/{kind}")
    assert rendering.template(*values, flags=(*known, *theirs)).returncode == 0
    assert rendering.template(*values).returncode == 0


def test_an_old_kubernetes_is_told_which_one_is_needed() -> None:
    result = rendering.template(flags=("--kube-version", "1.31.4"))
    assert result.returncode != 0
    assert "requires kubeVersion: >=1.33.0-0" in result.stderr
    assert rendering.template(flags=("--kube-version", "1.33.1-eks-1234")).returncode == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param((), "prometheus.url is empty", id="no Prometheus"),
        pytest.param(("replicas=0",), "nothing acts on these objects", id="no replica"),
        pytest.param(('watchNamespaces=["a","b"]',), "acts in a, b only", id="some namespaces"),
        pytest.param(("crds.keep=false",), "deletes the kinds", id="CRDs that go"),
        pytest.param(
            ("podMonitor.enabled=true",), "Set podMonitor.additionalLabels", id="monitors that nobody selects"
        ),
    ],
)
def test_notes_tell_what_may_surprise(values: tuple[str, ...], words: str) -> None:
    assert words in rendering.notes(*values)
    assert words not in rendering.notes("prometheus.url=http://p", "podMonitor.additionalLabels.release=x")
