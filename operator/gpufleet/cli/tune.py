"""`gpufleet triton tune`: what a running server's own counters say about its batching."""

from __future__ import annotations

from typing import Any

import click

from gpufleet.decide.triton import service_time, tuning
from gpufleet.sim import batcher, capacity

_NANOSECONDS = 1e9


def read_points(statistics: Any) -> list[service_time.Point]:
    """Mean time and number of batches by size: input, inference and output together.

    `statistics` is a ModelStatistics of Triton's gRPC protocol, whose batch_stats count executions.
    """
    points = []
    for one in statistics.batch_stats:
        count = one.compute_infer.count
        total_ns = one.compute_input.ns + one.compute_infer.ns + one.compute_output.ns
        if count:
            points.append(service_time.Point(one.batch_size, total_ns / count / _NANOSECONDS, count))
    return sorted(points, key=lambda point: point.batch)


def read_setting(config: Any) -> service_time.Setting:
    """What is set now, as far as the model of the batcher knows it."""
    batches = config.max_batch_size if config.HasField("dynamic_batching") else 1
    instances = sum(max(1, group.count) for group in config.instance_group) or 1
    delay_us = config.dynamic_batching.max_queue_delay_microseconds
    return service_time.Setting(max(1, batches), delay_us / 1e6, instances)


@click.command("tune")
@click.argument("url", metavar="HOST:PORT")
@click.argument("model")
@click.option(
    "--target-ms", required=True, type=click.FloatRange(min=0.1), help="Latency to keep, in milliseconds."
)
@click.option("--percentile", default=99.0, show_default=True, type=click.FloatRange(50, 99.9))
@click.option(
    "--max-batch", default=128, show_default=True, help="Largest batch that the model and its memory take."
)
@click.option("--max-instances", default=1, show_default=True, help="Instances that the memory allows.")
@click.option(
    "--contention",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="What a second busy instance costs the first: 0 nothing, 1 as if they took turns.",
)
def tune(
    url: str,
    model: str,
    target_ms: float,
    percentile: float,
    max_batch: int,
    max_instances: int,
    contention: float,
) -> None:
    """Recommend batching for MODEL on the Triton server at HOST:PORT (gRPC); changes nothing.

    Fits the time of a batch to the server's counters, so the model must have served batches of two sizes.
    """
    statistics, config = read_server(url, model)
    fitted = service_time.fit(read_points(statistics))
    if fitted is None:
        raise click.ClickException(
            f"{model} has not run batches of two sizes yet: send it load, as `gpufleet agent load` does, "
            "with --batch 1 and with a larger one"
        )
    objective = tuning.Objective(percentile / 100, target_ms / 1000)
    measure = capacity.measure_with(batcher.Model(fitted.time, contention=contention), objective)
    limits = tuning.Limits(max_batch, max_instances)
    choice = tuning.search(fitted.time, objective, limits, measure)
    _print(fitted, read_setting(config), choice, measure)


def read_server(url: str, model: str) -> tuple[Any, Any]:
    """Statistics and configuration of the model's newest version. Raises click.ClickException."""
    from tritonclient import grpc, utils

    try:
        client = grpc.InferenceServerClient(url)
        answer = client.get_inference_statistics(model)
        return answer.model_stats[-1], client.get_model_config(model).config
    except utils.InferenceServerException as error:
        raise click.ClickException(f"{url}: {error.message()}") from error


def _print(
    fitted: service_time.Fit,
    present: service_time.Setting,
    choice: tuning.Choice,
    measure: tuning.Measure,
) -> None:
    click.echo("batch  executions  measured ms  fitted ms")
    for point in fitted.points:
        line_ms = 1000 * fitted.time.predict_s(point.batch)
        click.echo(f"{point.batch:>5}  {point.count:>10}  {1000 * point.seconds:>11.3f}  {line_ms:>9.3f}")
    alpha_ms, beta_ms = 1000 * fitted.time.alpha_s, 1000 * fitted.time.beta_s
    click.echo(f"τ(b) = {alpha_ms:.3f} ms + {beta_ms:.3f} ms · b, R² {fitted.r_squared:.3f}")
    click.echo(f"now:  {_describe(present)}: {measure(present):.0f} requests per second by the model")
    click.echo(f"best: {_describe(choice.setting)}: {choice.reason}")
    if choice.capacity:
        click.echo(_to_yaml(choice.setting))


def _describe(setting: service_time.Setting) -> str:
    return (
        f"batches up to {setting.max_batch}, delay {1e6 * setting.delay_s:.0f} µs, "
        f"{setting.instances} instances"
    )


def _to_yaml(setting: service_time.Setting) -> str:
    """The fields of spec.models[] that make it so."""
    delay = f"{{maxQueueDelayMicroseconds: {1e6 * setting.delay_s:.0f}}}" if setting.delay_s else "{}"
    instances = f"instanceGroups: [{{count: {setting.instances}}}]"
    return f"maxBatchSize: {setting.max_batch}\nbatching: {delay}\n{instances}"
