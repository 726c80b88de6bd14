"""The real Helm on a real API server: install, upgrade, rollback and uninstall under live objects.

Pods are simulated, so the operator that works meanwhile is a process with the rights that the chart grants.
The older release is the chart as it was before `watchNamespaces`, packaged as 0.0.9, for a clone may lack the
history to make it from. The operator itself is today's in every release.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gpufleet_sandbox import binaries, charts, kubectl, local
from tests import access, builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process

ROOT = pathlib.Path(__file__).parents[3]
CHART = ROOT / "charts" / "gpufleet"
OLDER = pathlib.Path(__file__).with_name("releases") / "gpufleet-0.0.9.tgz"
QUICK = {"GPUFLEET_LEASE_DURATION_S": "3", "GPUFLEET_LEASE_RENEW_S": "0.8", "GPUFLEET_RESYNC_S": "15"}
KINDS = "deployments,replicasets,jobs,services,configmaps,pods"
WITH_HELM_3 = pytest.mark.skipif(
    not os.environ.get("GPUFLEET_TEST_HELM3"), reason="builds Helm 3: set GPUFLEET_TEST_HELM3=1"
)

pytestmark = pytest.mark.timeout(600)


class Helm:
    """One version of Helm on one cluster."""

    def __init__(self, program: str, cluster: Cluster) -> None:
        self.path, self.cluster = binaries.ensure(program), cluster

    def run(self, *args: str) -> str:
        """What it prints; an AssertionError with its words when it fails."""
        result = self.try_run(*args)
        assert result.returncode == 0, f"helm {' '.join(args)}: {result.stderr.strip()}"
        return result.stdout

    def try_run(self, *args: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self.path), *args, "--kubeconfig", str(self.cluster.kubeconfig)]
        if "--namespace" not in args:
            argv += ["--namespace", charts.NAMESPACE]
        return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One of its own without gpufleet: kinds and roles that other tests share come and go here."""
    if os.environ.get("GPUFLEET_TEST_KUBECONFIG"):
        pytest.skip("takes gpufleet itself away")
    provided = local.LocalProvider(f"test-{os.getpid()}-chart", node_count=0, kwok_count=4)
    try:
        provided.up()
        yield Cluster(provided, provided.kubeconfig(), binaries.ensure("kubectl"))
    finally:
        provided.down()


@pytest.fixture(
    params=[pytest.param("helm", id="helm-4"), pytest.param("helm-3", id="helm-3", marks=WITH_HELM_3)]
)
def helm(cluster: Cluster, request: pytest.FixtureRequest) -> Helm:
    return Helm(request.param, cluster)


@pytest.fixture
def team(cluster: Cluster) -> str:
    cluster.kubectl("create", "namespace", "team-a")
    return "team-a"


@pytest.fixture
def objects(tmp_path: pathlib.Path, team: str) -> pathlib.Path:
    """A chart of somebody's own with one object of each kind."""
    folder = tmp_path / "objects"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: objects\nversion: 1.0.0\n")
    wanted = [
        builders_api.make_pool("everything", nodeSelector={"type": "kwok"}),
        builders_api.make_service("vision", team, replicas=2),
        builders_api.make_training_job("llm", team),
    ]
    wanted[0]["spec"]["nodeSelector"] = {"type": "kwok"}
    (folder / "templates" / "all.yaml").write_text(yaml.safe_dump_all(wanted))
    return folder


def read_children(cluster: Cluster, team: str) -> dict[str, Any]:
    """What would change if anything were made anew, started again or written."""
    shown = json.loads(cluster.kubectl("get", KINDS, "-n", team, "-o", "json"))["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": (
            one["metadata"]["uid"],
            one["metadata"].get("generation"),
            [part["restartCount"] for part in one.get("status", {}).get("containerStatuses", ())],
            one.get("data"),
        )
        for one in shown
    }


@pytest.fixture
def today(cluster: Cluster, helm: Helm) -> None:
    """What today's operator may do, also where an older chart grants less: it is what every release runs."""
    shown = yaml.safe_load_all(helm.run("template", charts.RELEASE, str(CHART), "--kube-version=1.36"))
    [rules] = [
        one["rules"]
        for one in shown
        if one and one["kind"] == "ClusterRole" and one["metadata"]["name"] == "gpufleet"
    ]
    group, meta = "rbac.authorization.k8s.io", {"name": "gpufleet-today"}
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}
    account = {"kind": "ServiceAccount", "name": access.ACCOUNT, "namespace": charts.NAMESPACE}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": meta["name"]},
        "subjects": [account],
    }
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all([role, binding]))


