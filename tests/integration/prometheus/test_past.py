"""What a real Prometheus knows of hours past, for an operator that has just started."""

from __future__ import annotations

import asyncio
import functools
import math
import pathlib
import subprocess
import time
from collections.abc import Iterator

import pytest

from gpufleet.decide.autoscaling import forecast, recall
from gpufleet.observe import answers, past, prometheus
from gpufleet.state import samples
from gpufleet_sandbox import binaries
from tests.integration.prometheus import exposition, servers

PROGRAMS = {"2": "prometheus", "3": "prometheus-3"}
TEAM, TENANT = "team-a", "tenant"
MINUTES = 50
"""Prometheus refuses samples that are more than an hour older than the newest."""
FIRST, SECOND = "vision-850a22d955-6c7777d4c-ks976", "vision-850a22d955-6c7777d4c-mkfdb"


@functools.cache
def began_s() -> float:
    """A whole minute, so that minutes of the load are minutes of the histories."""
    return 60.0 * (time.time() // 60 - MINUTES)


def course(per_second: float, from_minute: int, until_minute: int) -> servers.Page:
    """Samples of the past, one in 15 s, all at one scrape."""

    @functools.cache
    def build() -> str:
        page, lines = exposition.triton(per_second), []
        for at_s in range(60 * from_minute, 60 * until_minute + 1, 15):
            at_ms = round(1000 * (began_s() + at_s))
            lines += [f"{line} {at_ms}\n" for line in page(at_s - 60.0 * from_minute).splitlines()]
        return "".join(lines)

    return lambda elapsed_s: build()


PAGES = {
    # The second server takes over where the first one goes.
    "first": course(20, 0, 25),
    "second": course(40, 25, MINUTES - 1),
    "other": course(5, 0, MINUTES - 1),
    "forged": course(9000, 0, MINUTES - 1),
}
TARGETS = [
    {"page": "first", "namespace": TEAM, "pod": FIRST},
    {"page": "second", "namespace": TEAM, "pod": SECOND},
    {"page": "other", "namespace": TEAM, "pod": "vision-2-850a22d955-6c7777d4c-aaaaa"},
    {"page": "forged", "namespace": TENANT, "pod": "vision-850a22d955-6c7777d4c-zzzzz"},
    {"page": "forged", "namespace": TEAM, "pod": "by-hand"},
]
SERVICES = {(TEAM, "vision"), (TEAM, "vision-2"), (TENANT, "vision")}


@pytest.fixture(scope="module", params=list(PROGRAMS))
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    exporter = servers.Exporter(PAGES)
    program = binaries.ensure(PROGRAMS[request.param])
    with exporter.serve():
        jobs = [servers.build_job("pods", exporter, TARGETS)]
        with servers.run(program, jobs, "", tmp_path_factory.mktemp("prometheus")) as found:
            yield found


def read(url: str, **options: object) -> recall.Past:
    historian = past.Historian(servers.build_options(url, prometheus_window="1m", **options), lambda _: None)
    return asyncio.run(historian.read())


@pytest.fixture(scope="module")
def histories(url: str) -> recall.Past:
    def is_there() -> recall.Past | None:
        found = read(url)
        if found.keys() != SERVICES:
            return None
        known = [loads(found, *service).keys() for service in SERVICES]
        # Pages come in one after the other, also those of two servers of one service.
        is_whole = all(min(minutes) <= 2 and max(minutes) >= MINUTES - 3 for minutes in known)
        return found if is_whole else None

    found: recall.Past = servers.wait_for("loads of the past", is_there)
    return found


def loads(histories: recall.Past, namespace: str, name: str) -> dict[int, float]:
    """By minute since the first."""
    history = histories[namespace, name]
    values = memoryview(history.loads).cast("f")
    assert history.index is not None
    first = history.index - len(values) - round(began_s() / 60)
    return {first + at: one for at, one in enumerate(values) if not math.isnan(one)}


def test_servers_that_are_gone_count(histories: recall.Past) -> None:
    """With a tenth that was refused; in the minute of the change neither has a whole one."""
    found = loads(histories, TEAM, "vision")
    assert [found[minute] for minute in range(2, 24)] == pytest.approx([22.0] * 22, rel=0.01)
    later = range(27, MINUTES - 2)
    assert [found[minute] for minute in later] == pytest.approx([44.0] * len(later), rel=0.01)


def test_every_service_has_its_own(histories: recall.Past) -> None:
    assert loads(histories, TEAM, "vision-2")[10] == pytest.approx(5.5, rel=0.01)
    assert loads(histories, TENANT, "vision")[10] == pytest.approx(9900, rel=0.01)
    assert histories.keys() == SERVICES


async def test_it_is_told_once(url: str, histories: recall.Past) -> None:
    told: list[recall.Past] = []
    historian = past.Historian(servers.build_options(url, prometheus_window="1m"), told.append)
    await asyncio.wait_for(historian.run(), 30)
    assert [one.keys() for one in told] == [histories.keys()]


async def test_the_first_decisions_do_not_wait_for_it(
    url: str, monkeypatch: pytest.MonkeyPatch, histories: recall.Past
) -> None:
    """The sampler looks while the historian is refused again and again."""
    monkeypatch.setattr("gpufleet.observe.past.PAUSE_S", 0.05)
    told: list[recall.Past] = []
    silent = past.Historian(servers.build_options("http://127.0.0.1:1"), told.append)
    trying = asyncio.create_task(silent.run())
    look: samples.Look = await servers.look(url)
    assert (look.error, look.number) == ("", 1)
    await asyncio.wait_for(trying, 30)
    assert told == []


async def test_an_answer_that_is_too_long_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch, histories: recall.Past
) -> None:
    monkeypatch.setattr("gpufleet.observe.prometheus.LARGEST_ANSWER", 1000)
    historian = past.Historian(servers.build_options(url, prometheus_window="1m"), lambda _: None)
    with pytest.raises(Exception, match="longer than 1000 bytes"):
        await historian.read()


