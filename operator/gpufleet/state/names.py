"""Labels, annotations and names that connect an object with its children."""

from __future__ import annotations

PREFIX = "gpufleet.dev/"

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "gpufleet"
SERVICE_LABEL = PREFIX + "service"
JOB_LABEL = PREFIX + "job"
REVISION_LABEL = PREFIX + "revision"
ATTEMPT_LABEL = PREFIX + "attempt"
APPLIED_HASH = PREFIX + "applied-hash"
WAKE_ANNOTATION = PREFIX + "wake"
"""On a TritonService that has scaled to zero: another value wakes it."""

DEVICES_ANNOTATION = PREFIX + "devices"
"""On a Node: the node agent's JSON of its GPUs, their slices and the pods that hold them."""
PREFER_LABEL_PREFIX = PREFIX + "prefer-"
"""On a Node, before a MIG profile as resources spell it: pods that take such a slice are better off here."""
DEVICES_REQUESTED_ANNOTATION = PREFIX + "devices-requested"
"""On a Node: a token; the agent looks anew and answers with it in its JSON."""

FIELD_MANAGER = "gpufleet"
CYCLE_FIELD_MANAGER = "gpufleet-cycle"
SIZING_FIELD_MANAGER = "gpufleet-sizing"
SLICES_FIELD_MANAGER = "gpufleet-slices"

GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
GPU_COUNT_LABEL = "nvidia.com/gpu.count"
MIG_CAPABLE_LABEL = "nvidia.com/mig.capable"
MIG_STRATEGY_LABEL = "nvidia.com/mig.strategy"
MIG_CONFIG_LABEL = "nvidia.com/mig.config"
MIG_STATE_LABEL = "nvidia.com/mig.config.state"
GPU_DEPLOY_LABELS = "nvidia.com/gpu.deploy."

MIG_WANTED_ANNOTATION = PREFIX + "mig-wanted"
MIG_CHANGE_ANNOTATION = PREFIX + "mig-change"
MIG_HOLD_ANNOTATION = PREFIX + "mig-hold"
MIG_CUTS_ANNOTATION = PREFIX + "mig-cuts"
"""On a Node: when changes of its layout have taken how many GPUs away; the disruption budget counts them."""
REPARTITION_TAINT = PREFIX + "repartition"
MIG_CONFIG_PREFIX = "gpufleet-"
DO_NOT_DISRUPT_ANNOTATION = PREFIX + "do-not-disrupt"

COMPLETION_INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"

AGENT_PORT = 8090
TRITON_HTTP_PORT = 8000
TRITON_GRPC_PORT = 8001
TRITON_METRICS_PORT = 8002

WANTED_MODELS_KEY = "models.json"
"""Key of the ConfigMap that tells the model agent what to load."""


def wanted_models_name(service: str) -> str:
    """The ConfigMap that tells the agents of a service what to load."""
    return f"{service}-wanted-models"
