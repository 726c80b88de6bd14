"""What the pod template tells the agent, as `GPUFLEET_AGENT_*`.

Not through pydantic: whoever waits for the first answer of a pod would wait for its import as well.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing
from collections.abc import Mapping
from typing import Any

from gpufleet.agents.model import key as keys
from gpufleet.state import names

PREFIX = "GPUFLEET_AGENT_"


@dataclasses.dataclass(frozen=True)
class AgentSettings:
    """Defaults are those of the pod template."""

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
    poll_s: float = 1.0
    """Interval at which the list and the server are looked at."""
    first_poll_s: float = 0.1
    """The same until the pod is ready for the first time."""
    metrics_url: str = f"http://127.0.0.1:{names.TRITON_METRICS_PORT}/metrics"
    measure_s: float = 5.0
    """Interval at which the counters of measured models are read."""
    window_s: float = 300.0
    """How far back a measurement looks."""
    load_timeout_s: float = 3600.0
    start_limit_s: float = 600.0
    """How long Triton may take until it listens, models not counted."""
    drain_s: float = 10.0
    """How long preStop waits at least after readiness is withdrawn, until all who route have heard of it."""
    drain_limit_s: float = 30.0
    """How long preStop waits at most for clients to close their connections."""


def read(environment: Mapping[str, str]) -> AgentSettings:
    """The settings with what the environment says otherwise. Raises ValueError naming the variable."""
    types = typing.get_type_hints(AgentSettings)
    found: dict[str, Any] = {}
    for name, kind in types.items():
        text = environment.get(f"{PREFIX}{name.upper()}")
        if text is not None:
            found[name] = _convert(name, kind, text)
    return AgentSettings(**found)


def _convert(name: str, kind: type, text: str) -> object:
    try:
        value = kind(text)
    except ValueError as error:
        raise ValueError(f"{PREFIX}{name.upper()}: {error}") from error
    if isinstance(value, int | float) and value < 0:
        raise ValueError(f"{PREFIX}{name.upper()}: {text} is less than 0")
    return value
