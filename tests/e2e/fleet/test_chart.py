"""What the chart brings for those who install it, on real nodes."""

from __future__ import annotations

import subprocess

from gpufleet_sandbox import binaries, charts, kubectl


def test_helm_asks_the_operator_whether_it_is_ready(fleet: kubectl.Kubectl) -> None:
    argv = [str(binaries.ensure("helm")), "test", charts.RELEASE, "--namespace", charts.NAMESPACE]
    argv += ["--kubeconfig", str(fleet.kubeconfig), "--timeout", "5m"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Succeeded" in result.stdout
