"""What the installation may change, read once from `GPUFLEET_*` environment variables."""

from __future__ import annotations

import os
import socket
from typing import Literal

import pydantic
import pydantic_settings


class Settings(pydantic_settings.BaseSettings):
    """Settings of the operator process; the chart sets them, every default works."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="GPUFLEET_", frozen=True)

    namespace: str = "gpufleet-system"
    """Namespace of the operator: home of its Lease."""
    pod_name: str = pydantic.Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """Identity in the Lease; unique per process."""
    watch_namespaces: str = pydantic.Field(default="", pattern=r"^([a-z0-9-]+(,[a-z0-9-]+)*)?$")
    """Namespaces whose objects are acted on, with commas between them; empty: all. Pods count everywhere."""
    log_level: str = "INFO"
    http_host: str = "0.0.0.0"
    http_port: int = 8080
    """Port of probes, metrics and the read API."""
    metrics_objects: int = pydantic.Field(default=5000, ge=0)
    """Services, and jobs that have not ended, with metrics of their own; of more the first by name."""

    agent_image: str = "gpufleet.dev/gpufleet:0.1.0"
    """Image of the model agent beside every Triton server."""
    triton_image: str = "nvcr.io/nvidia/tritonserver:26.06-py3"
    """Image of a TritonService that names none."""
    poll_agents: bool = True
    """Ask model agents and training jobs how they are; off where pods have no network (KWOK)."""

    workers: int = pydantic.Field(default=8, ge=1, le=64)
    """Objects reconciled at the same time."""
    request_timeout_s: float = pydantic.Field(default=15.0, gt=0)
    """Limit of one API request, watches excepted."""
    write_rate_per_s: float = pydantic.Field(default=100.0, gt=0)
    """Ceiling of API writes, as a token bucket with a burst of twice this."""
    resync_s: float = pydantic.Field(default=300.0, gt=0)
    """Interval between metadata relists of our own kinds, and between full resyncs."""
    watch_stale_s: float = pydantic.Field(default=120.0, gt=0)
    """A watch silent for longer (bookmarks count as sound) fails the liveness probe."""

    prometheus_url: str = pydantic.Field(default="", pattern=r"^(https?://\S+)?$")
    """Base URL of Prometheus or of what speaks its query API; empty: nothing is scaled by load."""
    prometheus_window: str = pydantic.Field(default="1m", pattern=r"^[1-9][0-9]*[sm]$")
    """Range over which rates are taken: at least four scrape intervals."""
    prometheus_interval_s: float = pydantic.Field(default=15.0, ge=1)
    prometheus_timeout_s: float = pydantic.Field(default=10.0, gt=0)
    """Limit of one query."""
    prometheus_secret_dir: str = ""
    """Folder with `token`, `ca.crt`, `tls.crt` and `tls.key`, each where it is needed; all may rotate."""
    prometheus_allow_partial: bool = False
    """Use answers of which Thanos or VictoriaMetrics lacks a part, instead of having no samples at all."""
    prometheus_dcgm_namespace: str = "gpu-operator"
    """Namespace of DCGM's exporter: what it says of `exported_pod` is believed."""

    disruption_gpus_per_hour: float = pydantic.Field(default=0.0, ge=0)
    """GPUs that may be given up within an hour, in the whole fleet, by all acts together; 0: no limit."""
    surge_gpus: float = pydantic.Field(default=0.0, ge=0)
    """GPUs whose servers scaling may have starting at a time, in the whole fleet; 0: no limit."""
    preemption: Literal["Advisory", "Active"] = "Advisory"
    """Whether less urgent gangs give way to more urgent ones, or that is only told."""
    minimum_runtime_s: float = pydantic.Field(default=600.0, ge=0)
    """How long a gang has run before it gives anything up for others, or is resized."""

    mig_prefer_nodes: bool = True
    """Label nodes on which slices should be taken first, so that large ones survive."""
    mig_plugin_policy: Literal["distributed", "packed"] = "distributed"
    """Which slice of a node NVIDIA's device plugin takes: its shared-devices-allocation-policy."""

    mig_namespace: str = "gpu-operator"
    """Namespace of mig-manager and of its ConfigMap."""
    mig_config_map: str = "gpufleet-mig-layouts"
    """mig-manager's ConfigMap, as ClusterPolicy names it in migManager.config.name; gpufleet writes it."""
    mig_config_settle_s: float = pydantic.Field(default=90.0, ge=0)
    """How long a kubelet may take to show a changed ConfigMap to mig-manager."""
    mig_settle_s: float = pydantic.Field(default=5.0, ge=0)
    """How long after a taint the scheduler may still place a pod."""
    mig_confirm_s: float = pydantic.Field(default=15.0, ge=0)
    """How long state, instances and allocatable have to agree that a node is done."""
    mig_apply_s: float = pydantic.Field(default=900.0, gt=0)
    """Limit of one configuration by mig-manager, until the node goes back to the layout before."""
    mig_hold_s: float = pydantic.Field(default=600.0, ge=0)
    """How long a node is left alone after a change that came to nothing; doubled with each in a row."""

    lease_name: str = "gpufleet-operator"
    lease_duration_s: float = pydantic.Field(default=15.0, gt=0)
    lease_renew_s: float = pydantic.Field(default=4.0, gt=0)
    """Interval between renewals; each request has half of it as its time limit."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """`watch_namespaces` one by one; a single empty name stands for all of them."""
        return tuple(sorted(set(self.watch_namespaces.split(","))))

    @pydantic.model_validator(mode="after")
    def _lease_intervals_leave_room(self) -> Settings:
        if self.lease_renew_s * 2 >= self.lease_duration_s:
            raise ValueError("lease_renew_s must be less than half of lease_duration_s")
        return self
