"""`gpufleet profile`: measures a model under load of its own and records a ModelProfile."""

from __future__ import annotations

import datetime
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import click

from gpufleet.api import meta, model_profile, triton_service
from gpufleet.decide.autoscaling import capacity
from gpufleet.decide.resources import meta as resources
from gpufleet.decide.serving import batching
from gpufleet.decide.triton import profiles
from gpufleet.state import models, names

_MANAGER = "gpufleet-profile"
_START_LIMIT_S = 120.0
_KEPT_AFTER_S = 600


@click.command()
@click.argument("service", metavar="TRITONSERVICE")
@click.option("--model", "model_name", required=True, help="Name of the model.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the service.")
@click.option(
    "--batches", default="1,2,4,8,16,32", show_default=True, help="Items per request, one run each."
)
@click.option("--concurrency", default="4,16", show_default=True, help="Requests at a time, one run each.")
@click.option("--seconds", default=5.0, show_default=True, help="How long each run takes.")
@click.option(
    "--record-for",
    metavar="TRITONSERVICE",
    help="Another service with the same model, to which the slice that is measured is a choice.",
)
def profile(
    service: str,
    model_name: str,
    namespace: str,
    batches: str,
    concurrency: str,
    seconds: float,
    record_for: str | None,
) -> None:
    """Measure MODEL of TRITONSERVICE under load of its own and record it as a ModelProfile.

    One pod of the service gets the load, from a Job beside it. Users of that pod will notice.
    """
    cluster = _Cluster(namespace)
    measured = cluster.read_service(service)
    owner = cluster.read_service(record_for) if record_for else measured
    pod = cluster.find_pod(service)
    sizes = ["--batches", batches, "--concurrency", concurrency, "--seconds", str(seconds)]
    url = f"{pod['status']['podIP']}:{names.TRITON_GRPC_PORT}"
    job = build_job(namespace, service, _agent_image(pod), ["--url", url, "--model", model_name, *sizes])
    steps = len(batches.split(",")) + len(concurrency.split(","))
    found = None
    with click.progressbar(length=steps, label=f"{model_name} on {pod['metadata']['name']}") as bar:
        for line in cluster.run(job):
            if "progress" in line:
                bar.length = line["progress"]["of"]
                bar.update(1)
            found = line.get("profile", found)
    if found is None:
        raise click.ClickException(
            f"the load ended without a result: kubectl logs -n {namespace} job/{job['metadata']['name']}"
        )
    record = build_record(owner, model_name, found, datetime.datetime.now(datetime.UTC), measured)
    cluster.apply_profile(record)
    _print(record)


def build_job(namespace: str, service: str, image: str, args: list[str]) -> dict[str, Any]:
    """The Job of one profiling run."""
    container = {
        "name": "profile",
        "image": image,
        "args": ["agent", "profile", *args],
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": resources.build_container_security(read_only_root=True),
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": resources.build_pod_security(1000),
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{service}-profile-{uuid.uuid4().hex[:6]}", "namespace": namespace},
        "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": _KEPT_AFTER_S, "template": {"spec": pod}},
    }


