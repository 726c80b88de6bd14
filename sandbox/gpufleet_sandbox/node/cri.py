"""Whether the container runtime answers the kubelet: its socket is there a while before it does.

A kubelet that comes in between ends with "server is not initialized yet", and nobody starts it again.
"""

from __future__ import annotations

import pathlib
import time

import grpc

from gpufleet_sandbox import processes

_VERSION = "/runtime.v1.RuntimeService/Version"
_POLL_S = 0.05
_ATTEMPT_S = 2.0


def wait_ready(daemon: processes.Process, socket: pathlib.Path, timeout_s: float = 30.0) -> None:
    """Returns when the runtime tells its version. Raises processes.StartError."""
    deadline = time.monotonic() + timeout_s
    while (trouble := _ask(socket)) is not None:
        daemon.check()
        if time.monotonic() > deadline:
            raise processes.StartError(
                f"{daemon.name} did not answer within {timeout_s:.0f} s: {trouble}; "
                f"the end of its log:\n{daemon.tail()}"
            )
        time.sleep(_POLL_S)


def _ask(socket: pathlib.Path) -> str | None:
    """What it says instead of its version; None where it is ready."""
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        # An empty VersionRequest is no bytes at all.
        version = channel.unary_unary(_VERSION)
        try:
            version(b"", timeout=_ATTEMPT_S)
        except grpc.RpcError as error:
            return str(error.details())
    return None
