"""Layers are made once for the same inputs, and old ones go."""

from __future__ import annotations

import os
import pathlib

import pytest

from gpufleet_sandbox import progress
from gpufleet_sandbox.images import archive, layers


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> pathlib.Path:
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    return tmp_path


def make(content: str, made: list[str]) -> archive.Layer:
    def fill(root: pathlib.Path) -> None:
        made.append(content)
        (root / "file").write_text(content)

    return layers.ensure_tree("small", [content], progress.Reporter(), "a layer", fill)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        pytest.param(["a", "b"], ["a", "b"], True, id="same"),
        pytest.param(["a", "b"], ["b", "a"], False, id="order"),
        pytest.param(["ab", "c"], ["a", "bc"], False, id="where one ends"),
        pytest.param(["a"], ["a", ""], False, id="an empty one more"),
    ],
)
def test_key(one, two, same):
    assert (layers.compute_key(one) == layers.compute_key(two)) is same


def test_layer_is_made_once():
    made: list[str] = []

    assert make("a", made) == make("a", made)
    assert made == ["a"]


def test_other_inputs_make_another_layer():
    made: list[str] = []

    assert make("a", made).path != make("b", made).path
    assert made == ["a", "b"]


def test_failure_leaves_nothing_that_looks_made():
    def fail(root: pathlib.Path) -> None:
        (root / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        layers.ensure_tree("small", ["a"], progress.Reporter(), "a layer", fail)

    assert list(layers.layers_root().iterdir()) == []


def test_least_recently_used_goes_with_what_belongs_to_it():
    old, unused, used = (make(content, []) for content in "abc")
    for layer, last_used in ((old, 2), (unused, 1), (used, 3)):
        os.utime(layer.path, (last_used, 0))
        layers.unpacked_path(layer.path).mkdir()

    new = make("d", [])

    assert set(layers.layers_root().glob("*.tar")) == {old.path, used.path, new.path}
    assert not archive.digest_path(unused.path).exists()
    assert not layers.unpacked_path(unused.path).exists()
    assert layers.unpacked_path(used.path).is_dir()


def test_only_the_same_name_is_pruned():
    layers.layers_root().mkdir(parents=True)
    keys = [f"{number:016x}" for number in range(5)]
    for name in ("trainer", "trainer-torch"):
        for key in keys:
            (layers.layers_root() / f"{name}-{key}.tar").touch()

    layers.prune(layers.layers_root() / f"trainer-{keys[0]}.tar")

    assert len(list(layers.layers_root().glob("trainer-torch-*.tar"))) == 5
    assert len(list(layers.layers_root().glob("trainer-0*.tar"))) == 3


def test_use_keeps_the_time_of_change(tmp_path):
    path = tmp_path / "image.tar"
    path.touch()
    os.utime(path, (1, 2))

    layers.mark_used(path)

    assert path.stat().st_mtime == 2
    assert path.stat().st_atime > 1


def test_sweep_removes_what_a_killed_run_has_left():
    kept = make("a", [])
    base = layers.unpacked_path(kept.path)
    for left in (layers.layers_root() / "scratch-x", base / "build" / "scratch-y"):
        left.mkdir(parents=True)
        (left / "file").touch()

    layers.sweep()

    assert not list(layers.layers_root().rglob("scratch-*"))
    assert base.is_dir()
    assert kept.path.is_file()
