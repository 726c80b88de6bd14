"""One constant PromQL query per signal, for the whole fleet; nothing that a user wrote enters one.

Every query gives one series per (namespace, pod). The inner `max` makes one of what two scrape jobs see
twice; only then is summed. `pod` is the label that the scrape gave: what a pod says of itself would arrive
as `exported_pod`, and may be a lie about another.
"""

from __future__ import annotations

from typing import Literal

Field = Literal[
    "age_s",
    "queue_s",
    "served",
    "failed",
    "shed",
    "pending",
    "busy",
    "latency_s",
    "kv_cache",
    "ttft_s",
]

_PARTS = ("input", "infer", "output")
_SERIES = "namespace, pod, model, version, gpu_uuid, reason"


def _rate(selector: str, window: str, scale: str = "") -> str:
    inner = f"max by ({_SERIES}) (rate({selector}[{window}]))"
    return f"sum by (namespace, pod) ({inner}){scale}"


def _busy(window: str) -> str:
    """Busy instances: per model the mean time of a request in execution × executions per second.

    Each request of a batch is billed the whole of its execution, hence the mean and not the sum.
    """

    def of_model(name: str) -> str:
        inner = f"max by ({_SERIES}) (rate({name}[{window}]))"
        return f"sum by (namespace, pod, model, version) ({inner})"

    compute = " + ".join(of_model(f"nv_inference_compute_{part}_duration_us") for part in _PARTS)
    mean_s = f"({compute}) / 1e6 / ({of_model('nv_inference_request_success')} > 0)"
    busy = f"{mean_s} * {of_model('nv_inference_exec_count')}"
    # A model without requests has no mean, but is busy with nothing.
    return f"sum by (namespace, pod) ({busy} or 0 * {of_model('nv_inference_exec_count')})"


def build(window: str) -> dict[Field, str]:
    """The query of each field of `samples.PodSample`; `window` is a Prometheus duration such as 1m."""
    us = " / 1e6"
    return {
        "age_s": "min by (namespace, pod) (time() - timestamp(nv_inference_request_success))",
        "queue_s": _rate("nv_inference_queue_duration_us", window, us),
        "served": _rate("nv_inference_request_success", window),
        "failed": _rate("nv_inference_request_failure", window),
        "shed": _rate('nv_inference_request_failure{reason="REJECTED"}', window),
        "pending": (
            "sum by (namespace, pod) (max by (namespace, pod, model, version)"
            " (nv_inference_pending_request_count))"
        ),
        "busy": _busy(window),
        "latency_s": ('max by (namespace, pod) (nv_inference_request_summary_us{quantile="0.99"} > 0)' + us),
        "kv_cache": (
            "max by (namespace, pod) (sum by (namespace, pod, model, version)"
            ' (nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used"})'
            " / sum by (namespace, pod, model, version)"
            ' (nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max"} > 0))'
            " or max by (namespace, pod) (vllm:gpu_cache_usage_perc)"
        ),
        "ttft_s": (
            "histogram_quantile(0.99, sum by (namespace, pod, le)"
            f" (rate(vllm:time_to_first_token_seconds_bucket[{window}])))"
        ),
    }
