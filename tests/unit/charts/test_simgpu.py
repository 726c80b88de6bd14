"""The DaemonSet of simulated GPUs: settings, folders, MIG configurations."""

from __future__ import annotations

import json

import pytest

from gpufleet.decide.mig import catalogue
from gpufleet.simgpu import inventory, migconfig, settings
from tests.unit.charts import rendering
from tests.unit.charts.rendering import SIMGPU, environment, find, simgpu_pod


def test_every_variable_is_a_setting_and_its_default_the_same() -> None:
    defaults = settings.Settings(node_name="n").model_dump()
    for name, text in environment(simgpu_pod()).items():
        field = name.removeprefix("GPUFLEET_SIMGPU_").lower()
        assert field in defaults, name
        if text is not None:
            read = settings.Settings.model_validate({"node_name": "n", field: text}).model_dump()
            assert read[field] == defaults[field], name


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        pytest.param("simgpu.model=NVIDIA-A30", "MODEL", "NVIDIA-A30", id="model"),
        pytest.param("simgpu.gpusPerNode=8", "COUNT", "8", id="count"),
        pytest.param("simgpu.migStrategy=single", "MIG_STRATEGY", "single", id="strategy"),
        pytest.param("simgpu.kubeletInsecureTLS=true", "KUBELET_INSECURE_TLS", "true", id="TLS"),
        pytest.param("simgpu.logLevel=DEBUG", "LOG_LEVEL", "DEBUG", id="log level"),
    ],
)
def test_values_become_settings(value: str, name: str, expected: str) -> None:
    assert environment(simgpu_pod(value))[f"GPUFLEET_SIMGPU_{name}"] == expected


def test_the_default_product_is_in_the_catalogue() -> None:
    model = catalogue.model_of_product(environment(simgpu_pod())["GPUFLEET_SIMGPU_MODEL"] or "")
    assert model is not None
    assert model.is_mig_capable


def test_only_folders_that_it_needs_are_mounted() -> None:
    pod = simgpu_pod()["spec"]
    defaults = settings.Settings(node_name="n")
    paths = {one["name"]: one["hostPath"]["path"] for one in pod["volumes"]}
    assert paths == {
        "device-plugins": str(defaults.device_plugins_dir),
        "pod-resources": str(defaults.pod_resources_socket.parent),
        "state": str(defaults.state_dir),
    }
    mounts = {one["name"]: one for one in pod["containers"][0]["volumeMounts"]}
    assert {name: one["mountPath"] for name, one in mounts.items()} == paths
    assert [name for name, one in mounts.items() if one.get("readOnly")] == ["pod-resources"]


def test_simulated_nodes_of_kwok_are_left_alone() -> None:
    affinity = simgpu_pod()["spec"]["affinity"]["nodeAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "type", "operator": "NotIn", "values": ["kwok"]}]


def read_configs(*values: str) -> migconfig.Configs:
    config_map = find("ConfigMap", settings.Settings(node_name="n").mig_config_map, SIMGPU, *values)
    return migconfig.parse(config_map["data"]["config.yaml"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("demo", {0: {"1g.10gb": 7}, 1: {}}, id="one GPU in equal slices"),
        pytest.param("demo-mixed", {0: {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}, 1: {}}, id="mixed"),
    ],
)
def test_mig_configurations_fit_the_default_node(name: str, expected: dict[int, dict[str, int]]) -> None:
    defaults = settings.Settings(node_name="n")
    gpus = inventory.build_gpus("node-a", defaults.model, defaults.count)
    wanted = migconfig.plan_wanted(read_configs()[name], gpus)
    assert {index: dict(one.counts) for index, one in wanted.items()} == expected


def test_own_mig_configurations_join_those_of_the_chart() -> None:
    entry = [{"devices": "all", "mig-enabled": True, "mig-devices": {"1g.12gb": 7}}]
    configs = read_configs(f"simgpu.migConfigs={json.dumps({'mine': entry})}")
    assert configs.keys() == {"demo", "demo-mixed", "mine"}


def test_its_image_is_the_operators() -> None:
    value = "image.tag=v9"
    [ours], [operators] = (
        pod["spec"]["containers"] for pod in (simgpu_pod(value), rendering.operator_pod(value))
    )
    assert ours["image"] == operators["image"]
