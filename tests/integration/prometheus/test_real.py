"""The sampler against real Prometheis, Debian's 2.42 and 3, that scrape the same exporter."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pathlib
import re
import urllib.request
from collections.abc import Iterator

import pytest

from gpufleet.decide.autoscaling import signals
from gpufleet.state import fleet, samples
from gpufleet_sandbox import binaries
from tests.integration.prometheus import servers
from tests.integration.prometheus.exposition import (
    MODEL,
    both,
    constant,
    dated,
    devices,
    gpu,
    held,
    histogram,
    instance,
    lines,
    restarting,
    simulated,
    triton,
)

PROGRAMS = {"2": "prometheus", "3": "prometheus-3"}
RULES = pathlib.Path(__file__).parents[3] / "docs" / "autoscaling.md"
TEAM, TENANT, DCGM = "team-a", "team-b", "gpu-operator"
LIE = f'{MODEL},namespace="{TEAM}",pod="plain"'

PAGES: dict[str, servers.Page] = {
    "plain": triton(20),
    "twice": triton(20),
    "models": both(triton(20), triton(10, 'model="n",version="1"')),
    "reset": restarting(triton(20), 6.5),
    "gone": triton(20),
    "nameless": triton(20),
    "odd": both(
        triton(20),
        constant(
            lines({"nv_inference_pending_request_count": float("nan")}, 'model="n",version="1"')
            + lines({"vllm:num_requests_waiting": float("inf"), "vllm:kv_cache_usage_perc": -1.0}, MODEL)
        ),
    ),
    "late": dated(triton(20), -200),
    "early": dated(triton(20), +120),
    "vllm": both(
        triton(20),
        histogram("vllm:time_to_first_token_seconds", 10, {"0.1": 0.5, "0.5": 1, "+Inf": 1}),
        histogram("vllm:inter_token_latency_seconds", 10, {"0.02": 1, "+Inf": 1}),
        constant(
            lines(
                {
                    "vllm:num_requests_waiting": 5.0,
                    "vllm:num_requests_running": 7.0,
                    "vllm:kv_cache_usage_perc": 0.5,
                },
                f'engine="0",model_name="m",{MODEL}',
            )
        ),
    ),
    "trtllm": both(
        triton(20),
        constant(
            lines({"nv_trt_llm_request_metrics": 4.0}, f'{MODEL},request_type="waiting"')
            + lines({"nv_trt_llm_request_metrics": 6.0}, f'{MODEL},request_type="scheduled"')
            + lines({"nv_trt_llm_kv_cache_block_metrics": 30.0}, f'{MODEL},kv_cache_block_type="used"')
            + lines({"nv_trt_llm_kv_cache_block_metrics": 40.0}, f'{MODEL},kv_cache_block_type="max"')
        ),
    ),
    "summary": both(
        triton(20), constant(lines({"nv_inference_request_summary_us": 80_000.0}, f'{MODEL},quantile="0.99"'))
    ),
    "histogram": both(
        triton(20), histogram("nv_inference_first_response_histogram_ms", 10, {"100": 1, "+Inf": 1})
    ),
    "whole": triton(20),
    "mig": triton(20),
    "honored": triton(20),
    "simulated": triton(20),
    # A tenant that speaks of another's pod, devices and service, and its metrics are not well formed.
    "mallory": both(
        triton(20),
        triton(9000, LIE),
        devices(lambda number: held(TEAM, "plain", gpu(number, "x"))),
        constant(
            lines({"gpufleet:waiting_requests": 99.0}, f'namespace="{TEAM}",tritonservice="vision"')
            + lines({"vllm:time_to_first_token_seconds_bucket": 1.0}, f'{LIE},le="much"')
        ),
    ),
    "dcgm": both(
        devices(lambda number: held(TEAM, "whole", gpu(number))),
        devices(lambda number: held(TEAM, "mig", instance(number))),
        devices(lambda number: gpu(number, "free")),
    ),
    "simgpu": simulated(TEAM, "simulated"),
    "dcgm-honored": devices(lambda number: held(TEAM, "honored", gpu(number, "h"))),
    "epp": constant(
        lines(
            {"llm_d_epp_flow_control_queue_size": 2.0},
            'inference_pool="vision",fairness_id="a",priority="0",model_name="m"',
        )
        + lines(
            {"llm_d_epp_flow_control_queue_size": 3.0},
            'inference_pool="vision",fairness_id="b",priority="0",model_name="m"',
        )
    ),
}
ELSEWHERE = {"nameless", "mallory", "dcgm", "dcgm-honored", "simgpu", "epp"}
PODS = sorted(set(PAGES) - ELSEWHERE)


@dataclasses.dataclass
class Servers:
    """Both Prometheis, after a window was scraped, and what each said of it."""

    exporter: servers.Exporter
    urls: dict[str, str]
    looks: dict[str, samples.Look]

    def pod(self, version: str, name: str, namespace: str = TEAM) -> samples.PodSample:
        return self.looks[version].pods[namespace, name]


def build_jobs(exporter: servers.Exporter) -> list[dict[str, object]]:
    pods = [{"page": name, "namespace": TEAM, "pod": name} for name in PODS]
    exporter_pod = {"namespace": DCGM, "pod": "exporter-1"}
    return [
        servers.build_job("pods", exporter, pods),
        servers.build_job("again", exporter, [{"page": "twice", "namespace": TEAM, "pod": "twice"}]),
        servers.build_job("nameless", exporter, [{"page": "nameless", "kubernetes_pod_name": "nameless"}]),
        servers.build_job("tenants", exporter, [{"page": "mallory", "namespace": TENANT, "pod": "mallory"}]),
        servers.build_job(
            "dcgm",
            exporter,
            [{"page": "dcgm", **exporter_pod}, {"page": "simgpu", **exporter_pod, "pod": "exporter-2"}],
        ),
        servers.build_job(
            "dcgm-honored", exporter, [{"page": "dcgm-honored", **exporter_pod}], honor_labels=True
        ),
        servers.build_job("gateways", exporter, [{"page": "epp", "namespace": TEAM, "pod": "epp-1"}]),
    ]


def read_documented_rules() -> str:
    """The recording rule of the documentation."""
    blocks = re.findall(r"```yaml\n(.*?)```", RULES.read_text(), re.DOTALL)
    return next(block for block in blocks if "gpufleet:waiting_requests" in block)


@pytest.fixture(scope="module")
def both_versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    programs = {version: binaries.ensure(name) for version, name in PROGRAMS.items()}
    exporter = servers.Exporter(PAGES)
    rules = read_documented_rules()
    folders = {version: tmp_path_factory.mktemp(f"prometheus-{version}") for version in programs}
    with (
        exporter.serve(),
        servers.run(programs["2"], build_jobs(exporter), rules, folders["2"]) as second,
        servers.run(programs["3"], build_jobs(exporter), rules, folders["3"]) as third,
    ):
        urls = {"2": second, "3": third}
        looks = {version: wait_for_window(url) for version, url in urls.items()}
        yield Servers(exporter, urls, looks)


def wait_for_window(url: str) -> samples.Look:
    """The first round after a whole window was scraped of all."""

    def is_full() -> samples.Look | None:
        look = asyncio.run(servers.look(url))
        rates = [(one.served or 0.0) > 18 for key, one in look.pods.items() if key[1] in PODS]
        return look if sum(rates) >= len(PODS) - 3 and look.waiting else None

    return servers.wait_for("a window of samples", is_full)


VERSIONS = pytest.mark.parametrize("version", list(PROGRAMS))


@VERSIONS
def test_the_server_is_the_one_that_is_meant(version: str, both_versions: Servers) -> None:
    with urllib.request.urlopen(f"{both_versions.urls[version]}/api/v1/status/buildinfo") as response:
        told = json.load(response)["data"]["version"].removeprefix("v")
    # The module of Prometheus 3.13 is version 0.313.
    assert told.startswith({"2": "2.", "3": "0.3"}[version])


@VERSIONS
def test_a_round_is_whole(version: str, both_versions: Servers) -> None:
    look = both_versions.looks[version]
    assert (look.error, look.notes) == ("", ())


RATE = 0.12
"""Relative error of a rate over eight scrapes of a machine that does other things too."""


@VERSIONS
@pytest.mark.parametrize(
    ("pod", "field", "expected"),
    [
        pytest.param("plain", "served", 20, id="requests served"),
        pytest.param("plain", "failed", 2, id="requests failed"),
        pytest.param("plain", "shed", 2, id="requests refused"),
        pytest.param("plain", "queue_s", 1.0, id="seconds in the queue per second"),
        pytest.param("plain", "pending", 3, id="requests that wait"),
        pytest.param("plain", "busy", 0.2, id="busy instances"),
        pytest.param("plain", "items", 40, id="inferences"),
        pytest.param("plain", "executions", 10, id="executions"),
        pytest.param("plain", "kv_cache", None, id="no engine"),
        pytest.param("plain", "gr_engine_active", None, id="no DCGM"),
        pytest.param("plain", "latency_s", None, id="no summary"),
        pytest.param("twice", "served", 20, id="two jobs: a rate counts once"),
        pytest.param("twice", "pending", 3, id="two jobs: a gauge counts once"),
        pytest.param("models", "served", 30, id="models add up"),
        pytest.param("odd", "served", 20, id="NaN elsewhere leaves the rest"),
        pytest.param("odd", "llm_waiting", None, id="infinity"),
        pytest.param("odd", "kv_cache", None, id="below nothing"),
        pytest.param("vllm", "ttft_s", 0.49, id="vLLM: time to the first token"),
        pytest.param("vllm", "itl_s", 0.0198, id="vLLM: time between tokens"),
        pytest.param("vllm", "kv_cache", 0.5, id="vLLM: KV cache"),
        pytest.param("vllm", "llm_waiting", 5, id="vLLM: waiting"),
        pytest.param("vllm", "llm_running", 7, id="vLLM: running"),
        pytest.param("trtllm", "kv_cache", 0.75, id="TensorRT-LLM: KV cache"),
        pytest.param("trtllm", "llm_waiting", 4, id="TensorRT-LLM: waiting"),
        pytest.param("trtllm", "llm_running", 6, id="TensorRT-LLM: scheduled"),
        pytest.param("summary", "latency_s", 0.08, id="latency of the summary"),
        pytest.param("histogram", "latency_s", 0.099, id="latency of the histogram"),
        pytest.param("whole", "gr_engine_active", 0.375, id="GPUs: activity"),
        pytest.param("whole", "sm_active", 0.1875, id="GPUs: SM activity"),
        pytest.param("whole", "dram_active", 0.09375, id="GPUs: memory interface"),
        pytest.param("whole", "fb_used_mib", 3000, id="GPUs: memory"),
        pytest.param("whole", "power_w", 600, id="GPUs: power"),
        pytest.param("whole", "xid", 31, id="GPUs: XID"),
        pytest.param("mig", "gr_engine_active", 0.375, id="MIG: activity"),
        pytest.param("mig", "fb_used_mib", 3000, id="MIG: memory"),
        pytest.param("mig", "power_w", 300, id="MIG: the board's power once"),
        pytest.param("simulated", "gr_engine_active", 0.5, id="simulated GPUs: activity"),
        pytest.param("simulated", "dram_active", 0.25, id="simulated GPUs: memory interface"),
        pytest.param("simulated", "fb_used_mib", 1035, id="simulated GPUs: memory"),
        pytest.param("honored", "gr_engine_active", 0.375, id="honorLabels: activity"),
        pytest.param("honored", "power_w", 600, id="honorLabels: power"),
    ],
)
def test_signal(version: str, pod: str, field: str, expected: float | None, both_versions: Servers) -> None:
    value = getattr(both_versions.pod(version, pod), field)
    assert value == (None if expected is None else pytest.approx(expected, rel=RATE))


@VERSIONS
def test_load_by_model(version: str, both_versions: Servers) -> None:
    """With what was refused."""
    found = both_versions.pod(version, "models").by_model
    assert found == {"m": pytest.approx(22, rel=RATE), "n": pytest.approx(11, rel=RATE)}


@VERSIONS
def test_a_counter_that_starts_anew_is_no_drop(version: str, both_versions: Servers) -> None:
    """What was counted between the last scrape and the restart is lost, no more."""
    assert 12 < both_versions.pod(version, "reset").served <= 20 * (1 + RATE)  # type: ignore[operator]


@VERSIONS
def test_what_is_scraped_without_a_pod_joins_nothing(version: str, both_versions: Servers) -> None:
    assert "nameless" not in {pod for _, pod in both_versions.looks[version].pods}


@VERSIONS
def test_a_tenant_speaks_of_itself_only(version: str, both_versions: Servers) -> None:
    look = both_versions.looks[version]
    assert look.pods[TENANT, "mallory"].served == pytest.approx(9020, rel=RATE)
    assert look.pods[TEAM, "plain"].by_model == {"m": pytest.approx(22, rel=RATE)}
    assert look.pods[TEAM, "plain"].power_w is None
    assert look.pods[TENANT, "mallory"].power_w is None
    assert look.waiting == {(TEAM, "vision"): 5.0, (TENANT, "vision"): 99.0}


def classify(look: samples.Look, name: str) -> signals.Class:
    pod = fleet.Pod(uid=name, namespace=TEAM, name=name, ready=True)
    return signals.read([pod], look).offered.kind


@VERSIONS
@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param("plain", "Ok", id="scraped a second ago"),
        pytest.param("late", "Stale", id="a clock 200 s behind"),
        pytest.param("early", "Missing", id="a clock ahead: not to be seen yet"),
        pytest.param("nameless", "Missing", id="a wrong job label"),
    ],
)
def test_class(version: str, pod: str, expected: str, both_versions: Servers) -> None:
    assert classify(both_versions.looks[version], pod) == expected


def tolerate(one: samples.PodSample) -> dict[str, object]:
    """Its fields as those of the other server may be; ages are of other moments."""
    wanted = {name: pytest.approx(value, rel=2 * RATE) for name, value in list_known(one).items()}
    return {**wanted, "age_s": pytest.approx(one.age_s, abs=3)}


def list_known(one: samples.PodSample) -> dict[str, object]:
    return {name: value for name, value in dataclasses.asdict(one).items() if value is not None}


def test_both_versions_agree(both_versions: Servers) -> None:
    """On every value of every pod but of the counter that starts anew, which each saw at another moment."""
    second, third = both_versions.looks["2"], both_versions.looks["3"]
    assert set(second.pods) == set(third.pods)
    assert second.waiting == third.waiting
    for key, one in second.pods.items():
        other = third.pods[key]
        if key[1] == "reset":
            assert list_known(other).keys() == list_known(one).keys()
        else:
            assert list_known(other) == tolerate(one), key


@VERSIONS
def test_a_target_that_is_gone_is_missing_and_comes_back(version: str, both_versions: Servers) -> None:
    """Within a scrape, and not after the five minutes for which a sample is looked back at."""
    url = both_versions.urls[version]

    def is_class(expected: str) -> bool:
        return classify(asyncio.run(servers.look(url)), "gone") == expected

    both_versions.exporter.broken.add("gone")
    try:
        servers.wait_for("a pod that is missing", lambda: is_class("Missing"), 20)
    finally:
        both_versions.exporter.broken.discard("gone")
    servers.wait_for("a pod that is back", lambda: is_class("Ok"), 40)


@VERSIONS
async def test_an_answer_that_is_too_long_is_refused(
    version: str, both_versions: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpufleet.observe.prometheus.LARGEST_ANSWER", 1000)
    look = await servers.look(both_versions.urls[version])
    assert (look.error, look.pods) == ("the answer is longer than 1000 bytes", {})
