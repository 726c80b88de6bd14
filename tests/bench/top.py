"""`gpufleet top` on 24,000 GPUs, and what `gpufleet status` takes beyond `kubectl get`. `make bench-top`.

Drawing is measured from the bytes of the read API to the text of the terminal, on an H100 fleet of which a
fifth is cut. The commands run against a control plane of this run, side by side with kubectl.
"""

from __future__ import annotations

import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec

from gpufleet.cli import picture, screen, top
from gpufleet.state import devices, fleet
from tests import builders
from tests.bench import operator, report

NODES = 3000
GPUS_EACH = 8
RACK_NODES = 16
NAMESPACES = 40
REPEATS = 7
STARTS = 9
GOAL_DRAW_S = 1.0
GOAL_BEYOND_MS = 300.0
SIZES = ((80, 24), (200, 50))
_SLICES = (("3g.40gb", 0), ("2g.20gb", 4), ("1g.10gb", 6))


def make_snapshot() -> bytes:
    """A full and busy fleet, as the read API writes it."""
    chance = random.Random(1)
    pods: list[fleet.Pod] = []
    nodes = [_make_node(number, pods, chance) for number in range(NODES)]
    pool = builders.make_pool("h100", topology={"levels": ["block", "rack"]})
    taken = builders.make_snapshot(nodes, pods, pools=[pool])
    return msgspec.json.encode(taken, enc_hook=lambda one: one.model_dump(mode="json", by_alias=True))


def _make_node(number: int, pods: list[fleet.Pod], chance: random.Random) -> fleet.Node:
    name = f"gpu-{number:04}"

    def hold() -> str:
        if chance.random() > 0.85:
            return ""
        namespace = f"team-{chance.randrange(NAMESPACES):02}"
        pods.append(
            builders.make_pod(
                f"pod-{len(pods)}",
                namespace=namespace,
                node=name,
                phase="Running",
                requests={builders.GPU: 1},
            )
        )
        return f"{namespace}/{pods[-1].name}/{pods[-1].uid}"

    gpus = []
    for index in range(GPUS_EACH):
        if chance.random() < 0.2:
            cut = tuple(devices.Instance(f"MIG-{index}-{at}", profile, at, hold()) for profile, at in _SLICES)
            gpus.append(devices.Gpu(index, f"GPU-{number}-{index}", "H100", True, cut))
        else:
            gpus.append(devices.Gpu(index, f"GPU-{number}-{index}", "H100", pod=hold()))
    rack = number // RACK_NODES
    made = builders.make_node(name, product=builders.H100, ready=chance.random() > 0.01)
    labels = {**made.labels, "block": f"b{rack // 16}", "rack": f"r{rack:03}"}
    return fleet.Node(
        name,
        labels=labels,
        allocatable=made.allocatable,
        ready=made.ready,
        devices=devices.DeviceMap("boot", tuple(gpus)),
    )


def draw(body: bytes, view: top.View, size: tuple[int, int]) -> tuple[float, list[str]]:
    """(how long it took in s, the picture)"""
    began_s = time.perf_counter()
    taken = msgspec.json.decode(body, type=picture.Fleet)
    lines = top.draw(taken, view, *size, builders.NOW)
    text = [screen.render(one, coloured=True) for one in lines]
    return time.perf_counter() - began_s, text


def measure_drawing() -> Iterator[report.Row]:
    body = make_snapshot()
    yield report.Row("snapshot of 24,000 GPUs", len(body) / 2**20, "MiB")
    for size in SIZES:
        for level in (None, "gpus"):
            view = top.View("namespace", level)  # type: ignore[arg-type]
            took = [draw(body, view, size)[0] for _ in range(REPEATS)]
            name = f"drawn at {size[0]} columns, {level or 'what fits'}, median"
            yield report.Row(name, statistics.median(took), "s", GOAL_DRAW_S)


def time_command(argv: Sequence[str], env: dict[str, str]) -> float:
    """In ms, until it has ended, whatever it says."""
    began_s = time.perf_counter()
    subprocess.run(argv, env=env, capture_output=True, check=False, timeout=120)
    return 1000 * (time.perf_counter() - began_s)


def measure_start() -> report.Row:
    """`kubectl gpufleet status` beside `kubectl get tsvc -A`, in turns, so that both see the same machine."""
    with operator.control_plane(0) as bench:
        kubectl = str(bench.folder / "kubectl")
        os.symlink(bench.client.program, kubectl)
        folders = [str(bench.folder), str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]
        env = {**os.environ, "KUBECONFIG": str(bench.client.kubeconfig), "PATH": ":".join(folders)}
        first = bench.operator("first")
        first.start()
        first.wait_ready()
        status = [kubectl, "gpufleet", "status", "--server", f"http://127.0.0.1:{first.port}"]
        pairs = [
            (time_command([kubectl, "get", "tsvc", "-A"], env), time_command(status, env))
            for _ in range(STARTS)
        ]
        first.terminate()
    get_ms, status_ms = (statistics.median(one) for one in zip(*pairs, strict=True))
    name = "kubectl gpufleet status beside kubectl get, median"
    return report.Row(name, status_ms, "ms", get_ms + GOAL_BEYOND_MS, get_ms)


def main() -> None:
    rows = list(measure_drawing())
    if "--draw" not in sys.argv:
        rows.append(measure_start())
    report.finish("The commands about the whole fleet", rows)


if __name__ == "__main__":
    main()
