"""The informer: pages, bookmarks, and every way in which a watch ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gpufleet import kube
from gpufleet.observe import informer, store
from tests.unit.gpufleet.observe import fakes


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(informer, "LONGEST_BACKOFF_S", 0.008)


def build(
    client: fakes.ScriptedClient, time_source: fakes.ManualClock | None = None, **more: Any
) -> informer.Informer:
    target: store.Store[Any] = store.Store(lambda raw: raw)
    made = informer.Informer(
        client,  # type: ignore[arg-type]
        "v1",
        "ConfigMap",
        target,
        "app=x",
        time_source,
        **more,
    )
    made.target = target  # type: ignore[attr-defined]
    return made


@contextlib.asynccontextmanager
async def running(watched: informer.Informer) -> AsyncIterator[store.Store[Any]]:
    task = asyncio.create_task(watched.run())
    try:
        yield watched.target  # type: ignore[attr-defined]
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def event(type_: str, raw: fakes.Raw) -> fakes.Raw:
    return {"type": type_, "object": raw}


def bookmark(version: int) -> fakes.Raw:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


async def test_pages_are_joined_and_typed() -> None:
    client = fakes.ScriptedClient(
        [
            fakes.build_list(fakes.build_raw("a"), version=5, token="next"),
            fakes.build_list(fakes.build_raw("b"), version=5),
        ]
    )
    watched = build(client)
    async with running(watched) as target:
        await fakes.settle(lambda: client.versions_watched() == ["5"])
        assert target.sorted_keys() == [("team", "a"), ("team", "b")]
        assert target.get("team", "a")["kind"] == "ConfigMap"
        assert watched.synced.is_set()
    assert client.asked[1][1]["continue_"] == "next"
    assert all(params["labelSelector"] == "app=x" for _, params in client.asked)


async def test_events_change_the_store_and_a_bookmark_moves_the_start() -> None:
    added, changed = fakes.build_raw("b", 6), fakes.build_raw("a", 7)
    client = fakes.ScriptedClient(
        [fakes.build_list(fakes.build_raw("a"), fakes.build_raw("c"), version=5)],
        [
            [
                event("ADDED", added),
                event("MODIFIED", changed),
                event("DELETED", fakes.build_raw("c", 8)),
                bookmark(20),
            ]
        ],
    )
    async with running(build(client)) as target:
        await fakes.settle(lambda: client.versions_watched() == ["5", "20"])
        assert target.sorted_keys() == [("team", "a"), ("team", "b")]
        assert target.get("team", "a") == changed


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(kube.Gone(410, "too old"), id="gone"),
    ],
)
async def test_gone_lists_again_and_drops_ghosts(failure: Exception) -> None:
    client = fakes.ScriptedClient(
        [
            fakes.build_list(fakes.build_raw("ghost"), fakes.build_raw("a"), version=5),
            fakes.build_list(fakes.build_raw("a"), version=50),
        ],
        [[failure]],
    )
    async with running(build(client)) as target:
        await fakes.settle(lambda: client.versions_watched() == ["5", "50"])
        assert target.sorted_keys() == [("team", "a")]


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(kube.Unavailable(503, "starting"), id="503"),
        pytest.param(kube.Unavailable(0, "refused"), id="connection refused"),
        pytest.param(kube.Refused(403, "forbidden"), id="forbidden"),
    ],
)
async def test_failures_are_waited_out_without_a_new_list(failure: Exception) -> None:
    client = fakes.ScriptedClient(
        [failure, fakes.build_list(fakes.build_raw("a"), version=5)],
        [[bookmark(9), failure], [event("ADDED", fakes.build_raw("b", 10))]],
    )
    async with running(build(client)) as target:
        await fakes.settle(lambda: client.versions_watched() == ["5", "9", "10"])
        assert target.sorted_keys() == [("team", "a"), ("team", "b")]
    assert [verb for verb, _ in client.asked].count("list") == 2


async def test_a_watch_that_keeps_failing_is_begun_anew_from_a_list() -> None:
    failure = kube.Unavailable(504, "Too large resource version: 90, current: 7")
    client = fakes.ScriptedClient(
        [fakes.build_list(version=90), fakes.build_list(fakes.build_raw("a"), version=7)], [[failure]] * 4
    )
    async with running(build(client)) as target:
        await fakes.settle(lambda: client.versions_watched() == ["90"] * 4 + ["7"])
        assert target.sorted_keys() == [("team", "a")]


async def test_streams_that_end_at_once_are_spaced_out(monkeypatch: pytest.MonkeyPatch) -> None:
    slept_s: list[float] = []

    async def note_sleep(delay_s: float, _sleep: Any = asyncio.sleep) -> None:
        slept_s.append(delay_s)
        await _sleep(0)

    monkeypatch.setattr(informer.asyncio, "sleep", note_sleep)
    client = fakes.ScriptedClient([fakes.build_list(version=5)], [[]] * 5)
    async with running(build(client)):
        async with asyncio.timeout(5):
            while len(client.versions_watched()) < 6:
                await asyncio.tasks.sleep(0)
    assert [delay_s for delay_s in slept_s if delay_s] == [0.001, 0.002, 0.004, 0.008, 0.008]


async def test_a_kind_that_does_not_exist_is_empty_until_it_does() -> None:
    client = fakes.ScriptedClient(
        [kube.NotFound(404, "no such kind"), fakes.build_list(fakes.build_raw("a"), version=5)]
    )
    watched = build(client)
    async with running(watched) as target:
        await watched.synced.wait()
        await fakes.settle(lambda: len(target) == 1)


async def test_age_counts_from_the_last_word_of_the_server() -> None:
    time_source = fakes.ManualClock()
    client = fakes.ScriptedClient([fakes.build_list(version=5)])
    watched = build(client, time_source)
    time_source.time_s += 30
    assert watched.age_s() == 30
    async with running(watched):
        await watched.synced.wait()
        assert watched.age_s() == 0
        time_source.time_s += 7
        assert watched.age_s() == 7


def of(namespace: str, name: str, version: int = 1) -> fakes.Raw:
    raw = fakes.build_raw(name, version)
    raw["metadata"]["namespace"] = namespace
    return raw


async def test_namespaces_are_listed_in_turn_and_watched_side_by_side() -> None:
    client = fakes.ScriptedClient(
        [fakes.build_list(of("a", "one"), version=5), fakes.build_list(of("b", "two"), version=7)],
        [[event("ADDED", of("a", "three", 9))], [event("DELETED", of("b", "two", 8))]],
    )
    watched = build(client, namespaces=("a", "b"))
    async with running(watched) as target:
        await fakes.settle(lambda: len(client.versions_watched()) == 4)
        assert target.sorted_keys() == [("a", "one"), ("a", "three")]
    assert client.paths[:4] == [
        (verb, f"/api/v1/namespaces/{namespace}/configmaps")
        for verb in ("list", "watch")
        for namespace in ("a", "b")
    ]
    assert client.versions_watched() == ["5", "7", "9", "8"], "each goes on from where it was"


async def test_one_namespace_whose_watch_is_too_old_has_all_listed_again() -> None:
    lists = [fakes.build_list(of(name, "x"), version=5) for name in ("a", "b")]
    again = [fakes.build_list(version=8), fakes.build_list(of("b", "x"), version=8)]
    client = fakes.ScriptedClient([*lists, *again], [[kube.Gone(410, "too old")]])
    watched = build(client, namespaces=("a", "b"))
    async with running(watched) as target:
        await fakes.settle(lambda: client.versions_watched()[2:] == ["8", "8"])
        assert target.sorted_keys() == [("b", "x")]
