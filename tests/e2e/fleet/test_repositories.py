"""Models that are not in a ConfigMap: on a claim, and in a store that Triton reads itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpufleet_sandbox import images, kubectl
from gpufleet_sandbox.images import recipes
from tests.e2e import conftest
from tests.e2e.fleet import load, manifests, services, test_bad_input

BUCKET = "models"
KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "right"}


def service(namespace: str, repository: dict[str, Any]) -> str:
    """The service alone: its models are not from the test's ConfigMap."""
    whole = test_bad_input.service(namespace, services.NAME, ["doubler"], modelRepository=repository)
    return whole.split("\n---\n")[1]


def run_pod(name: str, namespace: str, image: str, **fields: Any) -> dict[str, Any]:
    """A pod of one container; `volumes` and `restartPolicy` are the pod's."""
    spec = {key: fields.pop(key) for key in ("volumes", "restartPolicy") if key in fields}
    one = {"name": name, "image": image, "securityContext": load.RESTRICTED, **fields}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [one], **spec},
    }


def apply(fleet: kubectl.Kubectl, *objects: dict[str, Any]) -> None:
    services.apply(fleet, "\n---\n".join(map(json.dumps, objects)))


def wait_ready(fleet: kubectl.Kubectl, namespace: str) -> None:
    test_bad_input.wait_ready(fleet, namespace, services.NAME)


def build_claim(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def test_models_on_a_claim(fleet: kubectl.Kubectl, namespace: str) -> None:
    script = (
        "import pathlib, sys; folder = pathlib.Path('/claim/team/models/doubler/1'); "
        "folder.mkdir(parents=True, exist_ok=True); (folder / 'model.py').write_text(sys.argv[1])"
    )
    filler = run_pod(
        "filler",
        namespace,
        recipes.GPUFLEET,
        command=["python3", "-c", script, manifests.DOUBLER],
        volumeMounts=[{"name": "claim", "mountPath": "/claim"}],
        volumes=[{"name": "claim", "persistentVolumeClaim": {"claimName": "models"}}],
        restartPolicy="Never",
    )
    apply(fleet, build_claim(namespace), filler)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    fleet.run("wait", "-n", namespace, "pod/filler", done, services.TIMEOUT)
    repository = {"persistentVolumeClaim": {"claimName": "models", "path": "team/models"}}
    services.apply(fleet, service(namespace, repository))
    wait_ready(fleet, namespace)
    assert services.answers(fleet, namespace, "doubler") == [2.0, 4.0, 6.0, 8.0]
    [pod] = services.pods(fleet, namespace)
    touch = ("exec", "-n", namespace, pod["metadata"]["name"], "-c", "triton", "--", "touch", "/models/x")
    with pytest.raises(kubectl.KubectlError, match="Read-only file system"):
        fleet.run(*touch)


@pytest.fixture
def bucket(sandbox: conftest.Sandbox, fleet: kubectl.Kubectl, namespace: str) -> dict[str, Any]:
    """The repository in a bucket of a server that answers nobody without the keys of the Secret `keys`."""
    sandbox.provider.load_image(images.ensure(["s3"])["s3"])
    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "content", "namespace": namespace},
        "data": {"model.py": manifests.DOUBLER},
    }
    items = [{"key": "model.py", "path": "team/doubler/1/model.py"}]
    server = run_pod(
        "s3",
        namespace,
        recipes.S3,
        # What a ConfigMap shows are links into this folder.
        args=[":9000", BUCKET, "/content/..data/"],
        envFrom=[{"secretRef": {"name": "keys"}}],
        readinessProbe={"tcpSocket": {"port": 9000}, "periodSeconds": 1},
        volumeMounts=[{"name": "content", "mountPath": "/content"}],
        volumes=[{"name": "content", "configMap": {"name": "content", "items": items}}],
    )
    name = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s3", "namespace": namespace},
        "spec": {"selector": {"app": "s3"}, "ports": [{"port": 9000}]},
    }
    apply(fleet, code, secret(namespace, "keys", **KEYS), server, name)
    fleet.run("wait", "-n", namespace, "pod/s3", "--for=condition=Ready", services.TIMEOUT)
    return {
        "bucket": BUCKET,
        "path": "team",
        "endpoint": f"http://s3.{namespace}.svc:9000",
        "region": "us-east-1",
        "credentialsSecretName": "keys",
    }


def secret(namespace: str, name: str, **values: str) -> dict[str, Any]:
    about = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": values}


@pytest.mark.machine
def test_models_in_a_bucket(fleet: kubectl.Kubectl, namespace: str, bucket: dict[str, Any]) -> None:
    services.apply(fleet, service(namespace, {"s3": bucket}))
    wait_ready(fleet, namespace)
    assert services.answers(fleet, namespace, "doubler") == [2.0, 4.0, 6.0, 8.0]
    assert "GET OBJECT" in fleet.run("logs", "-n", namespace, "s3").upper()


@pytest.mark.machine
@pytest.mark.parametrize(
    ("repository", "keys", "said"),
    [
        pytest.param(
            {},
            {**KEYS, "AWS_SECRET_ACCESS_KEY": "wrong"},
            "Check account credentials",
            id="wrong credentials",
        ),
        # Triton takes a bucket that it cannot look into for one that it may not.
        pytest.param({"bucket": "nowhere"}, KEYS, "Check account credentials", id="no such bucket"),
        pytest.param(
            {"path": "nowhere"}, KEYS, "repository path is not a valid directory", id="no such folder"
        ),
    ],
)
def test_a_store_that_gives_nothing_is_said(
    fleet: kubectl.Kubectl,
    namespace: str,
    bucket: dict[str, Any],
    repository: dict[str, str],
    keys: dict[str, str],
    said: str,
) -> None:
    apply(fleet, secret(namespace, "others", **keys))
    wanted = {**bucket, "credentialsSecretName": "others", **repository}
    services.apply(fleet, service(namespace, {"s3": wanted}))
    # The kubelet starts it a second time at once, and only then takes its end for more than an accident.
    test_bad_input.wait_for_kubelet(fleet, namespace, services.NAME, "CrashLoopBackOff")
    took_s = test_bad_input.wait_for_reason(fleet, namespace, services.NAME, "ContainerCrashing", said)
    print(f"{said}: {took_s:.1f} s")
    assert took_s <= test_bad_input.LIMIT_S
