"""Runs the layers of the tests in order, then says what took how long."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
LAYERS = ("unit", "integration", "e2e")
# Dozens of runs with a killed operator each: `make faults`.
APART = "tests/integration/faults"


def run(layer: str) -> tuple[int, float]:
    """One pytest run over tests/LAYER: its exit code and its duration in seconds."""
    print(f"\n==> tests/{layer}", flush=True)
    started = time.monotonic()
    argv = [sys.executable, "-m", "pytest", f"tests/{layer}", f"--ignore={APART}", "--durations=5", "-q"]
    code = subprocess.run(argv, cwd=ROOT, env=os.environ, check=False).returncode
    return code, time.monotonic() - started


def main(layers: list[str]) -> int:
    """Runs every layer even after a failure: one broken layer should not hide another."""
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown:
        print(f"unknown layer {unknown[0]!r}: choose from {', '.join(LAYERS)}")
        return 2
    results = {layer: run(layer) for layer in layers}
    print("\nlayer         result   seconds")
    for layer, (code, seconds) in results.items():
        print(f"{layer:<13} {'passed' if code == 0 else 'FAILED':<8} {seconds:7.1f}")
    return max(code for code, _ in results.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(LAYERS)))
