"""Templates are told apart by what is in them, and nodes made from one cannot harm it."""

from __future__ import annotations

import os
import pathlib

import pytest

from gpufleet_sandbox import locks
from gpufleet_sandbox.node import template

VERSION = "containerd 1.6.20"


def make_archives(folder: pathlib.Path, **contents: str) -> list[pathlib.Path]:
    paths = [folder / f"{name}.tar" for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_text(content)
        os.utime(path, (1, 1))
    return paths


def make_template(folder: pathlib.Path) -> pathlib.Path:
    for name, content in {
        "io.containerd.content.v1.content/blobs/sha256/abc": "blob",
        "io.containerd.metadata.v1.bolt/meta.db": "database",
        f"{template.SNAPSHOTS}/1/fs/bin/sh": "shell",
        f"{template.SNAPSHOTS}/../metadata.db": "snapshots",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A node's containerd root, made from a template in `tmp_path`/abc."""
    (tmp_path / "node").mkdir()
    template.clone(make_template(tmp_path / "abc"), tmp_path / "node/root", tmp_path / "node")
    return tmp_path / "node/root"


def test_key_is_the_same_in_any_order(tmp_path: pathlib.Path) -> None:
    archives = make_archives(tmp_path, pause="p", triton="t")
    assert template.compute_key(archives, VERSION) == template.compute_key(archives[::-1], VERSION)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda paths: (paths[:1], VERSION), id="one archive less"),
        pytest.param(lambda paths: (paths, "containerd 2.1.0"), id="another containerd"),
        pytest.param(lambda paths: (os.utime(paths[0], (2, 2)), (paths, VERSION))[1], id="written again"),
        pytest.param(lambda paths: (paths[0].write_text("longer"), (paths, VERSION))[1], id="other content"),
    ],
)
def test_key_changes(tmp_path: pathlib.Path, change: object) -> None:
    archives = make_archives(tmp_path, pause="p", triton="t")
    before = template.compute_key(archives, VERSION)
    after = template.compute_key(*change(archives))  # type: ignore[operator]
    assert after != before


def test_an_archive_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lost\.tar"):
        template.compute_key([tmp_path / "lost.tar"], VERSION)


def test_layers_and_content_are_shared(root: pathlib.Path) -> None:
    assert (root / template.SNAPSHOTS / "1/fs/bin/sh").read_text() == "shell"
    assert (root / template.SNAPSHOTS / "1").is_symlink()
    assert (root / "io.containerd.content.v1.content/blobs/sha256/abc").stat().st_nlink == 2


def test_databases_are_the_node_s_own(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (root / "io.containerd.metadata.v1.bolt/meta.db").write_text("changed")
    assert (tmp_path / "abc/io.containerd.metadata.v1.bolt/meta.db").read_text() == "database"


def test_the_node_names_its_template(root: pathlib.Path) -> None:
    assert (root.parent / "template").read_text() == "abc"


def test_an_image_removed_from_the_node_stays_in_the_template(
    root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (root / template.SNAPSHOTS / "1").unlink()
    assert (tmp_path / "abc" / template.SNAPSHOTS / "1/fs/bin/sh").read_text() == "shell"


def test_unused_templates_are_kept_for_a_while(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    for age, name in enumerate(["current", "used", "new", "older", "oldest"]):
        folder = template.templates() / name
        folder.mkdir(parents=True)
        os.utime(folder, (1000 - age, 1000 - age))
    node = tmp_path / "instances/default/nodes/n1"
    node.mkdir(parents=True)
    (node / "template").write_text("used")
    template.prune(template.templates() / "current")
    assert sorted(path.name for path in template.templates().iterdir()) == ["current", "new", "older", "used"]


@pytest.fixture
def interrupted(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """What an import leaves that was killed."""
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    part = template.templates() / "0123456789abcdef.part"
    part.mkdir(parents=True)
    return part


def test_remains_of_a_killed_import_are_swept(interrupted: pathlib.Path) -> None:
    template.sweep()
    assert not interrupted.exists()


def test_an_import_that_is_under_way_is_left_alone(interrupted: pathlib.Path) -> None:
    with locks.hold(template.templates() / ".lock"):
        template.sweep()
    assert interrupted.is_dir()
