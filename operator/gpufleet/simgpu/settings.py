"""What the DaemonSet of simulated GPUs may change, read once from `GPUFLEET_SIMGPU_*` variables."""

from __future__ import annotations

import pathlib
from typing import Literal

import pydantic
import pydantic_settings

MigStrategy = Literal["mixed", "single"]


class Settings(pydantic_settings.BaseSettings):
    """Settings of one node's simulator; `node_name` is the only one without a default."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="GPUFLEET_SIMGPU_", frozen=True)

    node_name: str
    host_ip: str = ""
    """Address of this node's kubelet; empty: containers' use is unknown and GPUs look idle."""
    namespace: str = "gpufleet-system"
    """Namespace of the ConfigMap with MIG configurations."""
    model: str = "NVIDIA-H100-80GB-HBM3"
    """Value of nvidia.com/gpu.product; a node's own annotation overrides it and the count."""
    count: int = pydantic.Field(default=2, ge=0, le=16)
    mig_strategy: MigStrategy = "mixed"
    mig_config_map: str = "gpufleet-mig-config"
    """ConfigMap with mig-parted's file under config.yaml; absent: the built-in configurations alone."""
    mig_layouts_map: str = "gpufleet-mig-layouts"
    """Another such, which the operator writes; the real mig-manager reads one only."""

    device_plugins_dir: pathlib.Path = pathlib.Path("/var/lib/kubelet/device-plugins")
    pod_resources_socket: pathlib.Path = pathlib.Path("/var/lib/kubelet/pod-resources/kubelet.sock")
    state_dir: pathlib.Path = pathlib.Path("/var/lib/kubelet/plugins/gpufleet-simgpu")
    kubelet_port: int = 10250
    kubelet_insecure_tls: bool = False
    """Accept a kubelet with a self-signed serving certificate."""

    http_host: str = "0.0.0.0"
    http_port: int = 9400
    log_level: str = "INFO"
    reconfigure_s: float = pydantic.Field(default=1.0, ge=0)
    """How long one change of the MIG layout takes."""
    poll_s: float = pydantic.Field(default=2.0, gt=0)
    """Interval between readings of the kubelet: sockets, held devices, containers' use."""
    cores_at_full_load: float = pydantic.Field(default=1.0, gt=0)
    """CPU cores that a container must use per device to look like a GPU at 100 %."""
