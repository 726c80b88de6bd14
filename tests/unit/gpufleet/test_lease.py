"""Leader election: two candidates whose requests may be slow, lost or late never both lead."""

from __future__ import annotations

import dataclasses
import datetime
import heapq
import itertools
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpufleet import lease
from gpufleet import settings as gpufleet_settings

DURATION_S = 15.0


def record(holder: str, version: str = "1") -> lease.Record:
    return lease.Record(holder, version, DURATION_S)


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        pytest.param([(0.0, None)], "write", id="no lease"),
        pytest.param([(0.0, record(""))], "write", id="released"),
        pytest.param([(0.0, record("me"))], "write", id="our own write whose answer was lost"),
        pytest.param([(0.0, record("other"))], "wait", id="held"),
        pytest.param([(0.0, record("other")), (15.0, record("other"))], "wait", id="not yet over"),
        pytest.param([(0.0, record("other")), (15.1, record("other"))], "write", id="over"),
        pytest.param([(0.0, record("other")), (15.1, record("other", "2"))], "wait", id="renewed"),
        pytest.param(
            [(0.0, lease.Record("other", "1", 60)), (16.0, lease.Record("other", "1", 60))],
            "wait",
            id="longer",
        ),
    ],
)
def test_candidate(seen: list[tuple[float, lease.Record | None]], action: str) -> None:
    election = lease.Election("me", DURATION_S)
    found = [election.next_action(told, now_s) for now_s, told in seen]
    assert found[-1] == action
    assert not election.is_leader(0)


@pytest.mark.parametrize(
    ("now_s", "told", "action"),
    [
        pytest.param(104.0, record("me"), "write", id="renews"),
        pytest.param(104.0, None, "write", id="deleted by hand"),
        pytest.param(104.0, record("other"), "exit", id="taken"),
        pytest.param(115.0, record("me"), "exit", id="too late"),
    ],
)
def test_leader(now_s: float, told: lease.Record | None, action: str) -> None:
    election = lease.Election("me", DURATION_S)
    election.renewed(100.0)
    assert election.next_action(told, now_s) == action


def test_leadership_counts_from_the_start_of_the_request() -> None:
    election = lease.Election("me", DURATION_S)
    election.renewed(100.0)
    assert election.is_leader(114.9)
    assert not election.has_lost(114.9)
    assert election.has_lost(115.0)
    assert not election.is_leader(115.0)


def test_stepping_down() -> None:
    election = lease.Election("me", DURATION_S)
    assert not election.step_down()
    election.renewed(100.0)
    assert election.step_down()
    assert not election.is_leader(100.0)


@dataclasses.dataclass
class Server:
    """Compare-and-swap, as the API server does it."""

    version: int = 0
    holder: str = ""

    def read(self) -> lease.Record | None:
        return lease.Record(self.holder, str(self.version), DURATION_S) if self.version else None

    def swap(self, holder: str, seen: lease.Record | None) -> bool:
        if (seen.version if seen else "0") != str(self.version):
            return False
        self.version, self.holder = self.version + 1, holder
        return True


Delays = list[tuple[float, float, bool]]
"""For each request in turn: seconds to the server, seconds back, and whether the answer is lost."""


class Race:
    """Candidates over virtual time; each request reaches the server late and is answered later."""

    def __init__(self, delays: dict[str, Delays], crashes_s: dict[str, float]) -> None:
        self.server = Server()
        self.candidates = {name: lease.Election(name, DURATION_S) for name in ("a", "b")}
        self.delays = {name: itertools.cycle(those) for name, those in delays.items()}
        self.crashes_s = crashes_s
        self.led: set[str] = set()
        self.queue: list[tuple[float, int, object]] = []
        self.order = itertools.count()

    def at(self, time_s: float, act: object) -> None:
        heapq.heappush(self.queue, (time_s, next(self.order), act))

    def start(self, name: str, now_s: float) -> None:
        if now_s < self.crashes_s.get(name, 1e9):
            there_s, back_s, lost = next(self.delays[name])
            self.at(now_s + there_s, lambda at_s: self.answer_read(name, at_s, back_s, lost))

    def answer_read(self, name: str, at_s: float, back_s: float, lost: bool) -> None:
        told = self.server.read()
        if lost:
            self.at(at_s + back_s + 1, lambda now_s: self.start(name, now_s))
        else:
            self.at(at_s + back_s, lambda now_s: self.act(name, told, now_s))

    def act(self, name: str, told: lease.Record | None, now_s: float) -> None:
        if now_s >= self.crashes_s.get(name, 1e9):
            return
        action = self.candidates[name].next_action(told, now_s)
        if action == "wait":
            self.at(now_s + 0.5, lambda later_s: self.start(name, later_s))
        elif action == "write":
            there_s, back_s, lost = next(self.delays[name])
            self.at(now_s + there_s, lambda at_s: self.swap(name, told, now_s, at_s, back_s, lost))
        else:
            self.candidates[name].step_down()

    def swap(
        self, name: str, told: lease.Record | None, started_s: float, at_s: float, back_s: float, lost: bool
    ) -> None:
        swapped = self.server.swap(name, told)
        if swapped and not lost:
            self.at(at_s + back_s, lambda now_s: self.renewed(name, started_s, now_s))
        else:
            self.at(at_s + back_s + 1, lambda now_s: self.start(name, now_s))

    def renewed(self, name: str, started_s: float, now_s: float) -> None:
        self.candidates[name].renewed(started_s)
        self.at(now_s + 4, lambda later_s: self.start(name, later_s))

    def run(self, until_s: float) -> None:
        for number, name in enumerate(self.candidates):
            self.at(float(number), lambda now_s, name=name: self.start(name, now_s))
        while self.queue and self.queue[0][0] < until_s:
            now_s, _, act = heapq.heappop(self.queue)
            act(now_s)  # type: ignore[operator]
            leaders = [
                name
                for name, election in self.candidates.items()
                if election.is_leader(now_s) and now_s < self.crashes_s.get(name, 1e9)
            ]
            assert len(leaders) <= 1, f"{leaders} at {now_s}"
            self.led.update(leaders)


