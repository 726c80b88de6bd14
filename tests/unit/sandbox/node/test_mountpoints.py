"""Directories that nodes mount over come with the first node and go with the last."""

from __future__ import annotations

import pathlib

import pytest

from gpufleet_sandbox.node import layout, mountpoints


@pytest.fixture
def machine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A machine that has one of two mount points already, and named network namespaces."""
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(layout, "MOUNT_POINTS", (str(tmp_path / "kubelet"), str(tmp_path / "cni")))
    monkeypatch.setattr(layout, "NETNS_FOLDER", pathlib.Path("/"))
    (tmp_path / "cni").mkdir()
    return tmp_path


def test_last_node_takes_away_what_was_made(machine: pathlib.Path) -> None:
    mountpoints.claim("gpf0-n1")
    mountpoints.claim("gpf0-n2")
    mountpoints.release("gpf0-n1")
    assert (machine / "kubelet").is_dir()
    mountpoints.release("gpf0-n2")
    assert not (machine / "kubelet").exists()
    assert (machine / "cni").is_dir()


def test_what_somebody_uses_stays(machine: pathlib.Path) -> None:
    mountpoints.claim("gpf0-n1")
    (machine / "kubelet" / "file").touch()
    mountpoints.release("gpf0-n1")
    assert (machine / "kubelet" / "file").exists()


def test_a_node_that_claimed_twice_is_one_node(machine: pathlib.Path) -> None:
    mountpoints.claim("gpf0-n1")
    mountpoints.claim("gpf0-n1")
    mountpoints.release("gpf0-n1")
    assert not (machine / "kubelet").exists()


def test_releasing_what_never_claimed_changes_nothing(machine: pathlib.Path) -> None:
    mountpoints.claim("gpf0-n1")
    mountpoints.release("gpf0-n9")
    assert (machine / "kubelet").is_dir()
