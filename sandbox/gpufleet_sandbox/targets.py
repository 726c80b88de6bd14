"""Finds what Prometheus shall scrape: pods that ask for it by the usual annotations, as a file_sd file.

Debian builds Prometheus without its Kubernetes discovery, so this process stands in for it:
`python -m gpufleet_sandbox.targets KUBECONFIG FILE`.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from gpufleet_sandbox import apiclient, kwok

SCRAPE = "prometheus.io/scrape"
PORT = "prometheus.io/port"
PATH = "prometheus.io/path"
_EVERY_S = 2.0


def build_targets(pods: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Prometheus' file_sd groups, one per running pod that asks; pods of simulated nodes have no network."""
    return [_build_target(pod) for pod in pods if _is_wanted(pod)]


def write_if_changed(path: pathlib.Path, groups: list[dict[str, Any]]) -> None:
    text = json.dumps(groups, indent=1, sort_keys=True)
    if not path.exists() or path.read_text() != text:
        part = path.with_suffix(".part")
        part.write_text(text)
        part.replace(path)


def main(kubeconfig: pathlib.Path, path: pathlib.Path) -> None:
    """Keeps `path` up to date for ever; an API server that is away changes nothing."""
    with apiclient.ApiClient(kubeconfig) as client:
        while True:
            try:
                # resourceVersion=0 is answered from the API server's cache.
                pods = client.get("/api/v1/pods?resourceVersion=0")["items"]
                write_if_changed(path, build_targets(pods))
            except (OSError, apiclient.ApiError) as error:
                print(error, file=sys.stderr, flush=True)
            time.sleep(_EVERY_S)


def _is_wanted(pod: Mapping[str, Any]) -> bool:
    annotations = pod["metadata"].get("annotations") or {}
    status = pod.get("status") or {}
    return (
        annotations.get(SCRAPE) == "true"
        and annotations.get(PORT, "").isdigit()
        and status.get("phase") == "Running"
        and bool(status.get("podIP"))
        and not kwok.is_simulated(pod["spec"].get("nodeName", ""))
    )


def _build_target(pod: Mapping[str, Any]) -> dict[str, Any]:
    metadata = pod["metadata"]
    annotations = metadata["annotations"]
    labels = {
        "namespace": metadata["namespace"],
        "pod": metadata["name"],
        "node": pod["spec"]["nodeName"],
        "__metrics_path__": annotations.get(PATH, "/metrics"),
    }
    return {"targets": [f"{pod['status']['podIP']}:{annotations[PORT]}"], "labels": labels}


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
