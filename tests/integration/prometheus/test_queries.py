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
        pytest.param("kv_cache", {f"vllm:gpu_cache_usage_perc{{{POD}}}": "0.5x20"}, 0.5, id="KV of vLLM"),
        pytest.param(
            "ttft_s",
            counter("vllm:time_to_first_token_seconds_bucket", 10, f'{POD}, le="0.5"')
            | counter("vllm:time_to_first_token_seconds_bucket", 10, f'{POD}, le="+Inf"'),
            0.495,
            id="time to the first token",
        ),
    ],
)
def test_query(field: queries.Field, series: Series, expected: float | None, tmp_path: pathlib.Path) -> None:
    samples = [] if expected is None else [{"labels": f"{{{POD}}}", "value": expected}]
    check = {"expr": queries.build(WINDOW)[field], "eval_time": AT, "exp_samples": samples}
    evaluate(series, check, tmp_path)


def evaluate(series: Series, check: dict[str, Any], folder: pathlib.Path) -> None:
    """Fails with promtool's own words."""
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"tests": [{"interval": "15s", "input_series": given, "promql_expr_test": [check]}]}
    path = folder / "test.yaml"
    path.write_text(json.dumps(test))
    command = [str(binaries.ensure("promtool")), "test", "rules", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
