"""What the pod template tells the agent, as `GPUFLEET_AGENT_*`."""

from __future__ import annotations

import pathlib

import pydantic
import pydantic_settings

from gpufleet.agents.model import key as keys
from gpufleet.state import names


class AgentSettings(pydantic_settings.BaseSettings):
    """Defaults are those of the pod template."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="GPUFLEET_AGENT_", frozen=True)

    wanted: pathlib.Path = pathlib.Path("/etc/gpufleet/models") / names.WANTED_MODELS_KEY
    """The list of wanted models, a mounted ConfigMap."""
    models: pathlib.Path = pathlib.Path("/models")
    """The model repository, as Triton sees it too."""
    key: pathlib.Path = pathlib.Path(keys.PATH)
    """Where the key of Triton's model-repository API goes."""
    state: pathlib.Path = pathlib.Path("/run/gpufleet/loaded.json")
    """What was loaded, for an agent that restarts beside a server that did not."""
    pod: str = ""
    """Name of the pod: what is tried on one pod names it."""
    key_header: str = "gpufleet-key"
    triton: str = f"127.0.0.1:{names.TRITON_GRPC_PORT}"
    host: str = "0.0.0.0"
    port: int = names.AGENT_PORT
    poll_s: float = pydantic.Field(default=1.0, gt=0)
    """Interval at which the list and the server are looked at."""
    first_poll_s: float = pydantic.Field(default=0.1, gt=0)
    """The same until the pod is ready for the first time."""
    metrics_url: str = f"http://127.0.0.1:{names.TRITON_METRICS_PORT}/metrics"
    measure_s: float = pydantic.Field(default=5.0, gt=0)
    """Interval at which the counters of measured models are read."""
    window_s: float = pydantic.Field(default=300.0, gt=0)
    """How far back a measurement looks."""
    load_timeout_s: float = pydantic.Field(default=3600.0, gt=0)
    drain_s: float = pydantic.Field(default=10.0, ge=0)
    """How long preStop waits at least after readiness is withdrawn, until all who route have heard of it."""
    drain_limit_s: float = pydantic.Field(default=30.0, ge=0)
    """How long preStop waits at most for clients to close their connections."""
