"""Groups of a node in trees of both versions, built in a temporary directory as the kernel shows them."""

from __future__ import annotations

import pathlib
import shutil
import threading

import pytest

from gpufleet_sandbox.node import cgroups

GROUP = "gpufleet/gpf0/n1"
CONTROLLERS = "cpuset cpu io memory pids"


def make_v1(mount: pathlib.Path, *controllers: str) -> cgroups.Hierarchies:
    for name in controllers:
        (mount / name).mkdir(parents=True)
        (mount / name / "cgroup.procs").write_text("1\n")
    return cgroups.read_hierarchies(mount)


def make_v2(mount: pathlib.Path, offered: str = CONTROLLERS, enabled: str = "") -> cgroups.Hierarchies:
    """The kernel fills new groups by itself; here every group on the way is there beforehand."""
    group = mount / GROUP
    group.mkdir(parents=True)
    for folder in (mount, mount / "gpufleet", mount / "gpufleet/gpf0", group):
        (folder / "cgroup.controllers").write_text(offered)
        (folder / "cgroup.subtree_control").write_text(enabled)
        (folder / "cgroup.procs").write_text("")
    return cgroups.read_hierarchies(mount)


@pytest.mark.parametrize(
    ("folders", "files", "version", "roots"),
    [
        pytest.param(
            ["cpu", "memory"], ["cpu/cgroup.procs", "memory/cgroup.procs"], 1, ["cpu", "memory"], id="v1"
        ),
        pytest.param(
            ["cpu", "unified"],
            ["cpu/cgroup.procs", "unified/cgroup.procs", "unified/cgroup.controllers"],
            1,
            ["cpu", "unified"],
            id="hybrid",
        ),
        pytest.param(["system.slice"], ["cgroup.controllers", "cgroup.procs"], 2, [""], id="v2"),
        pytest.param(["cpu", "stray"], ["cpu/cgroup.procs"], 1, ["cpu"], id="a folder that is no hierarchy"),
    ],
)
def test_finds_the_trees(
    tmp_path: pathlib.Path, folders: list[str], files: list[str], version: int, roots: list[str]
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    for file in files:
        (tmp_path / file).touch()
    expected = cgroups.Hierarchies(version, tuple(tmp_path / root for root in roots))
    assert cgroups.read_hierarchies(tmp_path) == expected


def test_a_link_to_a_shared_tree_counts_once(tmp_path: pathlib.Path) -> None:
    make_v1(tmp_path, "cpu,cpuacct")
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    assert cgroups.read_hierarchies(tmp_path).roots == (tmp_path / "cpu,cpuacct",)


def test_no_cgroups_at_all_says_what_would_help(tmp_path: pathlib.Path) -> None:
    with pytest.raises(cgroups.CgroupError, match="mount cgroup2"):
        cgroups.read_hierarchies(tmp_path)


def test_v1_makes_the_group_in_every_tree(tmp_path: pathlib.Path) -> None:
    trees = make_v1(tmp_path, "cpu", "memory", "pids")
    trees.create(GROUP)
    trees.create(GROUP)
    assert [(tmp_path / name / GROUP).is_dir() for name in ("cpu", "memory", "pids")] == [True] * 3


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        pytest.param("0-7", "\n", "0-7", id="empty is filled from the parent"),
        pytest.param("0-7", "2-3\n", "2-3\n", id="what is set stays"),
        pytest.param("\n", "\n", "\n", id="nothing to inherit"),
    ],
)
def test_v1_fills_the_cpuset(tmp_path: pathlib.Path, parent: str, child: str, expected: str) -> None:
    trees = make_v1(tmp_path, "cpuset")
    (tmp_path / "cpuset/n1").mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / name).write_text(parent)
        (tmp_path / "cpuset/n1" / name).write_text(child)
    trees.create("n1")
    assert (tmp_path / "cpuset/n1/cpuset.cpus").read_text() == expected
    assert (tmp_path / "cpuset/n1/cpuset.mems").read_text() == expected


@pytest.mark.parametrize(
    ("offered", "enabled", "written"),
    [
        pytest.param(CONTROLLERS, "", "+cpu +cpuset +memory +pids +io", id="none enabled"),
        pytest.param(CONTROLLERS, "cpu memory", "+cpuset +pids +io", id="some enabled"),
        pytest.param(CONTROLLERS, CONTROLLERS, CONTROLLERS, id="all enabled: left alone"),
        pytest.param(
            f"{CONTROLLERS} hugetlb rdma", CONTROLLERS, "+hugetlb", id="hugetlb where it is offered"
        ),
    ],
)
def test_v2_hands_controllers_down(tmp_path: pathlib.Path, offered: str, enabled: str, written: str) -> None:
    make_v2(tmp_path, offered, enabled).create(GROUP)
    folders = (tmp_path, tmp_path / "gpufleet", tmp_path / "gpufleet/gpf0", tmp_path / GROUP)
    assert [(folder / "cgroup.subtree_control").read_text() for folder in folders] == [written] * 4


def test_v2_without_a_controller_names_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(cgroups.CgroupError, match="cpuset, memory are not available"):
        make_v2(tmp_path, "cpu io pids").create(GROUP)


@pytest.mark.parametrize("make", [pytest.param(make_v1, id="v1"), pytest.param(make_v2, id="v2")])
def test_pids_of_the_group_and_below(tmp_path: pathlib.Path, make: object) -> None:
    trees = make_v1(tmp_path, "cpu", "memory") if make is make_v1 else make_v2(tmp_path)
    pod = trees.roots[0] / GROUP / "kubepods/pod1"
    pod.mkdir(parents=True)
    (trees.roots[0] / GROUP / "cgroup.procs").write_text("7\n")
    (pod / "cgroup.procs").write_text("8\n9\n")
    stranger = trees.roots[0] / "gpufleet/gpf0/n10"
    stranger.mkdir()
    (stranger / "cgroup.procs").write_text("66\n")
    assert trees.find_pids(GROUP) == {7, 8, 9}


def test_remove_takes_empty_parents_and_leaves_neighbours(tmp_path: pathlib.Path) -> None:
    trees = make_v1(tmp_path, "cpu", "memory")
    trees.create(GROUP)
    (tmp_path / "cpu" / GROUP / "kubepods/pod1").mkdir(parents=True)
    (tmp_path / "memory/gpufleet/gpf0/n2").mkdir()
    trees.remove(GROUP)
    assert not (tmp_path / "cpu/gpufleet").exists()
    assert (tmp_path / "memory/gpufleet/gpf0/n2").is_dir()
    assert not (tmp_path / "memory" / GROUP).exists()


def test_removing_what_is_not_there_is_fine(tmp_path: pathlib.Path) -> None:
    make_v1(tmp_path, "cpu").remove(GROUP)
    assert (tmp_path / "cpu").is_dir()


def test_remove_of_a_group_in_use_fails(tmp_path: pathlib.Path) -> None:
    trees = make_v1(tmp_path, "cpu")
    trees.create(GROUP)
    (tmp_path / "cpu" / GROUP / "a-file-stands-for-processes").touch()
    with pytest.raises(OSError):
        trees.remove(GROUP)


def test_groups_may_go_while_they_are_looked_at(tmp_path: pathlib.Path) -> None:
    trees = make_v1(tmp_path, "cpu")
    trees.create(GROUP)
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            for number in range(20):
                (tmp_path / "cpu" / GROUP / f"pod{number}" / "container").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / "cpu" / GROUP / f"pod{number}")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(200):
            assert trees.find_pids(GROUP) == set()
    finally:
        is_over.set()
        thread.join()
