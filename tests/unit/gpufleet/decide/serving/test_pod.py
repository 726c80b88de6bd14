from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how

from gpufleet import settings
from gpufleet.api import accelerator as accelerators
from gpufleet.api import triton_service
from gpufleet.decide.serving import pod
from tests import builders, strategies_api
from tests.unit.gpufleet.decide import manifests, podsecurity

DEFAULTS = settings.Settings(agent_image="agent:1", triton_image="triton:1")
SLICE = accelerators.AssignedAccelerator(
    resource="nvidia.com/mig-1g.10gb", count=1, products=["B", "A"], pool="a100"
)
POOL = builders.make_pool(
    podDefaults={
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "runtimeClassName": "nvidia",
        "env": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "LEVEL", "value": "pool"}],
    }
)


def build(assigned: Any = None, pool: Any = None, **spec: Any) -> dict[str, Any]:
    built = pod.build_template(builders.make_service(**spec), assigned, pool, DEFAULTS)
    found: dict[str, Any] = built["spec"]
    return found


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [one for one in spec["containers"] if one["name"] == name]
    return found


@how(max_examples=25, deadline=None)
@given(strategies_api.specs(triton_service.TritonServiceSpec))
def test_every_valid_spec_gives_a_pod_that_may_run(wire: dict[str, Any]) -> None:
    service = builders.make_service()
    service = service.model_copy(update={"spec": triton_service.TritonServiceSpec.model_validate(wire)})
    template = pod.build_template(service, SLICE, POOL, DEFAULTS)
    assert podsecurity.find_violations(template["spec"]) == []
    assert list(manifests.find_unstable(template)) == []
    assert manifests.find_repeated(template["spec"]) == []


def test_the_checker_sees_what_is_wrong() -> None:
    bare = {"containers": [{"name": "c"}], "volumes": [{"name": "v", "hostPath": {}}], "hostPID": True}
    assert len(podsecurity.find_violations(bare)) == 6


@pytest.mark.parametrize(
    ("repository", "volume", "sub_path"),
    [
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "c"}},
            {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
            None,
            id="claim",
        ),
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "c", "path": "team/models/"}},
            {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
            "team/models",
            id="folder of a claim",
        ),
        pytest.param(
            {"image": {"reference": "models:1", "pullPolicy": "Always"}},
            {"image": {"reference": "models:1", "pullPolicy": "Always"}},
            None,
            id="image",
        ),
        pytest.param(
            {"configMap": {"name": "code", "items": [{"key": "a.py", "path": "a/1/model.py"}]}},
            {"configMap": {"name": "code", "items": [{"key": "a.py", "path": "a/1/model.py"}]}},
            None,
            id="ConfigMap",
        ),
    ],
)
def test_repository(repository: dict[str, Any], volume: dict[str, Any], sub_path: str | None) -> None:
    everything = {"configMap": None, **repository}
    built = build(modelRepository=everything)
    [found] = [one for one in built["volumes"] if one["name"] == "models"]
    assert found == {"name": "models", **volume}
    for name in ("triton", "model-agent"):
        [mount] = [one for one in container(built, name)["volumeMounts"] if one["name"] == "models"]
        assert mount["readOnly"] is True
        assert mount.get("subPath") == sub_path


