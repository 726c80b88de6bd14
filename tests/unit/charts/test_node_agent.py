"""The DaemonSet of node agents: settings, folders, rights, and what NVML takes."""

from __future__ import annotations

import pytest

from gpufleet.agents.node import settings
from gpufleet.simgpu import main
from gpufleet.simgpu import settings as simgpu_settings
from gpufleet.state import names
from tests.unit.charts import rendering
from tests.unit.charts.rendering import NODE_AGENT, SIMGPU, environment, find, node_agent_pod

PREFIX = "GPUFLEET_NODE_AGENT_"
NVML = "nodeAgent.nvml.enabled=true"
STARTS = "nodeAgent.nvml.starts=true"


def test_every_variable_is_a_setting_and_its_default_the_same() -> None:
    defaults = settings.Settings(node_name="n").model_dump()
    for name, text in environment(node_agent_pod()).items():
        field = name.removeprefix(PREFIX).lower()
        assert field in defaults, name
        if text is not None:
            read = settings.Settings.model_validate({"node_name": "n", field: text}).model_dump()
            assert read[field] == defaults[field], name


def test_values_become_settings() -> None:
    found = environment(node_agent_pod("nodeAgent.intervalSeconds=20", "nodeAgent.logLevel=DEBUG"))
    assert (found[f"{PREFIX}POLL_S"], found[f"{PREFIX}LOG_LEVEL"]) == ("20", "DEBUG")


@pytest.mark.parametrize(
    ("values", "folders"),
    [
        pytest.param((), {"pod-resources"}, id="real nodes"),
        pytest.param((SIMGPU,), {"pod-resources", "simulated-gpus"}, id="with simulated GPUs"),
    ],
)
def test_folders_are_mounted_to_be_read(values: tuple[str, ...], folders: set[str]) -> None:
    pod = node_agent_pod(*values)["spec"]
    defaults = settings.Settings(node_name="n")
    paths = {"pod-resources": defaults.pod_resources_socket, "simulated-gpus": defaults.simulated_gpus}
    mounts = pod["containers"][0]["volumeMounts"]
    assert {one["name"]: one["hostPath"]["path"] for one in pod["volumes"]} == {
        name: str(paths[name].parent) for name in folders
    }
    assert {one["name"]: one["mountPath"] for one in mounts} == {
        name: str(paths[name].parent) for name in folders
    }
    assert all(one["readOnly"] for one in mounts)


def test_the_simulators_file_is_where_the_agent_looks() -> None:
    folder = simgpu_settings.Settings(node_name="n").state_dir
    assert settings.Settings(node_name="n").simulated_gpus == folder / main.STATE_FILE


@pytest.mark.parametrize(
    ("values", "runtime", "added"),
    [
        pytest.param((), None, None, id="without"),
        pytest.param((NVML,), "nvidia", None, id="as a client like any other"),
        pytest.param((NVML, STARTS), "nvidia", ["SYS_ADMIN"], id="with starts"),
        pytest.param((NVML, 'nodeAgent.nvml.runtimeClassName=""'), None, None, id="by the default runtime"),
    ],
)
def test_nvml_takes_what_it_needs(
    values: tuple[str, ...], runtime: str | None, added: list[str] | None
) -> None:
    pod = node_agent_pod(*values)["spec"]
    [container] = pod["containers"]
    assert pod.get("runtimeClassName") == runtime
    assert container["securityContext"]["capabilities"].get("add") == added
    assert ("NVIDIA_VISIBLE_DEVICES" in environment({"spec": pod})) == (NVML in values)


def test_it_gets_and_patches_nodes_and_a_policy_says_which() -> None:
    [rule] = find("ClusterRole", "gpufleet-node-agent", NODE_AGENT)["rules"]
    assert (rule["resources"], set(rule["verbs"])) == (["nodes"], {"get", "patch"})
    policy = find("ValidatingAdmissionPolicy", "gpufleet-node-agent", NODE_AGENT)["spec"]
    binding = find("ValidatingAdmissionPolicyBinding", "gpufleet-node-agent", NODE_AGENT)["spec"]
    account = find("DaemonSet", "gpufleet-node-agent", NODE_AGENT)["spec"]["template"]["spec"]
    user = f"system:serviceaccount:{rendering.NAMESPACE}:{account['serviceAccountName']}"
    assert user in policy["matchConditions"][0]["expression"]
    assert (policy["failurePolicy"], binding["validationActions"]) == ("Fail", ["Deny"])
    assert names.DEVICES_ANNOTATION in policy["validations"][1]["expression"]