def write_days(path: pathlib.Path, until_s: float) -> None:
    """Two days of one server whose load repeats daily, in OpenMetrics."""
    served, lines = 0.0, ["# TYPE nv_inference_request_success unknown"]
    labels = f'namespace="{TEAM}",pod="{FIRST}",model="m",version="1"'
    for step in range(3 * 2880, -1, -1):
        at_s = until_s - 20 * step
        served += 20 * daily(at_s)
        lines.append(f"nv_inference_request_success{{{labels}}} {served:.1f} {at_s:.0f}")
    path.write_text("\n".join([*lines, "# EOF", ""]))


def daily(at_s: float) -> float:
    return 50 + 40 * math.sin(2 * math.pi * at_s / 86400)


@pytest.fixture(scope="module", params=list(PROGRAMS))
def of_days(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("days")
    write_days(folder / "days.txt", 60.0 * (time.time() // 60))
    argv = [str(binaries.ensure("promtool")), "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*argv, "days.txt", "data"], cwd=folder, check=True, capture_output=True)
    with servers.run(binaries.ensure(PROGRAMS[request.param]), [], "", folder) as found:
        yield found


def test_a_daily_season_outlasts_a_restart(of_days: str) -> None:
    history = read(of_days)[TEAM, "vision"]
    values = memoryview(history.loads).cast("f").tolist()
    assert history.index is not None
    assert len(values) == pytest.approx(2880, abs=5)
    first = history.index - len(values)
    foretold = [daily(60.0 * (first + at) + 30) for at in range(len(values))]
    assert values == pytest.approx(foretold, rel=0.03, nan_ok=False)
    ahead = forecast.predict(history, 600.0, 60.0 * history.index)
    assert ahead is not None
    assert (history.track.period, ahead.method) == (1440, "Seasonal")


def test_of_what_is_older_an_error_costs_no_more_than_itself(
    of_days: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(of_days)[TEAM, "vision"]
    seen: list[float] = []
    ask = prometheus.Asker.ask_range

    async def fail_later(self: prometheus.Asker, session: object, query: str, *span: float) -> object:
        seen.append(span[1])
        if len(seen) > 2:
            raise answers.PrometheusError("too many samples")
        return await ask(self, session, query, *span)  # type: ignore[arg-type]

    monkeypatch.setattr(prometheus.Asker, "ask_range", fail_later)
    part = read(of_days)[TEAM, "vision"]
    assert part.loads == whole.loads[-len(part.loads) :]
    assert len(memoryview(part.loads).cast("f")) == pytest.approx(2 * 60 * past.HOURS, abs=3)
