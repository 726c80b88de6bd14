"""RBAC: explicit, no more than the code asks for, and roles for people."""

from __future__ import annotations

import pytest

from gpufleet import kube, settings
from gpufleet.api import crd
from tests.unit.charts import rendering
from tests.unit.charts.rendering import EVERYTHING, find, rules

LOOK = {"list", "watch"}
READ = LOOK | {"get"}
WRITE_CHILDREN = READ | {"create", "patch", "delete"}


def granted(role: str, kind: str, *values: str) -> dict[tuple[str, str], set[str]]:
    """(API group, resource) → verbs."""
    return verbs_of(find(kind, role, *values))


def verbs_of(role: rendering.Object) -> dict[tuple[str, str], set[str]]:
    """(API group, resource) → verbs."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


@pytest.mark.parametrize(
    "word", ["*", "secrets", "escalate", "bind", "impersonate", "nodes/proxy", "pods/exec"]
)
def test_no_role_says(word: str) -> None:
    for rule in rules(*EVERYTHING):
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert word not in words, rule
        assert "nonResourceURLs" not in rule


def test_the_operator_has_exactly_these_rights_in_the_cluster() -> None:
    ours = ("tritonservices", "trainingjobs", "gpupools")
    assert granted("gpufleet", "ClusterRole") == {
        **{("gpufleet.dev", plural): READ for plural in ours},
        **{("gpufleet.dev", f"{plural}/status"): {"patch"} for plural in ours},
        ("gpufleet.dev", "tritonservices/finalizers"): {"update"},
        ("gpufleet.dev", "trainingjobs/finalizers"): {"update"},
        ("gpufleet.dev", "modelprofiles"): WRITE_CHILDREN,
        ("apps", "deployments"): WRITE_CHILDREN,
        ("batch", "jobs"): WRITE_CHILDREN,
        ("gateway.networking.k8s.io", "httproutes"): WRITE_CHILDREN,
        ("gateway.networking.k8s.io", "grpcroutes"): WRITE_CHILDREN,
        ("", "services"): WRITE_CHILDREN,
        ("", "configmaps"): WRITE_CHILDREN,
        ("", "pods"): LOOK,
        ("scheduling.k8s.io", "priorityclasses"): LOOK,
        ("resource.k8s.io", "resourceslices"): LOOK,
        ("", "nodes"): READ | {"patch"},
        ("", "pods/eviction"): {"create"},
        ("", "events"): {"list", "watch", "create", "patch"},
        ("apiextensions.k8s.io", "customresourcedefinitions"): {"list", "watch"},
    }


WATCHED = 'watchNamespaces=["team-a","team-b"]'


def test_of_some_namespaces_it_has_the_same_rights_there_and_reads_what_the_fleet_is_of() -> None:
    everywhere, cluster = granted("gpufleet", "ClusterRole"), granted("gpufleet", "ClusterRole", WATCHED)
    assert cluster == {
        ("gpufleet.dev", "gpupools"): READ,
        ("gpufleet.dev", "gpupools/status"): {"patch"},
        ("", "pods"): LOOK,
        ("", "nodes"): READ | {"patch"},
        ("", "namespaces"): {"list", "watch"},
        ("scheduling.k8s.io", "priorityclasses"): LOOK,
        ("resource.k8s.io", "resourceslices"): LOOK,
        ("apiextensions.k8s.io", "customresourcedefinitions"): {"list", "watch"},
    }
    roles = [
        one for one in rendering.of_kind("Role", WATCHED) if one["metadata"]["name"] == "gpufleet-workloads"
    ]
    assert [one["metadata"]["namespace"] for one in roles] == ["team-a", "team-b"]
    for role in roles:
        assert cluster | verbs_of(role) == everywhere | {("", "namespaces"): {"list", "watch"}}
    assert granted("gpufleet-pools", "Role", WATCHED) == {("", "events"): {"create", "patch"}}


def test_roles_of_namespaces_are_bound_where_they_are() -> None:
    bound = {
        (one["metadata"]["namespace"], one["roleRef"]["name"]): one["subjects"]
        for one in rendering.of_kind("RoleBinding", WATCHED)
    }
    roles = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in rendering.of_kind("Role", WATCHED)
    }
    assert bound.keys() == roles - {(rendering.NAMESPACE, "gpufleet-snapshot")}
    account = {"kind": "ServiceAccount", "name": "gpufleet", "namespace": rendering.NAMESPACE}
    assert all(subjects == [account] for subjects in bound.values())
    assert (
        rendering.environment(rendering.operator_pod(WATCHED))["GPUFLEET_WATCH_NAMESPACES"] == "team-a,team-b"
    )


def test_the_operator_writes_one_lease_at_home() -> None:
    assert granted("gpufleet", "Role") == {("coordination.k8s.io", "leases"): {"create", "get", "update"}}


def test_every_kind_that_the_operator_asks_for_is_granted() -> None:
    resources = {resource for kind in ("ClusterRole", "Role") for _, resource in granted("gpufleet", kind)}
    assert set(kube.PLURALS.values()) <= resources


def test_simulated_gpus_touch_nodes_and_read_two_config_maps() -> None:
    assert granted("gpufleet-simgpu", "ClusterRole", rendering.SIMGPU) == {
        ("", "nodes"): READ | {"patch"},
        ("", "nodes/stats"): {"get"},
    }
    [rule] = find("Role", "gpufleet-simgpu", rendering.SIMGPU)["rules"]
    assert (rule["resources"], set(rule["verbs"])) == (["configmaps"], READ)
    theirs = rendering.of_kind("ConfigMap", rendering.SIMGPU)[0]["metadata"]["name"]
    assert rule["resourceNames"] == [theirs, settings.Settings().mig_config_map]


@pytest.mark.parametrize("kind", ["ClusterRoleBinding", "RoleBinding"])
def test_bindings_join_an_account_to_a_role_of_the_chart(kind: str) -> None:
    accounts = {one["metadata"]["name"] for one in rendering.of_kind("ServiceAccount", *EVERYTHING)}
    for binding in rendering.of_kind(kind, *EVERYTHING):
        find(binding["roleRef"]["kind"], binding["roleRef"]["name"], *EVERYTHING)
        [subject] = binding["subjects"]
        assert subject["name"] in accounts
        assert subject["namespace"] == rendering.NAMESPACE


AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


@pytest.mark.parametrize(
    ("role", "joins"),
    [
        pytest.param("gpufleet-view", {"view", "edit", "admin"}, id="view"),
        pytest.param("gpufleet-edit", {"edit", "admin"}, id="edit"),
        pytest.param("gpufleet-platform", set(), id="pools are bound by hand"),
    ],
)
def test_roles_for_people(role: str, joins: set[str]) -> None:
    labels = find("ClusterRole", role)["metadata"]["labels"]
    assert {one.removeprefix(AGGREGATE) for one in labels if one.startswith(AGGREGATE)} == joins
    apart = find("ClusterRole", role, "userRoles.aggregate=false")["metadata"]["labels"]
    assert not [one for one in apart if one.startswith(AGGREGATE)]


def test_people_may_see_every_kind_and_write_what_is_theirs() -> None:
    seen, edited = granted("gpufleet-view", "ClusterRole"), granted("gpufleet-edit", "ClusterRole")
    assert {plural for _, plural in seen if "/" not in plural} == {kind.plural for kind in crd.KINDS}
    assert all(verbs == READ for verbs in seen.values())
    assert {plural for _, plural in edited if "/" not in plural} == {
        "tritonservices",
        "trainingjobs",
        "modelprofiles",
    }
    assert {plural for _, plural in granted("gpufleet-platform", "ClusterRole")} == {"gpupools"}


def test_reading_the_snapshot_is_a_right_of_its_own() -> None:
    [rule] = find("Role", "gpufleet-snapshot")["rules"]
    service = find("Service", "gpufleet")
    [port] = service["spec"]["ports"]
    assert rule["verbs"] == ["get"]
    assert f"{service['metadata']['name']}:{port['name']}" in rule["resourceNames"]


def test_readers_of_the_whole_fleet_are_named_by_the_platform_team() -> None:
    bindings = [one["metadata"]["name"] for one in rendering.of_kind("RoleBinding")]
    assert "gpufleet-snapshot" not in bindings
    binding = find("RoleBinding", "gpufleet-snapshot", 'userRoles.readers=[{"kind":"Group","name":"sre"}]')
    assert binding["roleRef"]["name"] == "gpufleet-snapshot"
    assert binding["subjects"] == [{"kind": "Group", "name": "sre"}]
