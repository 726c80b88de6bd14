"""How long each query of each board takes where the rules tell of 1,000 services with 10,000 pods."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import TextIO

from gpufleet_sandbox import binaries
from tests.bench import report
from tests.integration.prometheus import alerting, servers, test_dashboards
from tools import dashboards
from tools.dashboards import board as boards

SERVICES, PODS, JOBS, BOARDS, NAMESPACES = 1000, 10_000, 500, 2500, 100
RANGE_S, STEP_S, EVERY_S = 3600, 30, 30
"""An hour as Grafana draws it, of rules that are evaluated every half a minute."""
SPARSE_S = 240
"""Interval of what is told by pod or device: a board reads none of it, but it is there to be passed over."""
GOAL_MS = 200.0
RUNS = 5
QUANTILES = ("0.5", "0.9", "0.95", "0.99", "0.999")
FAILURES = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
PROFILES = ("", "1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb")
STATES = ("used", "free", "unusable")

Labels = tuple[str, ...]
"""One text for each series."""


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder)
        end_s = int(time.time()) // EVERY_S * EVERY_S - 3 * 3600
        series = backfill(data, end_s)
        print(f"{series} series", flush=True)
        for version, name in test_dashboards.PROGRAMS.items():
            with servers.run(pathlib.Path(binaries.ensure(name)), [], "groups: []", data) as url:
                took = sorted(measure(url, end_s), reverse=True)
            for one in took[:3]:
                told = f"{one.took_ms:.1f} ms, {one.cpu_ms:.1f} ms of CPU: {one.query}"
                print(f"  Prometheus {version}: {told}", flush=True)
            told = f"{len(took)} queries, Prometheus {version}"
            rows.append(report.Row(f"slowest of {told}", took[0].took_ms, "ms", GOAL_MS))
            rows.append(report.Row(f"most CPU of {told}", max(one.cpu_ms for one in took), "ms"))
            rows.append(report.Row(f"middle of {told}", statistics.median(one.took_ms for one in took), "ms"))
    report.finish(f"Boards over {SERVICES} services and {PODS} pods", rows)


@dataclasses.dataclass(frozen=True, order=True)
class Taken:
    """Of one query: time at the best of some runs, the server's CPU in the mean of them, and whose it is.

    The best, because what else runs on the machine is none of it; the CPU tells whether much else does.
    """

    took_ms: float
    cpu_ms: float
    query: str


def measure(url: str, end_s: int) -> Iterator[Taken]:
    for board in dashboards.BOARDS:
        for panel in board.panels():
            for query in panel.queries:
                expr = board.fill(query.expr)
                before_s = _read_cpu(url)
                took_s = [_time(url, panel, expr, end_s) for _ in range(RUNS)]
                cpu_s = (_read_cpu(url) - before_s) / RUNS
                yield Taken(1000 * min(took_s), 1000 * cpu_s, f"{board.name}, {panel.title}: {expr}")


def _read_cpu(url: str) -> float:
    """CPU seconds that the server has used."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        lines = response.read().decode().splitlines()
    [found] = [line for line in lines if line.startswith("process_cpu_seconds_total ")]
    return float(found.split()[1])


def _time(url: str, panel: boards.Panel, expr: str, end_s: int) -> float:
    began_s = time.perf_counter()
    if panel.kind == "bars":
        test_dashboards.ask(url, "query", query=expr, time=end_s)
    else:
        test_dashboards.ask(url, "query_range", query=expr, start=end_s - RANGE_S, end=end_s, step=STEP_S)
    return time.perf_counter() - began_s


def backfill(folder: pathlib.Path, end_s: int) -> int:
    """Writes an hour of every recorded series into the folder of a Prometheus; how many series those are."""
    text = folder / "recorded.txt"
    count = 0
    with text.open("w") as file:
        for name in sorted({rule["record"] for rule in alerting.load_rules() if "record" in rule}):
            count += _write(file, name, find_labels(name), end_s)
        file.write("# EOF\n")
    promtool = str(binaries.ensure("promtool"))
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True)
    text.unlink()
    return count


def _write(file: TextIO, name: str, labels: Labels, end_s: int) -> int:
    is_sparse = name.startswith(("pod:", "device:"))
    every_s = SPARSE_S if is_sparse else EVERY_S
    for number, one in enumerate(labels):
        for at_s in range(end_s - RANGE_S - 300, end_s + 1, every_s):
            value = 0.5 + 0.4 * math.sin(number + at_s / 600)
            file.write(f"{name}{{{one}}} {value:.6f} {at_s}\n")
    return len(labels)


def find_labels(name: str) -> Labels:
    """The series that a rule of this name records in such a fleet. Raises KeyError for an unknown level."""
    level = name.partition(":")[0]
    services = tuple(f'namespace="team-{n % NAMESPACES}",tritonservice="s{n}"' for n in range(SERVICES))
    if name.startswith(("service:triton_latency", "service:gpufleet_objective")):
        used = QUANTILES if "latency" in name else ("0.99",)
        return tuple(f'{one},quantile="{quantile}"' for one in services for quantile in used)
    if name.startswith("service:triton_failures"):
        return tuple(f'{one},reason="{reason}"' for one in services for reason in FAILURES)
    if level == "fleet":
        return _find_fleet_labels(name)
    hosts = tuple(f'Hostname="n{n // 8}",UUID="GPU-{n}",gpu="{n % 8}"' for n in range(BOARDS))
    held = tuple(f'namespace="team-{n % NAMESPACES}",pod="p{n}"' for n in range(PODS))
    resources = ("nvidia.com/gpu", *(f"nvidia.com/mig-{one}" for one in PROFILES[1:]))
    return {
        "service": services,
        "job": tuple(f'namespace="team-{n % NAMESPACES}",trainingjob="j{n}"' for n in range(JOBS)),
        "pod": held,
        "device": tuple(f"{one},{hosts[n % BOARDS]}" for n, one in enumerate(held)),
        "board": hosts,
        "node": tuple(f'Hostname="n{n}"' for n in range(BOARDS // 8)),
        "namespace": tuple(f'namespace="team-{n}"' for n in range(NAMESPACES)),
        "model": tuple(f'modelName="{one}"' for one in ("A100", "H100", "H200", "B200")),
        "profile": tuple(f'modelName="H100",GPU_I_PROFILE="{one}"' for one in PROFILES),
        "pool": tuple(
            f'pool="p{n}",resource="{one}",state="{state}"'
            for n in range(20)
            for one in resources
            for state in STATES
        ),
        "gpufleet": tuple(f'kind="k{n}",method="GET",code="200"' for n in range(15)),
    }[level]


def _find_fleet_labels(name: str) -> Labels:
    if "boards" in name:
        return tuple(f'held="{held}"' for held in ("all", "some", "none"))
    if "devices" in name:
        return tuple(f'resource="nvidia.com/mig-{one}",state="{s}"' for one in PROFILES for s in STATES)
    if "objects" in name:
        kinds = ("TritonService", "TrainingJob")
        return tuple(f'kind="{kind}",state="Stalled",reason="r{n}"' for kind in kinds for n in range(20))
    return ("",)


if __name__ == "__main__":
    main()
