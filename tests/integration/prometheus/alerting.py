"""Series for promtool, and what fires on them; all rules of the chart are loaded, so nothing else may."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from gpufleet_sandbox import binaries

RULES = pathlib.Path(__file__).parents[3] / "charts" / "gpufleet" / "files" / "rules"
MINUTES = 90
OPERATOR = 'namespace="gpufleet-system",pod="gpufleet-0"'
SERVICE = 'object_namespace="team-a",tritonservice="vision"'
JOB = 'object_namespace="team-b",trainingjob="llm"'

Series = dict[str, str]
"""Values of each minute in promtool's notation, by series."""


def load_groups() -> list[dict[str, Any]]:
    """The groups of all files of rules, as the chart has them."""
    return [
        group for path in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(path.read_text())["groups"]
    ]


def load_rules() -> list[dict[str, Any]]:
    return [rule for group in load_groups() for rule in group["rules"]]


def told(name: str, value: float, labels: str = "") -> Series:
    """A constant that the operator tells."""
    between = "," if labels else ""
    return {f"gpufleet_{name}{{{OPERATOR}{between}{labels}}}": f"{value:g}x{MINUTES}"}


def counted(name: str, per_minute: float, labels: str = "") -> Series:
    """A counter that the operator tells."""
    between = "," if labels else ""
    return {f"gpufleet_{name}{{{OPERATOR}{between}{labels}}}": f"0+{per_minute:g}x{MINUTES}"}


def histogram(name: str, share_within: Mapping[str, float]) -> Series:
    """A hundred observations a minute, of which these shares are within these bounds."""
    found: Series = {}
    for bound, share in {**share_within, "+Inf": 1.0}.items():
        found |= counted(f"{name}_bucket", 100 * share, f'le="{bound}"')
    return found


def leads() -> Series:
    return told("leader", 1)


def owns(pod: str, *, service: str = "", job: str = "", namespace: str = "") -> Series:
    team = namespace or ("team-a" if service else "team-b")
    labels = f'object_namespace="{team}",object_pod="{pod}",tritonservice="{service}",trainingjob="{job}"'
    return told("pod_info", 1, labels)


def serves(per_minute: float, failing: Mapping[str, float] | None = None, latency_us: float = 9000) -> Series:
    """The only server of team-a/vision, with failures a minute by reason."""
    where = 'namespace="team-a",pod="vision-1"'
    model = f'{where},model="m",version="1"'
    found = {
        f"nv_inference_request_success{{{model}}}": f"0+{per_minute:g}x{MINUTES}",
        f'nv_inference_request_summary_us{{{model},quantile="0.99"}}': f"{latency_us:g}x{MINUTES}",
    }
    for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
        failed = (failing or {}).get(reason, 0)
        found[f'nv_inference_request_failure{{{model},reason="{reason}"}}'] = f"0+{failed:g}x{MINUTES}"
    return found | owns("vision-1", service="vision")


def gpu(active: float, pod: str = "llm-1-0", xid: int = 0) -> Series:
    """A GPU of node-a that a pod of team-b holds, as DCGM's exporter tells it without honorLabels."""
    exporter = 'namespace="gpu-operator",pod="dcgm-1",Hostname="node-a",gpu="0",UUID="GPU-0",modelName="H100"'
    held = f'{exporter},exported_namespace="team-b",exported_pod="{pod}"'
    return {
        f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{held}}}": f"{active:g}x{MINUTES}",
        f"DCGM_FI_DEV_XID_ERRORS{{{held}}}": f"{xid}x{MINUTES}",
    }


def node(cpu_busy: float = 0.1, disk_busy: float = 0.1) -> Series:
    """What node_exporter tells of node-a, with one CPU."""
    where = 'instance="10.0.0.1:9100"'
    return {
        f'node_cpu_seconds_total{{{where},cpu="0",mode="idle"}}': f"0+{60 * (1 - cpu_busy):g}x{MINUTES}",
        f'node_cpu_seconds_total{{{where},cpu="0",mode="user"}}': f"0+{60 * cpu_busy:g}x{MINUTES}",
        f'node_disk_io_time_seconds_total{{{where},device="nvme0n1"}}': f"0+{60 * disk_busy:g}x{MINUTES}",
        f'node_uname_info{{{where},nodename="node-a"}}': f"1x{MINUTES}",
    }


def throttled(share: float, pod: str = "llm-1-0") -> Series:
    """What cAdvisor tells of a worker's container, with ten periods a second."""
    where = f'namespace="team-b",pod="{pod}",container="worker"'
    return {
        f"container_cpu_cfs_periods_total{{{where}}}": f"0+600x{MINUTES}",
        f"container_cpu_cfs_throttled_periods_total{{{where}}}": f"0+{600 * share:g}x{MINUTES}",
    }


def check(series: Series, firing: Mapping[str, int], folder: pathlib.Path, minute: int = 80) -> None:
    """Fails with promtool's own words unless exactly these alerts fire, so many of each."""
    query = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{name}"}}', "value": count} for name, count in firing.items()]
    evaluate(series, [{"expr": query, "eval_time": f"{minute}m", "exp_samples": samples}], folder)


def evaluate(series: Series, tests: list[dict[str, Any]], folder: pathlib.Path) -> None:
    """Evaluates the chart's rules every two minutes, then these PromQL tests."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": load_groups()}))
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "2m",
        "tests": [{"interval": "1m", "input_series": given, "promql_expr_test": tests}],
    }
    (folder / "test.yaml").write_text(json.dumps(test))
    command = [str(binaries.ensure("promtool")), "test", "rules", str(folder / "test.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
