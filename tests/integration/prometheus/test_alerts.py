"""Every alert under the real rule engine: a case in which it alone fires, a near one in which none does."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
import yaml

from gpufleet.report import objects
from gpufleet_sandbox import binaries
from tests.integration.prometheus import alerting, recording
from tests.integration.prometheus.alerting import (
    JOB,
    MINUTES,
    OPERATOR,
    SERVICE,
    Series,
    counted,
    gpu,
    histogram,
    leads,
    node,
    owns,
    serves,
    throttled,
    told,
)

RUNBOOKS = pathlib.Path(__file__).parents[3] / "docs" / "runbooks" / "alerts"
PAGE = RUNBOOKS.parents[1] / "metrics.md"
WORKER = owns("llm-1-0", job="llm")


def replicas(desired: int, ready: int) -> Series:
    return told("service_replicas_desired", desired, SERVICE) | told("service_replicas_ready", ready, SERVICE)


def objective(seconds: float, quantile: str = "0.99") -> Series:
    return told("service_objective_seconds", seconds, f'{SERVICE},quantile="{quantile}"')


def scaled(type_: str, reason: str = "NoRoom", held: int = 0) -> Series:
    return told("autoscaler_services", 2, f'mode="Active",type="{type_}"') | told(
        "autoscaler_held_services", held, f'reason="{reason}"'
    )


def devices(unusable: int, free: int = 10) -> Series:
    where = 'pool="h100",product="H100",resource="nvidia.com/gpu",state="{}"'.format
    return told("devices", unusable, where("unusable")) | told("devices", free, where("free"))


def since(name: str, hours: float) -> Series:
    """A moment so many hours before the test's minute 80."""
    return told(f"job_{name}_timestamp_seconds", 80 * 60 - hours * 3600, JOB)


def requests(code: str, per_minute: float) -> Series:
    labels = 'method="GET",kind="pods",code="{}"'.format
    return counted("api_requests_total", 100, labels("200")) | counted(
        "api_requests_total", per_minute, labels(code)
    )


def reconciles(errors: float) -> Series:
    labels = 'kind="TritonService",result="{}"'.format
    return counted("reconciles_total", 100 - errors, labels("ok")) | counted(
        "reconciles_total", errors, labels("error")
    )


def stalled(state: str) -> Series:
    named = 'kind="TritonService",object_namespace="team-a",object_name="vision",reason="Conflict"'
    return told("object_info", 1, f'{named},state="{state}"')


def failures(values: str) -> Series:
    return {f"gpufleet_job_failures{{{OPERATOR},{JOB}}}": values}


CASES: dict[str, tuple[Series, Series]] = {
    "ServiceDown": (replicas(2, 0), replicas(0, 0)),
    "ServiceLacksServers": (replicas(3, 2), replicas(3, 3)),
    "ServiceFailsRequests": (
        serves(600, {"BACKEND": 60}),
        serves(600, {"BACKEND": 20, "CANCELED": 300, "REJECTED": 5}),
    ),
    "ServiceRefusesRequests": (serves(600, {"REJECTED": 12}), serves(600, {"REJECTED": 3})),
    "ServiceMissesObjective": (
        serves(600, latency_us=60_000) | objective(0.05),
        serves(0, latency_us=60_000) | objective(0.05),
    ),
    "AutoscalerBlind": (scaled("Missing"), scaled("Idle")),
    "AutoscalerHeld": (scaled("Ok", "NoRoom", 1), scaled("Ok", "PodsStarting", 1)),
    "InputBound": (
        WORKER | gpu(0.1) | node(cpu_busy=0.95),
        WORKER | gpu(0.9) | node(cpu_busy=0.95),
    ),
    "GangIdle": (WORKER | gpu(0.01) | node(), WORKER | gpu(0.1) | node()),
    "GpuBroken": (gpu(0.5, xid=79), gpu(0.5, xid=31)),
    "DevicesUnusable": (devices(3), devices(1)),
    "GangWaits": (since("waiting_since", 7), since("waiting_since", 5)),
    "CheckpointOld": (
        since("checkpoint", 3) | told("job_workers_active", 4, JOB),
        since("checkpoint", 3) | told("job_workers_active", 0, JOB),
    ),
    "GangRestarts": (failures("0x40 1x10 2x10 3x40"), failures(f"3x{MINUTES}")),
    "GpufleetReconcilesFail": (reconciles(20), reconciles(5)),
    "GpufleetQueueLong": (told("queue_depth", 500), told("queue_depth", 20)),
    "GpufleetCycleSlow": (
        histogram("cycle_duration_seconds", {"5.0": 0.5, "10.0": 1.0}),
        histogram("cycle_duration_seconds", {"1.0": 1.0}),
    ),
    "GpufleetLoopLags": (
        histogram("event_loop_lag_seconds", {"0.5": 0.5, "1.0": 1.0}),
        histogram("event_loop_lag_seconds", {"0.1": 1.0}),
    ),
    "GpufleetWatchSilent": (told("watch_age_seconds", 200, 'kind="Pod"'), told("watch_age_seconds", 60)),
    "GpufleetForbidden": (requests("403", 1), requests("404", 1)),
    "GpufleetApiFails": (requests("503", 20), requests("503", 2)),
    "GpufleetPrometheusUnreachable": (
        told("prometheus_up", 0) | scaled("Ok"),
        told("prometheus_up", 0) | told("autoscaler_services", 0, 'mode="Active",type="Ok"'),
    ),
    "GpufleetObjectStalled": (stalled("Stalled"), stalled("Ready")),
    "GpufleetObjectsLeftOut": (
        told("objects_left_out", 2, 'kind="TrainingJob"'),
        told("objects_left_out", 0, 'kind="TrainingJob"'),
    ),
}
ABSENT = {"GpufleetAbsent": 1}


