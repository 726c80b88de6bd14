"""The model of Triton's batcher against the real server, on models of known speed. `make bench-batcher`."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any

from gpufleet.cli import tune
from gpufleet.decide.triton import service_time
from gpufleet.sim import batcher
from gpufleet_sandbox import inference, kubectl
from tests.bench import report, serving
from tests.e2e.fleet import load, manifests, services

MAX_BATCH = 8
CLIENTS = 24
SHARE = 0.4
"""Of what the server can do at most: the load under which latencies are compared."""
SECONDS = 120.0
GOAL = 10.0
SEEDS = 10

CODE = """
import math, random, time
import triton_python_backend_utils as pb
class TritonPythonModel:
    def initialize(self, args):
        self.random = random.Random(1)
    def execute(self, requests):
        inputs = [pb.get_input_tensor_by_name(one, "X").as_numpy() for one in requests]
        seconds = {alpha_s} + {beta_s} * sum(len(one) for one in inputs)
        variance = math.log(1 + {spread} ** 2)
        until = time.monotonic() + seconds * self.random.lognormvariate(-variance / 2, math.sqrt(variance))
        time.sleep(max(0, until - time.monotonic()))
        return [pb.InferenceResponse([pb.Tensor("Y", one)]) for one in inputs]
"""


@dataclasses.dataclass(frozen=True)
class Known:
    """A model whose batch of b takes alpha + beta · b; `spread` is its coefficient of variation."""

    alpha_s: float
    beta_s: float
    spread: float = 0.0


MODELS = {
    "flat": Known(0.03, 0.0),
    "bound": Known(0.0005, 0.01),
    "timed": Known(0.02, 0.005),
    "tailed": Known(0.01, 0.004, 0.5),
}


def deploy(client: kubectl.Kubectl) -> None:
    """One server with all of them."""
    manifests.CODE.update({name: CODE.format(**dataclasses.asdict(one)) for name, one in MODELS.items()})
    models = [manifests.model(name, maxBatchSize=MAX_BATCH, batching={}) for name in MODELS]
    services.apply(client, manifests.service(serving.NAMESPACE, services.NAME, models, replicas=1))
    name = f"tsvc/{services.NAME}"
    client.run("wait", "-n", serving.NAMESPACE, name, "--for=condition=Ready=True", services.TIMEOUT)


def run(client: kubectl.Kubectl, model: str, seconds: float, *options: str) -> dict[str, Any]:
    """The result of one load run from inside of the cluster."""
    load.start(client, serving.NAMESPACE, model, seconds, *options)
    found = load.result(client, serving.NAMESPACE)
    client.run("delete", "pod", "-n", serving.NAMESPACE, load.CALLER, "--wait=true")
    return found


def fit(client: kubectl.Kubectl, model: str) -> service_time.ServiceTime:
    """The line through what the server itself has counted."""
    with inference.forward(client, serving.NAMESPACE, f"svc/{services.NAME}", 8001) as address:
        statistics, _ = tune.read_server(address, model)
    found = service_time.fit(tune.read_points(statistics))
    assert found is not None
    return found.time


def compare(client: kubectl.Kubectl, name: str, known: Known) -> list[report.Row]:
    """Throughput with the server full, and latency at a part of it."""
    alone = run(client, name, 5, "--concurrency=1")
    full = run(client, name, 20, f"--concurrency={CLIENTS}")
    time = fit(client, name)
    overhead_s = max(0.0, alone["latencyMilliseconds"]["p50"] / 1000 - time.predict_s(1))
    model = batcher.Model(time, spread=known.spread, overhead_s=overhead_s)
    setting = service_time.Setting(MAX_BATCH)
    rate = round(SHARE * full["throughput"], 1)
    part = run(client, name, SECONDS, f"--rate={rate:.1f}", "--concurrency=16")
    closed = batcher.run_closed(setting, model, CLIENTS)
    # The same arrivals as the load generator's; what is drawn by the server's model is not known, so often.
    p99_ms = statistics.mean(
        1000 * batcher.run_open(setting, model, rate, part["sent"], service_seed=seed).quantile_s(0.99)
        for seed in range(SEEDS)
    )
    print(
        f"{name}: {full['throughput']:.1f}/s, model {closed.throughput:.1f}/s; at {rate:.1f}/s P99 "
        f"{part['latencyMilliseconds']['p99']:.1f} ms, model {p99_ms:.1f} ms",
        flush=True,
    )
    return [
        report.Row(f"{name}: throughput is off by", _off(closed.throughput, full["throughput"]), "%", GOAL),
        report.Row(f"{name}: P99 is off by", _off(p99_ms, part["latencyMilliseconds"]["p99"]), "%", GOAL),
    ]


def _off(predicted: float, measured: float) -> float:
    return 100 * abs(predicted - measured) / measured if measured else math.inf


def main() -> None:
    with serving.cluster() as client:
        deploy(client)
        rows = [row for name, known in MODELS.items() for row in compare(client, name, known)]
    report.finish("The model of the batcher against Triton", rows)


if __name__ == "__main__":
    main()
