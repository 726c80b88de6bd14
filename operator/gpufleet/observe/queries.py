"""One constant PromQL query per signal, for the whole fleet; nothing that a user wrote enters one.

`pod` is the label that the scrape gave: what a pod says of itself arrives as `exported_pod`, and may be a
lie about another. The inner `max` makes one of what two scrape jobs see twice; only then is summed. Where a
metric has an older name, the newer one counts, pod by pod.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

Name = Literal[
    "age_s",
    "queue_s",
    "served",
    "failed",
    "shed",
    "pending",
    "busy",
    "items",
    "executions",
    "by_model",
    "arriving",
    "latency_s",
    "kv_cache",
    "ttft_s",
    "itl_s",
    "llm_waiting",
    "llm_running",
    "gr_engine_active",
    "sm_active",
    "dram_active",
    "fb_used_mib",
    "power_w",
    "xid",
    "waiting",
]
Subject = Literal["pod", "model", "gpu", "service"]
"""What a series of the answer is about: a pod, one of its models, the devices of a pod, a TritonService."""

WAITING = "gpufleet:waiting_requests"
"""Recorded by the platform team: requests that wait at a gateway, by `namespace` and `tritonservice`."""

_PARTS = ("input", "infer", "output")
_SERIES = "namespace, pod, model, model_name, version, engine, gpu_uuid, reason"
_SUCCESS = "nv_inference_request_success"
_FAILURE = "nv_inference_request_failure"
# Service, revision, ReplicaSet, pod.
_POD_OF_SERVICE = "(.+)-[0-9a-f]{10}-[0-9a-z]+-[0-9a-z]{5}"
# Both spellings of whom a device belongs to: observe/answers says which of them is believed.
_HOLDER = "namespace, pod, exported_namespace, exported_pod"


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """One question; without the answer to a required one there are no samples at all."""

    text: str
    subject: Subject = "pod"
    required: bool = False


def build(window: str) -> dict[Name, Query]:
    """The query of each field of a sample; `window` is a Prometheus duration such as 1m.

    In the order in which they may be lacking least: the last ones wait longest for a connection.
    """
    return {**_build_triton(window), "waiting": _WAITING, **_build_llm(window), **_build_dcgm()}


def build_past(window: str) -> str:
    """Load by TritonService, of hours in which pods came and went: their names say whose they were.

    Only names that a Deployment of ours gives match, and only the scrape's own namespace and pod count.
    """
    served, failed = (_rate(name, window) for name in (_SUCCESS, _FAILURE))
    offered = f"{served} + ({failed} or 0 * {served})"
    whose = f'label_replace({offered}, "tritonservice", "$1", "pod", "{_POD_OF_SERVICE}")'
    return f"sum by (namespace, tritonservice) ({whose})"


_WAITING = Query(f"max by (namespace, tritonservice) ({WAITING})", "service")


def _build_triton(window: str) -> dict[Name, Query]:
    us = " / 1e6"
    age = f"min by (namespace, pod) (time() - timestamp({_SUCCESS}))"
    shed = _rate(f'{_FAILURE}{{reason="REJECTED"}}', window)
    return {
        "age_s": Query(age, required=True),
        "queue_s": Query(_rate("nv_inference_queue_duration_us", window) + us, required=True),
        "served": Query(_rate(_SUCCESS, window), required=True),
        "failed": Query(_rate(_FAILURE, window), required=True),
        "shed": Query(shed, required=True),
        "pending": Query(_sum("nv_inference_pending_request_count"), required=True),
        "busy": Query(_busy(window), required=True),
        "items": Query(_rate("nv_inference_count", window)),
        "executions": Query(_rate("nv_inference_exec_count", window)),
        "by_model": Query(_by_model(window), "model"),
        "arriving": Query(_arriving(window)),
        "latency_s": Query(_latency(window)),
    }


def _build_llm(window: str) -> dict[Name, Query]:
    """vLLM's own names, and those of Triton's TensorRT-LLM backend."""
    blocks = "sum by (namespace, pod, model, version) (nv_trt_llm_kv_cache_block_metrics{{{}}})".format
    used, most = blocks('kv_cache_block_type="used"'), blocks('kv_cache_block_type="max"')
    kv = f"max by (namespace, pod) ({used} / ({most} > 0))"
    ttft = _quantile("vllm:time_to_first_token_seconds_bucket", window)
    itl = _quantile("vllm:inter_token_latency_seconds_bucket", window)
    itl_before = _quantile("vllm:time_per_output_token_seconds_bucket", window)
    waiting = _sum('nv_trt_llm_request_metrics{request_type="waiting"}')
    running = _sum('nv_trt_llm_request_metrics{request_type="scheduled"}')
    return {
        "kv_cache": Query(
            f"{kv} or {_max('vllm:kv_cache_usage_perc')} or {_max('vllm:gpu_cache_usage_perc')}"
        ),
        "ttft_s": Query(ttft),
        "itl_s": Query(f"{itl} or {itl_before}"),
        "llm_waiting": Query(f"{_sum('vllm:num_requests_waiting')} or {waiting}"),
        "llm_running": Query(f"{_sum('vllm:num_requests_running')} or {running}"),
    }


def _build_dcgm() -> dict[Name, Query]:
    """Fields of DCGM's exporter over the devices of each holder; a MIG instance is a device.

    Shares are clamped, since SM_ACTIVE exceeds 1 at times (NVIDIA/DCGM#152). Power is the board's, repeated
    on each of its instances, and so counts once per board.
    """

    def share(*names: str) -> str:
        either = " or ".join(_devices(name, "UUID, GPU_I_ID") for name in names)
        return f"avg by ({_HOLDER}) (clamp_max({either}, 1))"

    active = share("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO")
    sm_active = share("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_SM_UTIL_RATIO")
    dram_active = share("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO")
    fb_used = f"sum by ({_HOLDER}) ({_devices('DCGM_FI_DEV_FB_USED', 'UUID, GPU_I_ID')})"
    power = f"sum by ({_HOLDER}) ({_devices('DCGM_FI_DEV_POWER_USAGE', 'UUID')})"
    return {
        "gr_engine_active": Query(active, "gpu"),
        "sm_active": Query(sm_active, "gpu"),
        "dram_active": Query(dram_active, "gpu"),
        "fb_used_mib": Query(fb_used, "gpu"),
        "power_w": Query(power, "gpu"),
        "xid": Query(f"max by ({_HOLDER}) (DCGM_FI_DEV_XID_ERRORS)", "gpu"),
    }


def _rate(selector: str, window: str, by: str = "namespace, pod") -> str:
    return f"sum by ({by}) (max by ({_SERIES}) (rate({selector}[{window}])))"


def _sum(selector: str) -> str:
    return f"sum by (namespace, pod) (max by ({_SERIES}) ({selector}))"


def _max(selector: str) -> str:
    return f"max by (namespace, pod) ({selector})"


def _devices(name: str, labels: str) -> str:
    return f"max by ({_HOLDER}, gpu, {labels}) ({name})"


def _quantile(bucket: str, window: str) -> str:
    """The 99th percentile; buckets are summed before it is taken."""
    inner = f"sum by (namespace, pod, le) (max by ({_SERIES}, le) (rate({bucket}[{window}])))"
    return f"histogram_quantile(0.99, {inner})"


def _latency(window: str) -> str:
    """Of the slowest model; of the first response where there is only the histogram of decoupled models."""
    summary = 'max by (namespace, pod) (nv_inference_request_summary_us{quantile="0.99"} > 0) / 1e6'
    first = _quantile("nv_inference_first_response_histogram_ms_bucket", window)
    return f"{summary} or {first} / 1e3"


def _arriving(window: str) -> str:
    """Requests per second between the last two scrapes: a burst shows before it fills the window."""
    each = " or ".join(f"max by ({_SERIES}) (irate({name}[{window}]))" for name in (_SUCCESS, _FAILURE))
    return f"sum by (namespace, pod) ({each})"


def _by_model(window: str) -> str:
    served = _rate(_SUCCESS, window, "namespace, pod, model")
    failed = _rate(_FAILURE, window, "namespace, pod, model")
    return f"{served} + ({failed} or 0 * {served})"


def _busy(window: str) -> str:
    """Busy instances: per model the mean time of a request in execution × executions per second.

    Each request of a batch is billed the whole of its execution, hence the mean and not the sum.
    """

    def of_model(name: str) -> str:
        return _rate(name, window, "namespace, pod, model, version")

    compute = " + ".join(of_model(f"nv_inference_compute_{part}_duration_us") for part in _PARTS)
    mean_s = f"({compute}) / 1e6 / ({of_model(_SUCCESS)} > 0)"
    busy = f"{mean_s} * {of_model('nv_inference_exec_count')}"
    # A model without requests has no mean, but is busy with nothing.
    return f"sum by (namespace, pod) ({busy} or 0 * {of_model('nv_inference_exec_count')})"