@pytest.mark.parametrize("name", CASES)
def test_fires(name: str, tmp_path: pathlib.Path) -> None:
    alerting.check(leads() | CASES[name][0], {name: 1}, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_does_not_fire(name: str, tmp_path: pathlib.Path) -> None:
    alerting.check(leads() | CASES[name][1], {}, tmp_path)


@pytest.mark.parametrize(
    ("series", "firing"),
    [
        pytest.param({}, ABSENT, id="nobody is scraped"),
        pytest.param(told("leader", 0), ABSENT, id="standbys only"),
        pytest.param(leads(), {}, id="one leads"),
    ],
)
def test_an_absent_operator(series: Series, firing: dict[str, int], tmp_path: pathlib.Path) -> None:
    alerting.check(series, firing, tmp_path)


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        pytest.param(WORKER | gpu(0.1) | node(disk_busy=0.95), True, id="the disk is busy"),
        pytest.param(WORKER | gpu(0.1) | node() | throttled(0.7), True, id="its CPU is throttled"),
        pytest.param(WORKER | gpu(0.1) | throttled(0.7), True, id="throttled, without node_exporter"),
        pytest.param(WORKER | gpu(0.1) | node() | throttled(0.2), False, id="hardly throttled"),
        pytest.param(WORKER | gpu(0.1), False, id="nothing is known of the node"),
        pytest.param(gpu(0.1, pod="") | node(cpu_busy=0.95), False, id="a GPU that nobody holds"),
        pytest.param(
            owns("vision-1", service="vision", namespace="team-b") | gpu(0.1, "vision-1") | node(0.95),
            False,
            id="a service without load beside a busy neighbour",
        ),
    ],
)
def test_input_bound(series: Series, fires: bool, tmp_path: pathlib.Path) -> None:
    alerting.check(leads() | series, {"InputBound": 1} if fires else {}, tmp_path)


def test_a_gang_that_waits_for_input_is_not_called_idle(tmp_path: pathlib.Path) -> None:
    alerting.check(leads() | WORKER | gpu(0.01) | node(cpu_busy=0.95), {"InputBound": 1}, tmp_path)


def test_nothing_fires_or_is_about_to_on_an_idle_fleet(tmp_path: pathlib.Path) -> None:
    """What the operator and the exporter of simulated GPUs really tell, and Triton without a request."""
    text = recording.tell_operator(recording.build_idle()) + recording.tell_devices(recording.build_idle())
    series = recording.constant(text, MINUTES) | leads() | node(0.02, 0.01)
    series |= serves(0) | {f"gpufleet_prometheus_up{{{OPERATOR}}}": f"0x{MINUTES}"}
    alerting.evaluate(series, [{"expr": "ALERTS", "eval_time": "80m"}], tmp_path)


def test_no_alert_is_untried() -> None:
    alerts = {rule["alert"] for rule in alerting.load_rules() if "alert" in rule}
    assert alerts == CASES.keys() | ABSENT.keys()


@pytest.mark.parametrize(
    "rule", [pytest.param(one, id=one["alert"]) for one in alerting.load_rules() if "alert" in one]
)
def test_an_alert_says_how_bad_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description"} == rule["annotations"].keys()
    page = (RUNBOOKS / f"{rule['alert']}.md").read_text()
    assert page.startswith(f"# {rule['alert']}\n")
    assert all(part in page for part in ("**It means**", "**See it**", "**Do**"))


def test_no_page_is_left_over() -> None:
    alerts = {rule["alert"] for rule in alerting.load_rules() if "alert" in rule}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == alerts | {"README"}


@pytest.mark.parametrize("path", sorted(alerting.RULES.glob("*.yaml")), ids=lambda path: path.stem)
def test_promtool_takes_the_files(path: pathlib.Path) -> None:
    command = [str(binaries.ensure("promtool")), "check", "rules", "--lint=all", "--lint-fatal", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_rules_read_no_metric_that_the_operator_does_not_tell() -> None:
    """Of names that begin with gpufleet_."""
    known = {one.name for one in objects.FAMILIES} | _names(PAGE.read_text())
    used = {name for rule in alerting.load_rules() for name in _names(rule["expr"])}
    unknown = {one.removesuffix("_bucket") for one in used} - known
    assert used
    assert not unknown


def _names(text: str) -> set[str]:
    words = yaml.safe_dump(text).replace("\\n", " ")
    cut = "".join(char if char.isalnum() or char in "_:" else " " for char in words)
    return {word for word in cut.split() if word.startswith("gpufleet_")}
