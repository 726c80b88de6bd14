"""kubectl as people type it, for the demo and the tests."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any


class KubectlError(RuntimeError):
    """kubectl refused; the message is what it printed."""


@dataclasses.dataclass(frozen=True)
class Kubectl:
    """One kubectl program and the cluster it speaks to."""

    program: pathlib.Path
    kubeconfig: pathlib.Path

    def argv(self, *args: str) -> list[str]:
        return [str(self.program), "--kubeconfig", str(self.kubeconfig), *args]

    def run(self, *args: str, stdin: str | None = None, timeout_s: float = 300.0) -> str:
        """Standard output. Raises KubectlError with standard error."""
        result = subprocess.run(
            self.argv(*args), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if result.returncode:
            raise KubectlError(f"kubectl {' '.join(args)}: {result.stderr.strip()}")
        return result.stdout

    def get(self, *args: str) -> Any:
        """The object or list as JSON."""
        return json.loads(self.run("get", *args, "-o", "json"))


def wait_until(what: str, holds: Callable[[], bool], *, timeout_s: float, every_s: float = 0.5) -> None:
    """Returns when `holds()` is true; its failures count as not yet. Raises TimeoutError naming `what`."""
    deadline = time.monotonic() + timeout_s
    last = ""
    while time.monotonic() < deadline:
        try:
            if holds():
                return
            last = ""
        except (KubectlError, OSError, KeyError, IndexError) as error:
            last = f": {error}"
        time.sleep(every_s)
    raise TimeoutError(f"{what} did not happen within {timeout_s:.0f} s{last}")
