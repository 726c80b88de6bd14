"""`gpufleet sandbox demo`: the main job on this machine, from nothing to answers, shown step by step.

A cluster, the chart installed with Helm, GPUs cut into MIG slices, a TritonService that answers, a
TrainingJob that learns, and what Prometheus saw of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator

from gpufleet_sandbox import binaries, fleet, gobuild, inference, kubectl, local, progress, prometheus, state

NAMESPACE = "team-a"
SERVICE = "double"
JOB = "regression"
_TIMEOUT_S = 240.0


@dataclasses.dataclass
class Demo:
    """The steps, in the order in which `run` shows them."""

    provider: local.LocalProvider
    reporter: progress.Reporter
    client: kubectl.Kubectl
    helm: pathlib.Path

    def run(self) -> None:
        self._install()
        self._cut_gpus()
        self._serve()
        self._train()
        self._show()

    def _install(self) -> None:
        with self.reporter.step("chart installed: operator and simulated GPUs"):
            fleet.install(self.client, self.helm)
            self.client.run("create", "namespace", NAMESPACE)

    def _cut_gpus(self) -> None:
        node = self.provider.nodes()[0]
        with self.reporter.step(f"{node}: one GPU cut into MIG slices"):
            fleet.cut(self.client, node)
        self._print("get", "nodes", "-o", _GPU_COLUMNS)

    def _serve(self) -> None:
        with self.reporter.step(f"TritonService {SERVICE} is Ready"):
            self._apply("gpu-pool.yaml", "triton-service.yaml")
            self._wait("tsvc", SERVICE, "Ready")
        with inference.forward(self.client, NAMESPACE, f"svc/{SERVICE}", 8000) as address:
            for numbers in ([1.0, 2.0, 3.0], [0.5, 20.0, -7.0, 40.0]):
                answer = inference.infer(address, "double", "NUMBERS", numbers)
                self.reporter.say(f"  double({numbers}) = {answer}")

    def _train(self) -> None:
        with self.reporter.step(f"TrainingJob {JOB} has started"):
            self._apply("training-job.yaml")
            kubectl.wait_until(f"a worker of {JOB} running", self._has_worker, timeout_s=_TIMEOUT_S)
        with self.reporter.step(f"TrainingJob {JOB} has finished"):
            self._follow_loss()
            self._wait("tjob", JOB, "Succeeded")

    def _has_worker(self) -> bool:
        pods = self.client.get("pods", "-n", NAMESPACE, "-l", f"gpufleet.dev/job={JOB}")["items"]
        return any(pod["status"]["phase"] in ("Running", "Succeeded") for pod in pods)

    def _follow_loss(self) -> None:
        selector = f"gpufleet.dev/job={JOB},batch.kubernetes.io/job-completion-index=0"
        argv = self.client.argv("logs", "-n", NAMESPACE, "-l", selector, "--follow", "--tail=-1")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as logs:
            for line in logs.stdout or ():
                if "loss" in line:
                    self.reporter.say(f"  {line.rstrip()}")

    def _show(self) -> None:
        self._print("get", "tsvc,tjob,gpool", "-n", NAMESPACE)
        record = state.load(self.provider.name)
        if record is None:
            return
        url = prometheus.url(record)
        self.reporter.say(f"\nPrometheus: {url}")
        for query in (
            "sum by (model) (nv_inference_count)",
            "count by (GPU_I_PROFILE) (DCGM_FI_PROF_GR_ENGINE_ACTIVE)",
        ):
            self.reporter.say(f"  {query} → {_ask(url, query)}")
        self.reporter.say(f"export KUBECONFIG={self.client.kubeconfig}")

    def _apply(self, *names: str) -> None:
        for name in names:
            self.client.run(
                "apply",
                "-n",
                NAMESPACE,
                "--server-side",
                "-f",
                str(gobuild.tools_root().parent / "examples" / name),
            )

    def _wait(self, kind: str, name: str, condition: str) -> None:
        limit = f"--timeout={_TIMEOUT_S:.0f}s"
        self.client.run("wait", "-n", NAMESPACE, f"{kind}/{name}", f"--for=condition={condition}", limit)

    def _print(self, *args: str) -> None:
        self.reporter.say(f"$ kubectl {' '.join(args)}\n{self.client.run(*args).rstrip()}")


_GPU_COLUMNS = (
    "custom-columns=NODE:.metadata.name,PRODUCT:.metadata.labels.nvidia\\.com/gpu\\.product,"
    "GPUS:.status.allocatable.nvidia\\.com/gpu,SLICES:.status.allocatable.nvidia\\.com/mig-1g\\.10gb"
)


def run(reporter: progress.Reporter) -> None:
    """Everything, then waits for Ctrl-C at a terminal; elsewhere takes the cluster down at once."""
    provider = local.LocalProvider(reporter=reporter)
    helm = binaries.ensure("helm", reporter)
    with _taken_down_at_the_end(provider):
        provider.up()
        client = kubectl.Kubectl(binaries.ensure("kubectl", reporter), provider.kubeconfig())
        with reporter.step("the whole demo, cluster excepted"):
            Demo(provider, reporter, client, helm).run()
        if sys.stdin is not None and sys.stdin.isatty():
            reporter.say("The cluster stays until Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


@contextlib.contextmanager
def _taken_down_at_the_end(provider: local.LocalProvider) -> Iterator[None]:
    try:
        yield
    finally:
        provider.down()


def _ask(url: str, query: str) -> str:
    """The answer of one instant query, as `labels: value`."""
    with urllib.request.urlopen(
        f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10
    ) as reply:
        series = json.load(reply)["data"]["result"]
    return ", ".join(f"{json.dumps(one['metric'])} {one['value'][1]}" for one in series) or "nothing yet"
