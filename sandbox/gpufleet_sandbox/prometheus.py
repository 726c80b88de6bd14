"""Prometheus beside the cluster: scrapes every pod that asks for it by the usual annotations."""

from __future__ import annotations

import pathlib
import sys
import time
import urllib.request
from typing import Any

import yaml

from gpufleet_sandbox import processes, state

NAMES = ("prometheus", "prometheus-targets")
_READY_TIMEOUT_S = 30.0


def up(record: state.Record) -> None:
    """Starts Prometheus and its discovery, and returns when it answers. Raises processes.StartError."""
    directory = record.instance.directory
    targets = directory / "prometheus-targets.json"
    finder = [sys.executable, "-m", "gpufleet_sandbox.targets", str(record.instance.kubeconfig), str(targets)]
    processes.start("prometheus-targets", finder, directory)
    config = directory / "prometheus.yaml"
    config.write_text(yaml.safe_dump(build_config(targets), sort_keys=False))
    argv = [record.programs["prometheus"], *build_argv(record, config)]
    _wait_ready(record, processes.start("prometheus", argv, directory))


def down(record: state.Record) -> None:
    for name in NAMES:
        if process := processes.load(name, record.instance.directory):
            process.kill()


def url(record: state.Record) -> str:
    return f"http://{record.address}:{record.ports['prometheus']}"


def build_argv(record: state.Record, config: pathlib.Path) -> list[str]:
    return [
        f"--config.file={config}",
        f"--storage.tsdb.path={record.instance.directory / 'prometheus'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={record.address}:{record.ports['prometheus']}",
    ]


def build_config(targets: pathlib.Path) -> dict[str, Any]:
    discovery = [{"files": [str(targets)], "refresh_interval": "5s"}]
    return {
        "global": {"scrape_interval": "5s", "scrape_timeout": "4s", "evaluation_interval": "5s"},
        "scrape_configs": [{"job_name": "pods", "file_sd_configs": discovery}],
    }


def _wait_ready(record: state.Record, process: processes.Process) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while not _is_ready(record):
        process.check()
        if time.monotonic() > deadline:
            late = f"prometheus was not ready after {_READY_TIMEOUT_S:.0f} s"
            raise processes.StartError(f"{late}; the end of its log:\n{process.tail()}")
        time.sleep(0.1)


def _is_ready(record: state.Record) -> bool:
    try:
        with urllib.request.urlopen(f"{url(record)}/-/ready", timeout=2.0) as response:
            return bool(response.status == 200)
    except OSError:
        return False
