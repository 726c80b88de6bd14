"""What the exporter of these tests exposes: counters that grow with time, in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, exposition

from gpufleet.simgpu import dcgm, podresources, telemetry, usage
from tests.integration.prometheus import servers
from tests.unit.gpufleet.simgpu import builders

MODEL = 'model="m",version="1"'
PARTS = ("compute_input", "compute_infer", "compute_output")


def triton(per_second: float, labels: str = MODEL) -> servers.Page:
    """A server: requests of two wait 50 ms, run in batches of two for 20 ms; one in ten more is refused."""

    def page(elapsed_s: float) -> str:
        served = per_second * elapsed_s
        return lines(
            {
                "nv_inference_request_success": served,
                "nv_inference_count": 2 * served,
                "nv_inference_exec_count": served / 2,
                "nv_inference_queue_duration_us": 50_000 * served,
                "nv_inference_compute_input_duration_us": 0.0,
                "nv_inference_compute_infer_duration_us": 20_000 * served,
                "nv_inference_compute_output_duration_us": 0.0,
                "nv_inference_pending_request_count": 3.0,
            },
            labels,
        ) + lines({"nv_inference_request_failure": served / 10}, f'{labels},reason="REJECTED"')

    return page


def lines(values: dict[str, float], labels: str = "", suffix: str = "") -> str:
    return "".join(f"{name}{{{labels}}} {value}{suffix}\n" for name, value in values.items())


def both(*pages: servers.Page) -> servers.Page:
    return lambda elapsed_s: "".join(page(elapsed_s) for page in pages)


def constant(text: str) -> servers.Page:
    return lambda elapsed_s: text


def restarting(page: servers.Page, every_s: float) -> servers.Page:
    """Its counters begin anew."""
    return lambda elapsed_s: page(elapsed_s % every_s)


def dated(page: servers.Page, offset_s: float) -> servers.Page:
    """Samples with the time of a clock that is wrong."""

    def shifted(elapsed_s: float) -> str:
        at_ms = round((time.time() + offset_s) * 1000)
        return "".join(f"{line} {at_ms}\n" for line in page(elapsed_s).splitlines())

    return shifted


def histogram(name: str, per_second: float, buckets: dict[str, float]) -> servers.Page:
    """Observations per second that are within each bound, as shares of `per_second`."""

    def page(elapsed_s: float) -> str:
        counts = {bound: share * per_second * elapsed_s for bound, share in buckets.items()}
        return "".join(lines({f"{name}_bucket": n}, f'{MODEL},le="{bound}"') for bound, n in counts.items())

    return page


def devices(of: Callable[[int], str], count: int = 2) -> servers.Page:
    """DCGM's exporter over the devices of one holder."""
    return constant(
        "".join(
            lines(
                {
                    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 0.25 * number,
                    "DCGM_FI_PROF_SM_ACTIVE": 0.125 * number,
                    "DCGM_FI_PROF_DRAM_ACTIVE": 0.0625 * number,
                    "DCGM_FI_DEV_FB_USED": 1000.0 * number,
                    "DCGM_FI_DEV_POWER_USAGE": 300.0,
                    "DCGM_FI_DEV_XID_ERRORS": 0.0 if number == 1 else 31.0,
                },
                of(number),
            )
            for number in range(1, count + 1)
        )
    )


def simulated(namespace: str, pod: str) -> servers.Page:
    """What the exporter of the simulated GPUs says of a MIG instance that is half busy."""
    stock = builders.stock_of(("3g.40gb",))
    instance = stock.gpus[0].instances[0]
    container = (namespace, pod, "triton")
    holders = [podresources.Holder(*container, (instance.uuid,))]
    exporter = dcgm.Exporter("node-a", builders.FakeClock())
    exporter.observe(
        telemetry.read_devices(stock.gpus, holders, {container: usage.Use(0.5, 1024.0)}, 1.0), {}
    )
    registry = CollectorRegistry()
    registry.register(exporter)
    return constant(exposition.generate_latest(registry).decode())


def gpu(number: int, holder: str = "") -> str:
    return f'gpu="{number}",UUID="GPU-{holder}{number}",device="nvidia{number}"'


def instance(number: int, holder: str = "") -> str:
    """Of one board."""
    return f'gpu="0",UUID="GPU-{holder}0",GPU_I_PROFILE="1g.10gb",GPU_I_ID="{number}"'


def held(namespace: str, pod: str, labels: str) -> str:
    return f'{labels},namespace="{namespace}",pod="{pod}",container="triton"'
