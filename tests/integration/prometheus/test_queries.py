"""The queries under the real PromQL engine: promtool evaluates them over series written down here."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any

import pytest

from gpufleet.observe import queries
from gpufleet_sandbox import binaries

WINDOW = "1m"
AT = "2m"
QUERIES = queries.build(WINDOW)
POD = 'namespace="team-a", pod="a"'
MODEL = f'{POD}, model="m", version="1"'

Series = dict[str, str]
"""Values every 15 s, in promtool's notation, by series."""


def counter(name: str, per_second: float, labels: str = MODEL) -> Series:
    return {f"{name}{{{labels}}}": f"0+{per_second * 15:g}x20"}


def executing(per_second: float, batch: float, infer_us: float) -> Series:
    """Requests that run in batches of a size, each billed the whole of its batch."""
    return {
        **counter("nv_inference_request_success", per_second),
        **counter("nv_inference_exec_count", per_second / batch),
        **counter("nv_inference_compute_input_duration_us", 0),
        **counter("nv_inference_compute_infer_duration_us", per_second * infer_us),
        **counter("nv_inference_compute_output_duration_us", 0),
    }


REQUESTS = f'nv_trt_llm_request_metrics{{{{{MODEL}, request_type="{{}}"}}}}'
TWO_JOBS = {
    **counter("nv_inference_request_success", 4, f'{MODEL}, job="one"'),
    **counter("nv_inference_request_success", 4, f'{MODEL}, job="two"'),
}


