"""Indices, ports and sizes: what a second `up`, or a second sandbox, gets."""

from __future__ import annotations

import socket

import pytest

from gpufleet_sandbox import instance, state


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    # What runs on this machine must not matter here.
    monkeypatch.setattr(state, "_has_interface", lambda name: False)
    return tmp_path


def test_first_sandbox_listens_on_loopback_without_nodes():
    record = state.plan("a", nodes=0, kwok=3)

    assert (record.index, record.address, record.nodes, record.kwok) == (0, "127.0.0.1", 0, 3)
    assert state.load("a") == record


def test_sandbox_with_nodes_listens_on_its_bridge():
    record = state.plan("a", nodes=1, kwok=0)

    assert record.address == instance.Instance("a", 0).bridge_ip


def test_sandboxes_side_by_side_share_nothing():
    first, second = state.plan("a", 0, 1), state.plan("b", 0, 1)

    assert first.index != second.index
    assert set(first.ports.values()).isdisjoint(second.ports.values())
    assert state.load_all() == [first, second]


def test_index_whose_bridge_exists_is_skipped(monkeypatch):
    monkeypatch.setattr(state, "_has_interface", lambda name: name == "gpf0br")

    assert state.plan("a", 1, 0).index == 1


def test_every_port_is_allotted_once():
    ports = state.allot_ports(3)

    assert set(ports) == set(state.PORT_NAMES)
    assert len(set(ports.values())) == len(ports)


def test_busy_port_is_skipped():
    free = state.allot_ports(15)["apiserver"]
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", free))
        busy.listen()

        assert free not in state.allot_ports(15).values()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param((0, 2), (0, 2), (0, 2), id="same size"),
        pytest.param((0, 2), (0, 5), (0, 5), id="more simulated nodes"),
        pytest.param((0, 5), (0, 2), (0, 5), id="simulated nodes stay"),
        pytest.param((1, 0), (2, 4), (2, 4), id="more of both"),
    ],
)
def test_second_up_grows(before, after, expected):
    first = state.plan("a", *before)

    second = state.plan("a", *after)

    assert (second.nodes, second.kwok) == expected
    assert (second.index, second.ports) == (first.index, first.ports)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((2, 0), (1, 0), id="fewer real nodes"),
        pytest.param((0, 2), (1, 2), id="from loopback to a bridge"),
        pytest.param((2, 0), (0, 2), id="from a bridge to loopback"),
    ],
)
def test_other_shapes_need_a_down_first(before, after):
    state.plan("a", *before)

    with pytest.raises(state.StateError, match="sandbox down --name a"):
        state.plan("a", *after)


@pytest.mark.parametrize(
    ("name", "nodes", "match"),
    [
        pytest.param("Upper", 0, "no name", id="upper case"),
        pytest.param("../x", 0, "no name", id="path"),
        pytest.param("", 0, "no name", id="empty"),
        pytest.param("x" * 21, 0, "no name", id="too long"),
        pytest.param("a", 65, "outside", id="too many nodes"),
        pytest.param("a", -1, "outside", id="negative"),
    ],
)
def test_bad_requests_are_refused(name, nodes, match):
    with pytest.raises(state.StateError, match=match):
        state.plan(name, nodes, 0)


def test_seventeenth_sandbox_is_refused():
    for number in range(instance.MAX_INSTANCES):
        state.plan(f"s{number}", 0, 0)

    with pytest.raises(state.StateError, match="take one down"):
        state.plan("last", 0, 0)