def work(cluster: Cluster, folder: pathlib.Path, name: str, after: str = "") -> Any:
    """An operator with the rights of now, which has looked at every object once."""
    client = kubectl.Kubectl(cluster.kubectl_path, cluster.kubeconfig)
    config = access.write_kubeconfig(client, folder / f"{name}.kubeconfig")
    return process.running(config, folder, name, **QUICK)


def look_at_all(operator: process.Operator) -> None:
    operator.wait_ready()

    def has_looked() -> bool:
        counts = [
            operator.metric("gpufleet_reconciles_total", kind=kind)
            for kind in ("TritonService", "TrainingJob", "GPUPool")
        ]
        return all(counts) and operator.metric("gpufleet_cycle_duration_seconds_count") > 0

    process.wait_for("a look at every object", has_looked, 60)
    process.wait_for("nothing left to do", lambda: operator.metric("gpufleet_queue_depth") == 0, 60)


def test_nothing_that_runs_notices_an_upgrade_a_rollback_or_the_end(
    cluster: Cluster, helm: Helm, today: None, team: str, objects: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    helm.run("install", charts.RELEASE, str(OLDER), "--create-namespace", "--wait", "--timeout", "4m")
    with work(cluster, tmp_path, "older") as operator:
        operator.wait_ready()
        helm.run("install", "objects", str(objects), "--namespace", team, "--wait", "--timeout", "4m")
        process.wait_for("servers and workers", lambda: is_running(cluster, team), 120)
        look_at_all(operator)
        before = read_children(cluster, team)
    helm.run("upgrade", charts.RELEASE, str(CHART), "--wait", "--timeout", "4m")
    with work(cluster, tmp_path, "newer") as operator:
        look_at_all(operator)
        assert read_children(cluster, team) == before
    helm.run("rollback", charts.RELEASE, "1", "--wait", "--timeout", "4m")
    with work(cluster, tmp_path, "rolled-back") as operator:
        look_at_all(operator)
        assert read_children(cluster, team) == before
    helm.run("uninstall", charts.RELEASE, "--wait")
    assert cluster.try_kubectl("get", "clusterrole", "gpufleet").returncode != 0
    cluster.kubectl("get", "tsvc/vision", "tjob/llm", "-n", team)
    cluster.kubectl("get", "gpool/everything")
    assert read_children(cluster, team) == before
    helm.run("install", charts.RELEASE, str(CHART), "--wait", "--timeout", "4m")
    assert read_children(cluster, team) == before, "the kinds are taken over with all objects"


def is_running(cluster: Cluster, team: str) -> bool:
    pods = json.loads(cluster.kubectl("get", "pods", "-n", team, "-o", "json"))["items"]
    return len(pods) == 4 and all(one["status"].get("phase") == "Running" for one in pods)


def test_what_cannot_work_is_said_in_a_sentence(cluster: Cluster, helm: Helm) -> None:
    missing = helm.try_run(
        "install", charts.RELEASE, str(CHART), "--set", "podMonitor.enabled=true", "--create-namespace"
    )
    assert "this cluster has no kind PodMonitor: install the CRDs" in missing.stderr
    nowhere = helm.try_run(
        "install", charts.RELEASE, str(CHART), "--set", "watchNamespaces={nowhere}", "--create-namespace"
    )
    assert 'namespaces "nowhere" not found' in nowhere.stderr
    helm.run("uninstall", charts.RELEASE)
    helm.run("install", charts.RELEASE, str(CHART), "--set", "replicas=0", "--create-namespace")
    second = helm.try_run("install", "another", str(CHART), "--namespace", "default")
    assert second.returncode != 0
    assert "gpufleet is here already, as release gpufleet in namespace gpufleet-system" in second.stderr
    assert "helm upgrade gpufleet --namespace gpufleet-system" in second.stderr


def test_plain_manifests_install_the_same(cluster: Cluster, helm: Helm) -> None:
    cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "manifests"))
    available = ("--for=condition=Available", "--timeout=120s", "-n", charts.NAMESPACE)
    cluster.kubectl("wait", "deployment/gpufleet", *available)
    over_it = helm.try_run("install", charts.RELEASE, str(CHART))
    assert "invalid ownership metadata" in over_it.stderr
