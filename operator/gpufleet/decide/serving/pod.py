"""The pod of a TritonService: the Triton server and, beside it, the model agent.

The agent makes the key that Triton's model-repository API then asks for, so inference
clients can neither load nor unload. Readiness and draining are the agent's, because Triton's own ready
flag is true after an unload and false while any model loads (triton-inference-server/server #7588, #5940).
"""

from __future__ import annotations

import shlex
from typing import Any

from gpufleet import settings
from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, triton_service
from gpufleet.api import meta as api_meta
from gpufleet.decide.resources import meta
from gpufleet.decide.serving import repository
from gpufleet.state import names

USER = 1000
CONNECTION_AGE_S = 20
"""A channel is told to reconnect after this long, give or take a tenth: so a new server gets its share, and
one that leaves loses its clients. HTTP connections have no such limit in Triton."""
DRAIN_S = 10
DRAIN_LIMIT_S = 30
EXIT_S = 30
GRACE_S = DRAIN_LIMIT_S + EXIT_S + 15
KEY_HEADER = "gpufleet-key"
RUN_PATH = "/run/gpufleet"
WANTED_PATH = "/etc/gpufleet/models"
_SHARED_MEMORY = "256Mi"
PROBE_WAIT_S = 4
"""How long the agent may hold back its answer to a readiness probe, which comes when models are ready."""

# Only a shell can read the key from a file, and the agent makes it while this container starts; exec leaves
# Triton as the process that gets signals.
_START = f"""trap 'exit 0' TERM
until [ -s {RUN_PATH}/key ]; do sleep 0.05; done
exec tritonserver \
--model-repository={{location}} \
--model-control-mode=explicit \
--http-restricted-api=model-repository:{KEY_HEADER}="$(cat {RUN_PATH}/key)" \
--grpc-restricted-protocol=model-repository:{KEY_HEADER}="$(cat {RUN_PATH}/key)" \
--grpc-max-connection-age={CONNECTION_AGE_S * 1000} \
--metrics-config=summary_latencies=true \
--rate-limit=execution_count \
--exit-timeout-secs={EXIT_S}{{cache}}
"""


def build_template(
    service: triton_service.TritonService,
    assigned: accelerators.AssignedAccelerator | None,
    pool: gpu_pool.GPUPool | None,
    defaults: settings.Settings,
) -> dict[str, Any]:
    """The pod template, without the label of its revision, which is made from it."""
    template = service.spec.template or triton_service.ServerTemplate()
    image = template.image or defaults.triton_image
    models = repository.build(service.spec.model_repository)
    spec = {
        **meta.build_pool_fields(pool),
        "affinity": meta.build_affinity(assigned),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": meta.build_pod_security(USER),
        "terminationGracePeriodSeconds": GRACE_S,
        "priorityClassName": template.priority_class_name,
        "imagePullSecrets": [secret.to_wire() for secret in template.image_pull_secrets],
        "containers": [
            _build_agent(models, defaults),
            _build_triton(models, image, template, assigned, pool),
        ],
        "volumes": _build_volumes(service, models),
    }
    annotations = {
        "kubectl.kubernetes.io/default-container": "triton",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(names.TRITON_METRICS_PORT),
    }
    labels = {names.MANAGED_BY: names.MANAGER, names.SERVICE_LABEL: service.metadata.name}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": meta.without_empty(spec)}


def _build_triton(
    models: repository.Repository,
    image: str,
    template: triton_service.ServerTemplate,
    assigned: accelerators.AssignedAccelerator | None,
    pool: gpu_pool.GPUPool | None,
) -> dict[str, Any]:
    ports = {
        "http": names.TRITON_HTTP_PORT,
        "grpc": names.TRITON_GRPC_PORT,
        "metrics": names.TRITON_METRICS_PORT,
    }
    # A startup probe is asked for the first time up to two seconds after the start, and would hold up the
    # pod; the agent knows a server that is starting from one that hangs.
    live = {"path": "/livez", "port": names.AGENT_PORT}
    container = {
        "name": "triton",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", _build_start(models, template)],
        "env": _build_env(models, meta.build_env(meta.pool_env(pool), template.env)),
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
        "resources": meta.build_resources(template.resources, assigned),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "livenessProbe": {"httpGet": live, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
        "lifecycle": {
            "preStop": {"httpGet": {"path": "/prestop", "port": names.AGENT_PORT, "scheme": "HTTP"}}
        },
        "securityContext": meta.build_container_security(read_only_root=False),
        "volumeMounts": [
            *models.shared_mounts,
            *models.triton_mounts,
            {"name": "run", "mountPath": RUN_PATH, "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    return meta.without_empty(container)


def _build_start(models: repository.Repository, template: triton_service.ServerTemplate) -> str:
    size = template.response_cache_size
    cache = f" --cache-config=local,size={api_meta.quantity_to_bytes(size)}" if size else ""
    return _START.format(location=shlex.quote(models.location), cache=cache)


def _build_env(models: repository.Repository, others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The repository's own variables win: what it says of credentials is what is meant."""
    ours = {one["name"] for one in models.env}
    return [*models.env, *(one for one in others if one["name"] not in ours)]


def _build_agent(models: repository.Repository, defaults: settings.Settings) -> dict[str, Any]:
    """Begun before Triton and, as it waits for Triton's end by itself, gone after it.

    No sidecar in Kubernetes' sense: the kubelet starts what follows one when it next looks, a second later.
    """

    def probe(path: str, **limits: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "agent"}, **limits}

    return {
        "name": "model-agent",
        "image": defaults.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "gpufleet.agents.model"],
        "env": [
            {
                "name": "GPUFLEET_AGENT_POD",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
            },
            {"name": "GPUFLEET_AGENT_DRAIN_S", "value": str(DRAIN_S)},
            {"name": "GPUFLEET_AGENT_DRAIN_LIMIT_S", "value": str(DRAIN_LIMIT_S)},
        ],
        "ports": [{"name": "agent", "containerPort": names.AGENT_PORT, "protocol": "TCP"}],
        "readinessProbe": probe(
            f"/readyz?wait={PROBE_WAIT_S}",
            periodSeconds=1,
            failureThreshold=1,
            timeoutSeconds=PROBE_WAIT_S + 1,
        ),
        "livenessProbe": probe("/healthz", periodSeconds=10, failureThreshold=6, timeoutSeconds=5),
        "resources": {"requests": {"cpu": "10m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": meta.build_container_security(read_only_root=True),
        "volumeMounts": [
            *models.shared_mounts,
            {"name": "run", "mountPath": RUN_PATH},
            {"name": "wanted", "mountPath": WANTED_PATH, "readOnly": True},
        ],
    }


def _build_volumes(
    service: triton_service.TritonService, models: repository.Repository
) -> list[dict[str, Any]]:
    return [
        *models.volumes,
        {"name": "wanted", "configMap": {"name": names.wanted_models_name(service.metadata.name)}},
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY}},
    ]