@pytest.mark.parametrize(
    ("field", "series", "expected"),
    [
        pytest.param("served", counter("nv_inference_request_success", 4), 4, id="a rate"),
        pytest.param("served", TWO_JOBS, 4, id="what two jobs scrape counts once"),
        pytest.param(
            "served",
            counter("nv_inference_request_success", 4)
            | counter("nv_inference_request_success", 1, f'{POD}, model="n"'),
            5,
            id="models add up",
        ),
        pytest.param(
            "served",
            {f"nv_inference_request_success{{{MODEL}}}": "600+60x3 0+60x16"},
            4,
            id="a counter that starts anew",
        ),
        pytest.param(
            "served",
            {f"nv_inference_request_success{{{MODEL}}}": "0+60x1 _x18"},
            None,
            id="a pod that is gone",
        ),
        pytest.param("queue_s", counter("nv_inference_queue_duration_us", 2e6), 2, id="seconds in the queue"),
        pytest.param(
            "shed",
            counter("nv_inference_request_failure", 3, f'{MODEL}, reason="REJECTED"')
            | counter("nv_inference_request_failure", 5, f'{MODEL}, reason="BACKEND"'),
            3,
            id="what the queue refused",
        ),
        pytest.param(
            "failed",
            counter("nv_inference_request_failure", 3, f'{MODEL}, reason="REJECTED"')
            | counter("nv_inference_request_failure", 5, f'{MODEL}, reason="BACKEND"'),
            8,
            id="all that failed",
        ),
        pytest.param(
            "pending", {f"nv_inference_pending_request_count{{{MODEL}}}": "7x20"}, 7, id="requests that wait"
        ),
        pytest.param("busy", executing(40, 8, 50_000), 0.25, id="a batch is busy once"),
        pytest.param("busy", executing(0, 1, 0), 0, id="nobody asks: busy with nothing"),
        pytest.param("age_s", counter("nv_inference_request_success", 4), 0, id="a fresh sample"),
        pytest.param(
            "latency_s",
            {f'nv_inference_request_summary_us{{{MODEL}, quantile="0.99"}}': "80000x20"},
            0.08,
            id="the 99th percentile",
        ),
        pytest.param(
            "kv_cache",
            {
                f'nv_trt_llm_kv_cache_block_metrics{{{MODEL}, kv_cache_block_type="used"}}': "25x20",
                f'nv_trt_llm_kv_cache_block_metrics{{{MODEL}, kv_cache_block_type="max"}}': "100x20",
            },
            0.25,
            id="KV cache of TensorRT-LLM",
        ),
        pytest.param("kv_cache", {f"vllm:gpu_cache_usage_perc{{{POD}}}": "0.5x20"}, 0.5, id="KV of vLLM 0"),
        pytest.param(
            "kv_cache",
            {f"vllm:kv_cache_usage_perc{{{POD}}}": "0.7x20", f"vllm:gpu_cache_usage_perc{{{POD}}}": "0.5x20"},
            0.7,
            id="KV of vLLM 1: the newer name counts",
        ),
        pytest.param("items", counter("nv_inference_count", 32), 32, id="inferences"),
        pytest.param("executions", counter("nv_inference_exec_count", 4), 4, id="executions"),
        pytest.param(
            "latency_s",
            counter("nv_inference_first_response_histogram_ms_bucket", 10, f'{MODEL}, le="100"')
            | counter("nv_inference_first_response_histogram_ms_bucket", 10, f'{MODEL}, le="+Inf"'),
            0.099,
            id="of the first response where there is only that",
        ),
        pytest.param(
            "itl_s",
            counter("vllm:time_per_output_token_seconds_bucket", 10, f'{POD}, le="0.1"')
            | counter("vllm:time_per_output_token_seconds_bucket", 10, f'{POD}, le="+Inf"'),
            0.099,
            id="time between tokens by the older name",
        ),
        pytest.param(
            "itl_s",
            counter("vllm:inter_token_latency_seconds_bucket", 10, f'{POD}, le="0.2"')
            | counter("vllm:inter_token_latency_seconds_bucket", 10, f'{POD}, le="+Inf"')
            | counter("vllm:time_per_output_token_seconds_bucket", 10, f'{POD}, le="0.1"')
            | counter("vllm:time_per_output_token_seconds_bucket", 10, f'{POD}, le="+Inf"'),
            0.198,
            id="time between tokens by the newer name",
        ),
        pytest.param(
            "llm_waiting",
            {
                f'vllm:num_requests_waiting{{{POD}, engine="0"}}': "3x20",
                f'vllm:num_requests_waiting{{{POD}, engine="1"}}': "4x20",
            },
            7,
            id="engines of vLLM add up",
        ),
        pytest.param("llm_waiting", {REQUESTS.format("waiting"): "3x20"}, 3, id="what waits in TensorRT-LLM"),
        pytest.param("llm_running", {f"vllm:num_requests_running{{{POD}}}": "2x20"}, 2, id="what vLLM runs"),
        pytest.param(
            "llm_running", {REQUESTS.format("scheduled"): "2x20"}, 2, id="what TensorRT-LLM has scheduled"
        ),
        pytest.param(
            "ttft_s",
            counter("vllm:time_to_first_token_seconds_bucket", 10, f'{POD}, le="0.5"')
            | counter("vllm:time_to_first_token_seconds_bucket", 10, f'{POD}, le="+Inf"'),
            0.495,
            id="time to the first token",
        ),
    ],
)
def test_query(field: queries.Name, series: Series, expected: float | None, tmp_path: pathlib.Path) -> None:
    samples = [] if expected is None else [{"labels": f"{{{POD}}}", "value": expected}]
    check = {"expr": QUERIES[field].text, "eval_time": AT, "exp_samples": samples}
    evaluate(series, check, tmp_path)


def device(number: int, job: str = "dcgm", **labels: str) -> str:
    """Labels of a device that pod `a` holds, told with honorLabels."""
    named = {"job": job, "gpu": str(number), "UUID": f"GPU-{number}", **labels}
    return POD + "".join(f', {name}="{value}"' for name, value in named.items())


def instance(number: int) -> str:
    return device(0, GPU_I_ID=str(number), GPU_I_PROFILE="1g.10gb")


HOLDERS = {
    "true": POD,
    "false": 'namespace="gpu-operator", pod="x", exported_namespace="team-a", exported_pod="a"',
}


