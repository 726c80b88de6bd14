"""gpufleet's own chart, installed with the real Helm."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Mapping

from gpufleet_sandbox import addons, gobuild

RELEASE = "gpufleet"
NAMESPACE = "gpufleet-system"
SANDBOX_VALUES = {
    "simgpu.enabled": "true",
    "nodeAgent.enabled": "true",
    "nodeAgent.intervalSeconds": "2",
    "triton.image": "gpufleet.dev/triton:2.51",
    "prometheus.url": f"http://{addons.PROMETHEUS}.kube-system.svc",
    "prometheus.window": "30s",
    "prometheus.intervalSeconds": "5",
    # Simulated GPUs bring DCGM's exporter with them.
    "prometheus.dcgmNamespace": NAMESPACE,
}


class HelmError(RuntimeError):
    """Helm refused; the message is what it printed."""


def install(helm: pathlib.Path, kubeconfig: pathlib.Path, values: Mapping[str, str]) -> str:
    """`helm upgrade --install` of the chart, waiting until all of it is ready. Raises HelmError."""
    argv = [
        str(helm),
        "upgrade",
        "--install",
        RELEASE,
        str(gobuild.tools_root().parent / "charts" / "gpufleet"),
    ]
    argv += ["--namespace", NAMESPACE, "--create-namespace", "--kubeconfig", str(kubeconfig)]
    argv += ["--wait", "--timeout", "4m"]
    for name, value in values.items():
        argv += ["--set-string" if ":" in value else "--set", f"{name}={value}"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode:
        raise HelmError(f"helm: {result.stderr.strip()}")
    return result.stdout
