"""The recommendation for a model whose time per batch is known, from the counters of the real server."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from gpufleet_sandbox import inference, kubectl
from tests.e2e.fleet import manifests, services


def gpufleet(*args: str) -> str:
    """Standard output of the command on this machine."""
    argv = [sys.executable, "-m", "gpufleet.cli.main", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.alone
def test_the_line_is_found_and_the_setting_follows(fleet: kubectl.Kubectl, serving: str) -> None:
    timed = manifests.model("timed", maxBatchSize=16, batching={})
    services.apply(fleet, manifests.service(serving, services.NAME, [timed]))
    kubectl.wait_until(
        "timed alone", lambda: services.models(fleet, serving) == {"timed": "Ready"}, timeout_s=150
    )
    with inference.forward(fleet, serving, f"svc/{services.NAME}", 8001) as address:
        for batch in ("1", "4", "16"):
            gpufleet("agent", "load", f"--url={address}", "--model=timed", "--count=40", f"--batch={batch}")
        said = gpufleet("triton", "tune", address, "timed", "--target-ms=200", "--max-batch=64")
    alpha_ms, beta_ms = map(float, re.findall(r"([0-9.]+) ms", re.findall(r"τ\(b\) = .*", said)[0]))
    assert 19 < alpha_ms < 26, said
    assert 4.7 < beta_ms < 5.5, said
    assert "now:  batches up to 16" in said
    assert "maxBatchSize: 16" in said, "two batches of 16 take 200 ms, of 32 they do not"