@pytest.mark.parametrize(
    ("field", "series", "expected"),
    [
        pytest.param(
            "gr_engine_active",
            {
                f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{device(0)}}}": "0.2x20",
                f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{device(1)}}}": "0.6x20",
            },
            0.4,
            id="mean of the GPUs of a pod",
        ),
        pytest.param(
            "gr_engine_active",
            {
                f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{instance(1)}}}": "0.2x20",
                f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{instance(2)}}}": "0.6x20",
            },
            0.4,
            id="mean of the MIG instances of a pod",
        ),
        pytest.param(
            "gr_engine_active",
            {f"DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO{{{device(0)}}}": "0.3x20"},
            0.3,
            id="DCGM's newer name",
        ),
        pytest.param(
            "sm_active", {f"DCGM_FI_PROF_SM_ACTIVE{{{device(0)}}}": "1.29x20"}, 1, id="a share is at most 1"
        ),
        pytest.param(
            "dram_active",
            {
                f"DCGM_FI_PROF_DRAM_ACTIVE{{{instance(1)}}}": "0.25x20",
                f"DCGM_FI_PROF_DRAM_ACTIVE{{{instance(2)}}}": "0.75x20",
            },
            0.5,
            id="mean of the memory interfaces of both instances",
        ),
        pytest.param(
            "fb_used_mib",
            {
                f"DCGM_FI_DEV_FB_USED{{{instance(1)}}}": "100x20",
                f"DCGM_FI_DEV_FB_USED{{{instance(2)}}}": "200x20",
            },
            300,
            id="memory of both instances",
        ),
        pytest.param(
            "fb_used_mib",
            {
                f"DCGM_FI_DEV_FB_USED{{{device(0)}}}": "100x20",
                f"DCGM_FI_DEV_FB_USED{{{device(0, job='twice')}}}": "100x20",
            },
            100,
            id="what two jobs scrape counts once",
        ),
        pytest.param(
            "power_w",
            {
                f"DCGM_FI_DEV_POWER_USAGE{{{instance(1)}}}": "300x20",
                f"DCGM_FI_DEV_POWER_USAGE{{{instance(2)}}}": "300x20",
            },
            300,
            id="the board's power repeats on each instance",
        ),
        pytest.param(
            "xid",
            {
                f"DCGM_FI_DEV_XID_ERRORS{{{device(0)}}}": "0x20",
                f"DCGM_FI_DEV_XID_ERRORS{{{device(1)}}}": "79x20",
            },
            79,
            id="the last XID",
        ),
    ],
)
@pytest.mark.parametrize(
    "spelling", [pytest.param(name, id=f"honorLabels {name}") for name in ("true", "false")]
)
def test_query_of_devices(
    field: queries.Name, series: Series, expected: float, spelling: str, tmp_path: pathlib.Path
) -> None:
    given = {name.replace(POD, HOLDERS[spelling]): values for name, values in series.items()}
    sample = {"labels": f"{{{HOLDERS[spelling]}}}", "value": expected}
    evaluate(given, {"expr": QUERIES[field].text, "eval_time": AT, "exp_samples": [sample]}, tmp_path)


def test_query_by_model(tmp_path: pathlib.Path) -> None:
    """With the failures of a model that counts any."""
    other = f'{POD}, model="n", version="1"'
    given = {
        **counter("nv_inference_request_success", 4),
        **counter("nv_inference_request_failure", 1, f'{MODEL}, reason="REJECTED"'),
        **counter("nv_inference_request_failure", 2, f'{MODEL}, reason="BACKEND"'),
        **counter("nv_inference_request_success", 5, other),
    }
    samples = [
        {"labels": f'{{{POD}, model="m"}}', "value": 7},
        {"labels": f'{{{POD}, model="n"}}', "value": 5},
    ]
    check = {"expr": QUERIES["by_model"].text, "eval_time": AT, "exp_samples": samples}
    evaluate(given, check, tmp_path)


def test_query_of_what_waits(tmp_path: pathlib.Path) -> None:
    """Two Prometheis record the same."""
    service = 'namespace="team-a", tritonservice="vision"'
    given = {f'{queries.WAITING}{{{service}, replica="{number}"}}': "4x20" for number in (1, 2)}
    sample = {"labels": f"{{{service}}}", "value": 4}
    evaluate(given, {"expr": QUERIES["waiting"].text, "eval_time": AT, "exp_samples": [sample]}, tmp_path)


def evaluate(series: Series, check: dict[str, Any], folder: pathlib.Path) -> None:
    """Fails with promtool's own words."""
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"tests": [{"interval": "15s", "input_series": given, "promql_expr_test": [check]}]}
    path = folder / "test.yaml"
    path.write_text(json.dumps(test))
    command = [str(binaries.ensure("promtool")), "test", "rules", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
