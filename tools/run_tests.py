"""Runs the layers of the tests in order, then says what took how long."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

from gpufleet_sandbox import binaries, debian, images, progress

ROOT = pathlib.Path(__file__).parents[1]
LAYERS = ("unit", "integration", "e2e")
# Dozens of runs with a killed operator each: `make faults`.
APART = "tests/integration/faults"
# Each has a cluster of its own, and most of an e2e test is waiting. More would miss deadlines on two cores.
STREAMS = 2
GIVEN = "GPUFLEET_TEST_KUBECONFIG"


def prepare(layers: list[str]) -> None:
    """Builds what is not in the cache, here where its progress is seen: pytest keeps what tests print."""
    reporter = progress.Reporter()
    names = {
        "unit": ["helm", "kubectl"],
        "integration": [*binaries.CONTROL_PLANE, "kwok", "helm"],
        "e2e": ["helm"],
    }
    if not os.environ.get(GIVEN):
        names["integration"] += ["prometheus", "prometheus-3", "promtool", "prometheus-alertmanager"]
        names["e2e"] += [*binaries.CONTROL_PLANE, *binaries.NODE, *debian.NODE, "prometheus"]
    with reporter.step("programs", quiet_below_s=1.0):
        binaries.ensure_all(dict.fromkeys(name for layer in layers for name in names[layer]), reporter)
    if "e2e" in layers and os.geteuid() == 0 and not os.environ.get(GIVEN):
        with reporter.step("images", quiet_below_s=1.0):
            images.ensure((*images.DEMO, "s3"), reporter)


def run(layer: str) -> tuple[int, float]:
    """One pytest run over tests/LAYER: its exit code and its duration in seconds."""
    print(f"\n==> tests/{layer}", flush=True)
    started = time.monotonic()
    argv = [sys.executable, "-m", "pytest", f"tests/{layer}", f"--ignore={APART}", "--durations=10", "-q"]
    code = max(subprocess.run([*argv, *more], cwd=ROOT, check=False).returncode for more in _streams(layer))
    return code, time.monotonic() - started


def _streams(layer: str) -> list[list[str]]:
    """Options of the runs that make up a layer; tests of a file stay together, since they share fixtures."""
    if os.environ.get(GIVEN):
        return [[]]
    together = [f"--numprocesses={STREAMS}", "--dist=loadfile"]
    return [[*together, "-m", "not alone"], ["-m", "alone"]] if layer == "e2e" else [together]


def main(layers: list[str]) -> int:
    """Runs every layer even after a failure: one broken layer should not hide another."""
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown:
        print(f"unknown layer {unknown[0]!r}: choose from {', '.join(LAYERS)}")
        return 2
    prepare(layers)
    results = {layer: run(layer) for layer in layers}
    print("\nlayer         result   seconds")
    for layer, (code, seconds) in results.items():
        print(f"{layer:<13} {'passed' if code == 0 else 'FAILED':<8} {seconds:7.1f}")
    return max(code for code, _ in results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(LAYERS)))
