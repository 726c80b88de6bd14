"""What a real Prometheus knows of hours past, for an operator that has just started."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Iterator

import pytest

from gpufleet.decide.autoscaling import recall
from gpufleet.observe import past
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
