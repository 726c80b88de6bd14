"""What the DaemonSet tells the node agent, read once from `GPUFLEET_NODE_AGENT_*` variables."""

from __future__ import annotations

import pathlib

import pydantic
import pydantic_settings


class Settings(pydantic_settings.BaseSettings):
    """Settings of one node's agent; `node_name` is the only one without a default."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="GPUFLEET_NODE_AGENT_", frozen=True)

    node_name: str
    namespace: str = ""
    pod_name: str = ""
    """Name of the agent's own pod, in `namespace`; empty: it is no pod of this kubelet."""
    poll_s: float = pydantic.Field(default=5.0, gt=0)
    """Interval between looks at the kubelet and at the Node."""
    pod_resources_socket: pathlib.Path = pathlib.Path("/var/lib/kubelet/pod-resources/kubelet.sock")
    simulated_gpus: pathlib.Path = pathlib.Path("/var/lib/kubelet/plugins/gpufleet-simgpu/gpus.json")
    """Where simulated GPUs keep their state; where it is missing, NVML is asked."""
    boot_id_file: pathlib.Path = pathlib.Path("/proc/sys/kernel/random/boot_id")
    http_host: str = "0.0.0.0"
    http_port: int = 9401
    log_level: str = "INFO"

    @property
    def own_pod(self) -> str:
        """Namespace/name, or empty."""
        return f"{self.namespace}/{self.pod_name}" if self.pod_name else ""