def from_secret(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": name, **more}}}


@pytest.mark.parametrize(
    ("repository", "location", "env"),
    [
        pytest.param({"s3": {"bucket": "models"}}, "s3://models", [], id="S3"),
        pytest.param(
            {
                "s3": {
                    "bucket": "models",
                    "path": "team/",
                    "endpoint": "http://minio.storage:9000",
                    "region": "eu-north-1",
                    "credentialsSecretName": "keys",
                }
            },
            "s3://http://minio.storage:9000/models/team",
            [
                {"name": "AWS_DEFAULT_REGION", "value": "eu-north-1"},
                from_secret("AWS_ACCESS_KEY_ID"),
                from_secret("AWS_SECRET_ACCESS_KEY"),
                from_secret("AWS_SESSION_TOKEN", optional=True),
            ],
            id="a store that speaks S3, with keys",
        ),
        pytest.param({"gcs": {"bucket": "models", "path": "a/b"}}, "gs://models/a/b", [], id="GCS"),
        pytest.param(
            {"azure": {"account": "team", "container": "models", "credentialsSecretName": "keys"}},
            "as://team/models",
            [{"name": "AZURE_STORAGE_ACCOUNT", "value": "team"}, from_secret("AZURE_STORAGE_KEY")],
            id="Azure",
        ),
    ],
)
def test_object_store(repository: dict[str, Any], location: str, env: list[dict[str, Any]]) -> None:
    built = build(modelRepository={"configMap": None, **repository})
    assert f"--model-repository={location} " in container(built, "triton")["command"][-1]
    assert container(built, "triton").get("env", []) == env
    assert [one["name"] for one in built["volumes"]] == ["wanted", "run", "shm"]


def test_a_key_of_google_is_a_file_of_triton_alone() -> None:
    secret = {"gcs": {"bucket": "models", "credentialsSecretName": "keys"}}
    built = build(modelRepository={"configMap": None, **secret})
    [mount] = [one for one in container(built, "triton")["volumeMounts"] if "credentials" in one["name"]]
    assert container(built, "triton")["env"] == [
        {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{mount['mountPath']}/credentials.json"}
    ]
    assert "credentials" not in str(container(built, "model-agent"))


def test_the_repositorys_variables_win() -> None:
    built = build(
        modelRepository={"configMap": None, "s3": {"bucket": "models", "region": "eu-north-1"}},
        template={"env": [{"name": "AWS_DEFAULT_REGION", "value": "nowhere"}, {"name": "A", "value": "1"}]},
    )
    assert container(built, "triton")["env"] == [
        {"name": "AWS_DEFAULT_REGION", "value": "eu-north-1"},
        {"name": "A", "value": "1"},
    ]


def test_an_accelerator_is_asked_for_and_its_products_are_required() -> None:
    built = build(SLICE, POOL, template={"resources": {"limits": {"cpu": "1000m"}}})
    assert container(built, "triton")["resources"] == {
        "requests": {"nvidia.com/mig-1g.10gb": "1"},
        "limits": {"nvidia.com/mig-1g.10gb": "1", "cpu": "1"},
    }
    [term] = built["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"] == [
        {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["A", "B"]}
    ]
    assert "nvidia.com/mig-1g.10gb" not in str(container(built, "model-agent"))


def test_a_slice_is_rather_taken_where_large_ones_survive() -> None:
    found = build(SLICE, POOL)["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    wish = {"key": "gpufleet.dev/prefer-1g.10gb", "operator": "Exists"}
    assert found == [{"weight": 10, "preference": {"matchExpressions": [wish]}}]
    whole = SLICE.model_copy(update={"resource": "nvidia.com/gpu"})
    assert "preferredDuringSchedulingIgnoredDuringExecution" not in str(build(whole, POOL))


def test_a_pool_gives_its_nodes_tolerations_runtime_and_environment() -> None:
    built = build(SLICE, POOL, template={"env": [{"name": "LEVEL", "value": "tenant"}]})
    assert built["nodeSelector"] == {"gpufleet.dev/pool": "a100"}
    assert built["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert built["runtimeClassName"] == "nvidia"
    assert container(built, "triton")["env"] == [
        {"name": "NCCL_DEBUG", "value": "INFO"},
        {"name": "LEVEL", "value": "tenant"},
    ]


def test_without_accelerator_any_node_will_do() -> None:
    built = build()
    assert built.keys().isdisjoint({"affinity", "nodeSelector", "tolerations", "runtimeClassName"})
    assert "resources" not in container(built, "triton")


def test_the_agent_starts_first_stays_and_gates_traffic() -> None:
    built = build()
    assert "initContainers" not in built, "the kubelet would start Triton a second later"
    agent = built["containers"][0]
    assert (agent["name"], agent["image"]) == ("model-agent", "agent:1")
    assert agent["command"] == ["python3", "-m", "gpufleet.agents.model"]
    assert agent["readinessProbe"]["httpGet"]["path"].startswith("/readyz?")


def test_readiness_is_answered_before_the_kubelet_gives_it_up() -> None:
    probe = container(build(), "model-agent")["readinessProbe"]
    wait_s = int(probe["httpGet"]["path"].partition("?wait=")[2])
    assert 0 < wait_s < probe["timeoutSeconds"]
    assert probe["periodSeconds"] == 1, "an answer that came late is followed by the next question at once"


def test_triton_is_ready_as_soon_as_it_runs_and_restarted_when_the_agent_says_that_it_hangs() -> None:
    triton = container(build(), "triton")
    assert triton.keys().isdisjoint({"startupProbe", "readinessProbe"}), "the agent's readiness is the pod's"
    assert triton["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8090}
    assert triton["livenessProbe"]["periodSeconds"] * triton["livenessProbe"]["failureThreshold"] == 60


def test_triton_drains_through_the_agent_within_its_grace() -> None:
    built = build()
    triton = container(built, "triton")
    assert triton["lifecycle"]["preStop"]["httpGet"]["path"] == "/prestop"
    assert triton["lifecycle"]["preStop"]["httpGet"]["port"] == 8090
    assert f"--exit-timeout-secs={pod.EXIT_S}" in triton["command"][-1]
    assert built["terminationGracePeriodSeconds"] > pod.DRAIN_LIMIT_S + pod.EXIT_S
    # gRPC spreads the age by a tenth, so that channels do not all reconnect at once.
    assert f"--grpc-max-connection-age={pod.CONNECTION_AGE_S * 1000} " in triton["command"][-1]
    assert pod.DRAIN_LIMIT_S > pod.CONNECTION_AGE_S * 1.1


def test_only_the_key_opens_the_model_repository() -> None:
    command = container(build(), "triton")["command"][-1]
    for flag in ("--http-restricted-api", "--grpc-restricted-protocol"):
        assert f'{flag}=model-repository:gpufleet-key="$(cat /run/gpufleet/key)"' in command
    assert "--model-control-mode=explicit" in command
    waiting, start = command.split("exec tritonserver ", 1)
    assert "until [ -s /run/gpufleet/key ]" in waiting
    assert "trap 'exit 0' TERM" in waiting, "a shell that waits would be killed only after the grace"
    assert start, "exec: signals reach Triton itself"


def test_the_image_is_the_authors_or_else_the_installations() -> None:
    assert container(build(template={"image": "mine:2"}), "triton")["image"] == "mine:2"
    assert container(build(), "triton")["image"] == "triton:1"