QUICK = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.just(False))
ANY = st.tuples(st.floats(0, 40), st.floats(0, 40), st.booleans())


@settings(max_examples=200)
@given(st.lists(QUICK | ANY, min_size=1, max_size=12), st.lists(QUICK | ANY, min_size=1, max_size=12))
@example([(0.0, 0.0, False), (0.0, 40.0, False)], [(0.0, 0.0, False)])
def test_never_two_leaders(first: Delays, second: Delays) -> None:
    Race({"a": first, "b": second}, {}).run(200)


@given(st.lists(QUICK, min_size=1), st.floats(5, 60))
def test_a_crashed_leader_is_succeeded(delays: Delays, crash_s: float) -> None:
    race = Race({"a": delays, "b": delays}, {"a": crash_s})
    race.run(crash_s + DURATION_S + 10)
    assert "b" in race.led


@dataclasses.dataclass
class MemoryStore:
    """A Lease in this process; `hangs` makes the next requests wait."""

    server: Server = dataclasses.field(default_factory=Server)
    hangs: threading.Event = dataclasses.field(default_factory=threading.Event)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    over: threading.Event = dataclasses.field(default_factory=threading.Event)

    def read(self) -> lease.Record | None:
        if self.hangs.is_set():
            self.over.wait(30)
            raise lease.UnreachableError("hung")
        with self.lock:
            told = self.server.read()
            return dataclasses.replace(told, duration_s=0.0) if told else None

    def write(self, holder: str, seen: lease.Record | None) -> None:
        with self.lock:
            if not self.server.swap(holder, seen):
                raise lease.ConflictError("changed")


def build_elector(name: str, held_in: MemoryStore, lost: threading.Event) -> lease.Elector:
    options = gpufleet_settings.Settings(pod_name=name, lease_duration_s=0.5, lease_renew_s=0.1)
    return lease.Elector(options, held_in, lost.set)


def test_release_lets_a_standby_lead_at_once() -> None:
    held_in, lost = MemoryStore(), threading.Event()
    first, second = build_elector("first", held_in, lost), build_elector("second", held_in, lost)
    first.start()
    assert first.acquire(5)
    second.start()
    assert not second.acquire(0.7)
    assert second.holder == "first"
    first.release()
    assert not first.is_leader
    assert second.acquire(0.4)
    assert second.is_leader
    assert not lost.is_set()
    second.release()
    assert held_in.server.holder == ""


def test_a_hanging_request_ends_leadership_by_the_deadline() -> None:
    held_in, lost = MemoryStore(), threading.Event()
    elector = build_elector("first", held_in, lost)
    elector.start()
    assert elector.acquire(5)
    held_in.hangs.set()
    assert lost.wait(5)
    assert not elector.is_leader
    held_in.over.set()
    elector.release()


def test_a_lease_taken_by_another_ends_leadership() -> None:
    held_in, lost = MemoryStore(), threading.Event()
    elector = build_elector("first", held_in, lost)
    elector.start()
    assert elector.acquire(5)
    with held_in.lock:
        held_in.server.version, held_in.server.holder = 99, "thief"
    assert lost.wait(5)
    elector.release()
    assert held_in.server.holder == "thief"


NOW = datetime.datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("holder", "seen", "transitions", "acquired"),
    [
        pytest.param("me", None, 0, "2030-01-02T03:04:05.000678Z", id="the first ever"),
        pytest.param("me", lease.Record("me", "7", 15, 3, "before"), 3, "before", id="renewal"),
        pytest.param(
            "me", lease.Record("other", "7", 15, 3, "before"), 4, "2030-01-02T03:04:05.000678Z", id="takeover"
        ),
        pytest.param(
            "", lease.Record("me", "7", 15, 3, "before"), 3, "2030-01-02T03:04:05.000678Z", id="release"
        ),
    ],
)
def test_the_lease_written(holder: str, seen: lease.Record | None, transitions: int, acquired: str) -> None:
    options = gpufleet_settings.Settings(pod_name="me", namespace="ns")
    built = lease.build_lease(holder, seen, options, NOW)
    assert built["metadata"].get("resourceVersion") == (seen.version if seen else None)
    told = lease.record_of(built | {"metadata": {"resourceVersion": "8"}})
    assert told == lease.Record(holder, "8", 15.0, transitions, acquired)