def build_record(
    owner: dict[str, Any],
    model_name: str,
    found: dict[str, Any],
    now: datetime.datetime,
    measured: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The ModelProfile, owned by the service, of the hardware of the one that was `measured`.

    Raises click.ClickException where no line can be fitted, or the owner has no such model.
    """
    batches = tuple(models.BatchTime(**one) for one in found["points"])
    points = profiles.pool_points([models.Measured(profiles.SHORTEST_S, batches=batches)])
    service = triton_service.TritonService.model_validate(owner)
    if model_name not in (one.name for one in service.spec.models):
        raise click.ClickException(f"TritonService {service.metadata.name} has no model {model_name}")
    hardware = capacity.find_hardware(triton_service.TritonService.model_validate(measured or owner))
    spec = profiles.build(service.metadata.name, model_name, hardware, found["instances"], points, now)
    if spec is None:
        raise click.ClickException(
            f"{profiles.describe_lack(points)}: take larger --batches or more --seconds"
        )
    load = [model_profile.LoadPoint.model_validate(one) for one in found["load"]]
    spec = spec.model_copy(update={"source": "Load", "load": load})
    name = batching.profile_name(service.metadata.name, model_name, hardware)
    labels = {names.SERVICE_LABEL: service.metadata.name}
    metadata = resources.build_meta(name, service.metadata.namespace, labels)
    reference = resources.build_owner_reference(
        triton_service.KIND, service.metadata.name, service.metadata.uid
    )
    return {
        "apiVersion": meta.API_VERSION,
        "kind": model_profile.KIND,
        "metadata": {**metadata, "ownerReferences": [reference]},
        "spec": spec.to_wire(),
    }


def _agent_image(pod: dict[str, Any]) -> str:
    """The model agent's: it is on the node already."""
    agents = [one for one in pod["spec"]["containers"] if one["name"] == "model-agent"]
    return str(agents[0]["image"])


def _print(record: dict[str, Any]) -> None:
    spec = model_profile.ModelProfileSpec.model_validate(record["spec"])
    click.echo("batch  executions  measured ms")
    for point in spec.points:
        click.echo(f"{point.batch_size:>5}  {point.count:>10}  {point.mean_microseconds / 1000:>11.3f}")
    click.echo("items  at a time   per second    P50 ms    P99 ms")
    for one in spec.load:
        latencies = f"{one.p50_microseconds / 1000:>8.2f}  {one.p99_microseconds / 1000:>8.2f}"
        click.echo(f"{one.batch_size:>5}  {one.concurrency:>9}  {one.throughput:>11.1f}  {latencies}")
    click.echo(f"{profiles.describe(spec)} on {spec.hardware}")
    click.echo(f"recorded as modelprofile/{record['metadata']['name']}")


class _Cluster:
    """The cluster of the user's kubeconfig; every refusal becomes a click.ClickException."""

    def __init__(self, namespace: str) -> None:
        from kubernetes import client, config

        try:
            config.load_kube_config()
        except config.ConfigException as error:
            raise click.ClickException(f"no cluster: {error}") from error
        self._namespace = namespace
        self._core, self._batch = client.CoreV1Api(), client.BatchV1Api()
        self._objects = client.CustomObjectsApi()
        self._plain = client.ApiClient().sanitize_for_serialization

    def read_service(self, name: str) -> dict[str, Any]:
        where = (meta.GROUP, meta.VERSION, self._namespace, triton_service.PLURAL, name)
        found: dict[str, Any] = self._call(self._objects.get_namespaced_custom_object, *where)
        return found

    def find_pod(self, service: str) -> dict[str, Any]:
        """The first ready pod of the service."""
        selector = f"{names.SERVICE_LABEL}={service}"
        listed = self._call(self._core.list_namespaced_pod, self._namespace, label_selector=selector).items
        ready = [
            pod
            for pod in sorted(listed, key=lambda pod: pod.metadata.name)
            if any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or ())
        ]
        if not ready:
            raise click.ClickException(f"{self._namespace}/{service} has no ready pod to measure")
        plain: dict[str, Any] = self._plain(ready[0])
        return plain

    def run(self, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Starts the Job; the JSON lines of its log as they come."""
        self._call(self._batch.create_namespaced_job, self._namespace, job)
        name = self._wait_for_log(job["metadata"]["name"])
        stream = self._call(
            self._core.read_namespaced_pod_log, name, self._namespace, follow=True, _preload_content=False
        )
        for line in stream:
            if line.startswith(b"{"):
                yield json.loads(line)

    def apply_profile(self, record: dict[str, Any]) -> None:
        self._call(
            self._objects.patch_namespaced_custom_object,
            meta.GROUP,
            meta.VERSION,
            self._namespace,
            model_profile.PLURAL,
            record["metadata"]["name"],
            record,
            field_manager=_MANAGER,
            force=True,
            _content_type="application/apply-patch+yaml",
        )

    def _wait_for_log(self, job: str) -> str:
        """Name of the Job's pod, once its container has begun."""
        deadline_s = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline_s:
            listed = self._call(
                self._core.list_namespaced_pod, self._namespace, label_selector=f"job-name={job}"
            ).items
            begun = [pod.metadata.name for pod in listed if pod.status.phase not in (None, "Pending")]
            if begun:
                return str(begun[0])
            time.sleep(0.5)
        raise click.ClickException(
            f"job {job} did not start within {_START_LIMIT_S:.0f} s: kubectl describe job {job}"
        )

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        from kubernetes.client.exceptions import ApiException

        try:
            return method(*args, **kwargs)
        except ApiException as error:
            said = json.loads(error.body)["message"] if error.body else error.reason
            raise click.ClickException(f"the cluster answered {error.status}: {said}") from error
