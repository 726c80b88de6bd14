"""What the recording rules make of series, under the real rule engine."""

from __future__ import annotations

import pathlib

import pytest

from tests.integration.prometheus import alerting
from tests.integration.prometheus.alerting import MINUTES, Series, owns, told

LABELS = 'object_namespace="team-a",tritonservice="vision"'
VISION = '{namespace="team-a",tritonservice="vision"}'


def pod(name: str, requests: float, queue_us: float, job: str = "pods") -> Series:
    """A server: requests a second, each of which waits so long, in batches of four."""
    labels = f'{{namespace="team-a",pod="{name}",model="m",version="1",job="{job}"}}'
    per_minute = 60 * requests
    return {
        f"nv_inference_request_success{labels}": f"0+{per_minute:g}x{MINUTES}",
        f"nv_inference_queue_duration_us{labels}": f"0+{per_minute * queue_us:g}x{MINUTES}",
        f"nv_inference_count{labels}": f"0+{per_minute:g}x{MINUTES}",
        f"nv_inference_exec_count{labels}": f"0+{per_minute / 4:g}x{MINUTES}",
        f'nv_inference_request_summary_us{{quantile="0.99",{labels[1:]}': f"{queue_us:g}x{MINUTES}",
    }


OWNERS = owns("a", service="vision") | owns("b", service="vision")
UNEVEN = OWNERS | pod("a", 90, 1000) | pod("b", 10, 101_000)


def gpu(holder: str, active: float, *, instance: int = 0, power: float = 300) -> Series:
    labels = f'{holder},Hostname="n",gpu="0",UUID="GPU-0",modelName="H100"'
    if instance:
        labels += f',GPU_I_ID="{instance}",GPU_I_PROFILE="1g.10gb"'
    return {
        f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{labels}}}": f"{active}x{MINUTES}",
        f"DCGM_FI_DEV_FB_USED{{{labels}}}": f"1x{MINUTES}",
        f"DCGM_FI_DEV_FB_FREE{{{labels}}}": f"3x{MINUTES}",
        f"DCGM_FI_DEV_POWER_USAGE{{{labels}}}": f"{power}x{MINUTES}",
    }


HONORED = 'namespace="team-a",pod="a"'
NOT_HONORED = 'namespace="gpu-operator",pod="x",exported_namespace="team-a",exported_pod="a"'
FREE = 'namespace="gpu-operator",pod="x"'


@pytest.mark.parametrize(
    ("series", "query", "expected"),
    [
        pytest.param(
            UNEVEN,
            "service:triton_queue_seconds:mean5m" + VISION,
            0.011,
            id="the mean over requests, not pods",
        ),
        pytest.param(UNEVEN, "fleet:triton_queue_seconds:mean5m", 0.011, id="of the fleet"),
        pytest.param(UNEVEN, "service:triton_requests:rate5m" + VISION, 100, id="requests of both pods"),
        pytest.param(UNEVEN, "service:triton_batch_size:mean5m" + VISION, 4, id="mean batch"),
        pytest.param(
            UNEVEN,
            'service:triton_latency_seconds:max{quantile="0.99"}',
            0.101,
            id="slowest pod's percentile",
        ),
        pytest.param(
            OWNERS | pod("a", 90, 1000) | pod("a", 90, 1000, job="again"),
            "service:triton_requests:rate5m" + VISION,
            90,
            id="what two jobs scrape counts once",
        ),
        pytest.param(
            OWNERS | pod("a", 0, 0), "service:triton_queue_seconds:mean5m", None, id="idle: no mean, no NaN"
        ),
        pytest.param(OWNERS | pod("a", 0, 0), "fleet:triton_requests:rate5m", 0, id="idle: a rate of zero"),
        pytest.param(pod("a", 90, 1000), "service:triton_requests:rate5m", None, id="a Triton of nobody"),
        pytest.param(OWNERS | gpu(HONORED, 0.4), "service:gpu_active:avg" + VISION, 0.4, id="honorLabels"),
        pytest.param(
            OWNERS | gpu(NOT_HONORED, 0.4), "service:gpu_active:avg" + VISION, 0.4, id="without honorLabels"
        ),
        pytest.param(OWNERS | gpu(FREE, 0.4), "service:gpu_active:avg", None, id="a free GPU is nobody's"),
        pytest.param(OWNERS | gpu(FREE, 1.29), "fleet:gpu_active:avg", 1, id="a share is at most 1"),
        pytest.param(gpu(FREE, 0.4), "fleet:gpu_memory_used:ratio", 0.25, id="memory"),
        pytest.param(
            gpu(NOT_HONORED, 0.4, instance=1) | gpu(FREE, 0.0, instance=2),
            "fleet:gpu_power_watts:sum",
            300,
            id="a board's power counts once",
        ),
        pytest.param(
            gpu(NOT_HONORED, 0.4, instance=1) | gpu(FREE, 0.0, instance=2),
            'profile:gpu_devices:count{GPU_I_PROFILE="1g.10gb"}',
            2,
            id="instances by profile",
        ),
        pytest.param(
            OWNERS | gpu(NOT_HONORED, 0.4, instance=1) | gpu(FREE, 0.0, instance=2),
            'fleet:mig_boards:count{held="some"}',
            1,
            id="a board that is held in part",
        ),
        pytest.param(OWNERS | gpu(NOT_HONORED, 0.4), 'fleet:mig_boards:count{held="all"}', 0, id="no MIG"),
        pytest.param(
            told("service_models", 3, LABELS) | told("service_models_ready", 1, LABELS),
            "service:gpufleet_models_lacking:max" + VISION,
            2,
            id="models that are lacking",
        ),
        pytest.param(
            told("devices", 3, 'pool="a",product="A",resource="r",state="used"')
            | told("devices", 4, 'pool="b",product="B",resource="r",state="used"'),
            'fleet:gpufleet_devices:sum{resource="r",state="used"}',
            7,
            id="devices of all pools",
        ),
    ],
)
def test_records(series: Series, query: str, expected: float | None, tmp_path: pathlib.Path) -> None:
    if expected is None:
        check = {"expr": query, "eval_time": "60m"}
    else:
        is_close = f"abs(max({query}) - {expected}) < bool 1e-9"
        check = {"expr": is_close, "eval_time": "60m", "exp_samples": [{"labels": "{}", "value": 1}]}
    alerting.evaluate(series, [check], tmp_path)


def test_names_have_a_level_and_an_operation() -> None:
    for rule in alerting.load_rules():
        if "record" in rule:
            assert rule["record"].count(":") == 2, rule["record"]
