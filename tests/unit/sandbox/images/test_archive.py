"""Docker archives: the same tree gives the same bytes, and the manifest names what is inside."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import tarfile

import pytest

from gpufleet_sandbox.images import archive

NAME = "gpufleet.dev/test:1"


def make_tree(root: pathlib.Path, order: int = 1) -> pathlib.Path:
    """A small tree; `order` −1 makes its files the other way round, at other times."""
    for name in ("b/two", "a", "b/one")[::order]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o750)
        os.utime(path, (order + 100, order + 100))
    (root / "folder-link").symlink_to("b")
    (root / "link").symlink_to("a")
    return root


def read_members(path: pathlib.Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar}


def read_json(path: pathlib.Path, name: str):
    with tarfile.open(path) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return json.loads(file.read())


def write_image(folder: pathlib.Path, config: archive.Config) -> pathlib.Path:
    layers = [
        archive.write_layer(make_tree(folder / "tree"), folder / "base.tar"),
        archive.write_layer(make_tree(folder / "other"), folder / "top.tar", prefix="opt"),
    ]
    archive.write(folder / "image.tar", NAME, layers, config)
    return folder / "image.tar"


def test_same_tree_gives_the_same_bytes(tmp_path):
    one = archive.write_layer(make_tree(tmp_path / "one"), tmp_path / "one.tar")
    two = archive.write_layer(make_tree(tmp_path / "two", order=-1), tmp_path / "two.tar")

    assert one.digest == two.digest
    assert one.path.read_bytes() == two.path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: (root / "a").write_text("other"), id="content"),
        pytest.param(lambda root: (root / "a").chmod(0o700), id="mode"),
        pytest.param(lambda root: (root / "a").rename(root / "c"), id="name"),
        pytest.param(lambda root: (root / "new").mkdir(), id="empty folder"),
    ],
)
def test_change_of_a_tree_changes_its_digest(tmp_path, change):
    before = archive.write_layer(make_tree(tmp_path / "tree"), tmp_path / "before.tar")

    change(tmp_path / "tree")

    assert archive.write_layer(tmp_path / "tree", tmp_path / "after.tar").digest != before.digest


def test_members_belong_to_root_and_have_no_time(tmp_path):
    layer = archive.write_layer(make_tree(tmp_path / "tree"), tmp_path / "layer.tar")

    members = read_members(layer.path)
    assert list(members) == ["a", "b", "folder-link", "link", "b/one", "b/two"]
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members.values()} == {
        (0, 0, "", "", 0)
    }
    assert members["a"].mode == 0o750
    assert (members["folder-link"].issym(), members["folder-link"].linkname) == (True, "b")


def test_parents_come_before_what_is_in_them(tmp_path):
    (tmp_path / "tree/z/y/x").mkdir(parents=True)
    layer = archive.write_layer(tmp_path / "tree", tmp_path / "layer.tar")

    assert list(read_members(layer.path)) == ["z", "z/y", "z/y/x"]


def test_pipes_and_sockets_are_left_out(tmp_path):
    os.mkfifo(make_tree(tmp_path / "tree") / "pipe")
    layer = archive.write_layer(tmp_path / "tree", tmp_path / "layer.tar")

    assert "pipe" not in read_members(layer.path)


def test_digest_is_that_of_the_file_and_is_kept(tmp_path):
    layer = archive.write_layer(make_tree(tmp_path / "tree"), tmp_path / "layer.tar")

    assert layer.digest == f"sha256:{hashlib.sha256(layer.path.read_bytes()).hexdigest()}"
    assert archive.digest_path(layer.path).read_text() == layer.digest.removeprefix("sha256:")
    assert archive.read_layer(layer.path) == layer


def test_rewritten_layer_has_a_new_digest(tmp_path):
    before = archive.write_layer(make_tree(tmp_path / "tree"), tmp_path / "layer.tar")
    (tmp_path / "tree/a").write_text("other")

    after = archive.write_layer(tmp_path / "tree", tmp_path / "layer.tar")

    assert after.digest != before.digest
    assert archive.read_layer(after.path) == after


def test_manifest_names_the_configuration_and_the_layers(tmp_path):
    image = write_image(tmp_path, archive.Config())

    [entry] = read_json(image, "manifest.json")
    members = read_members(image)
    assert entry["RepoTags"] == [NAME]
    assert set(members) == {"manifest.json", entry["Config"], *entry["Layers"]}
    with tarfile.open(image) as tar:
        hashes = [hashlib.sha256(tar.extractfile(name).read()).hexdigest() for name in entry["Layers"]]
        config = tar.extractfile(entry["Config"]).read()
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in hashes]
    assert entry["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(archive.Config(), {"WorkingDir": "/"}, id="nothing said"),
        pytest.param(archive.Config(user="65532"), {"User": "65532"}, id="user"),
        pytest.param(
            archive.Config(entrypoint=["gpufleet"], command=["operator"]),
            {"Entrypoint": ["gpufleet"], "Cmd": ["operator"]},
            id="program",
        ),
        pytest.param(archive.Config(working_directory="/srv"), {"WorkingDir": "/srv"}, id="folder"),
        pytest.param(
            archive.Config(environment={"A": "1"}), {"Env": [f"PATH={archive.PATH}", "A=1"]}, id="variable"
        ),
        pytest.param(archive.Config(environment={"PATH": "/x"}), {"Env": ["PATH=/x"]}, id="own path"),
    ],
)
def test_configuration(config, expected):
    document = json.loads(config.to_json([]))

    assert {"Env": [f"PATH={archive.PATH}"], "WorkingDir": "/"} | expected == document["config"]


def test_image_is_the_same_every_time(tmp_path):
    one, two = (write_image(tmp_path / name, archive.Config(user="1")) for name in ("one", "two"))

    assert one.read_bytes() == two.read_bytes()
