from __future__ import annotations

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.placement import booking
from gpufleet.state import fleet
from tests.builders import GPU, make_node, make_snapshot


def need(count: int) -> accelerators.AssignedAccelerator:
    return accelerators.AssignedAccelerator(resource=GPU, count=count)


def foreign(index: int, node: str, count: int) -> fleet.Pod:
    return fleet.Pod(f"u{index}", "other", f"p{index}", node=node, phase="Running", requests={GPU: count})


BOOKINGS = st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(0, 5)), max_size=8)


@how(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 8), max_size=5), st.lists(st.integers(0, 9), max_size=5), BOOKINGS)
def test_no_node_is_overbooked_and_room_is_what_can_be_booked(sizes, held, wanted) -> None:
    nodes = [make_node(f"n{index}", {GPU: size}) for index, size in enumerate(sizes)]
    pods = [foreign(index, f"n{index}", count) for index, count in enumerate(held[: len(nodes)])]
    books = booking.Books(make_snapshot(nodes, pods))
    before = {name: free[GPU] for name, free in books.free.items()}
    for count, asked in wanted:
        room = books.count_room(need(count), asked)
        total = sum(free[GPU] for free in books.free.values())
        books.book(need(count), asked)
        assert total - sum(free[GPU] for free in books.free.values()) == room * count
    assert all(min(0, before[name]) <= free[GPU] <= before[name] for name, free in books.free.items())


def test_the_fullest_node_is_filled_first() -> None:
    books = booking.Books(make_snapshot([make_node("a", {GPU: 8}), make_node("b", {GPU: 3})]))
    books.book(need(1), 4)
    assert {name: free[GPU] for name, free in books.free.items()} == {"a": 7, "b": 0}
