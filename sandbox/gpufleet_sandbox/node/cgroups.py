"""The node's group in the kernel's cgroup tree, for version 1 (a tree per controller) and version 2 (one).

The kubelet builds its own groups below this one, so whatever runs in it is a container of the node.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

from gpufleet_sandbox import provider

MOUNT = pathlib.Path("/sys/fs/cgroup")
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
# What the kubelet refuses to do without on version 2.
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
_CONTROLLERS_IF_THERE = ("hugetlb", "io")


class CgroupError(provider.NodeError):
    """This machine's cgroups cannot carry a node; the message says what would help."""


@dataclasses.dataclass(frozen=True)
class Hierarchies:
    """The cgroup trees of this machine: several on version 1, one on version 2."""

    version: int
    roots: tuple[pathlib.Path, ...]

    def create(self, group: str) -> None:
        """Makes `group` in every tree, fit to hold containers. Raises CgroupError."""
        for root in self.roots:
            for parent, child in _steps(root, group):
                if self.version == 2:
                    _delegate(parent)
                child.mkdir(exist_ok=True)
                _inherit_cpuset(parent, child)
            if self.version == 2:
                _delegate(root / group)

    def find_pids(self, group: str) -> set[int]:
        """Every process in `group` and below it."""
        pids: set[int] = set()
        for folder in self._folders(group):
            with contextlib.suppress(OSError):
                pids.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
        return pids

    def remove(self, group: str) -> None:
        """Removes `group` with all below it, and parents that are empty then. Raises OSError while in use."""
        for folder in self._folders(group):
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
        for root in self.roots:
            for _, parent in reversed(list(_steps(root, group))[:-1]):
                # Another node may live there.
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def _folders(self, group: str) -> Iterator[pathlib.Path]:
        """`group` and all below it in every tree, children before their parents.

        Containers that end take their groups away meanwhile, which os.walk passes over.
        """
        for root in self.roots:
            for folder, _, _ in os.walk(root / group, topdown=False):
                yield pathlib.Path(folder)


def read_hierarchies(mount: pathlib.Path = MOUNT) -> Hierarchies:
    """Finds the trees below `mount`. Raises CgroupError where there are none."""
    if (mount / "cgroup.controllers").is_file():
        return Hierarchies(2, (mount,))
    # systemd links cpu and cpuacct to the one folder that holds both.
    folders = [path for path in sorted(mount.glob("*")) if path.is_dir() and not path.is_symlink()]
    roots = tuple(path for path in folders if (path / "cgroup.procs").is_file())
    if not roots:
        raise CgroupError(f"no cgroups are mounted at {mount}; containers need them: mount cgroup2 there")
    return Hierarchies(1, roots)


def _steps(root: pathlib.Path, group: str) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """(parent, child) from the root down to `group`."""
    parent = root
    for part in pathlib.PurePosixPath(group).parts:
        yield parent, parent / part
        parent = parent / part


def _inherit_cpuset(parent: pathlib.Path, child: pathlib.Path) -> None:
    """Version 1 starts a cpuset empty and refuses processes until both files are filled."""
    for name in _CPUSET_FILES:
        source, target = parent / name, child / name
        if source.is_file() and target.is_file() and not target.read_text().strip():
            value = source.read_text().strip()
            if value:
                target.write_text(value)


def _delegate(folder: pathlib.Path) -> None:
    """Version 2 gives children only the controllers that the parent names."""
    offered = set((folder / "cgroup.controllers").read_text().split())
    lacking = [name for name in _CONTROLLERS if name not in offered]
    if lacking:
        raise CgroupError(
            f"cgroup controllers {', '.join(lacking)} are not available in {folder}; "
            "enable them in the parent's cgroup.subtree_control (a container needs --cgroupns=host)"
        )
    wanted = [*_CONTROLLERS, *(name for name in _CONTROLLERS_IF_THERE if name in offered)]
    control = folder / "cgroup.subtree_control"
    enabled = control.read_text().split()
    missing = [f"+{name}" for name in wanted if name not in enabled]
    if not missing:
        return
    try:
        control.write_text(" ".join(missing))
    except OSError as error:
        raise CgroupError(
            f"cannot enable {' '.join(missing)} in {control}: {error.strerror}; "
            "processes that live in that very group hinder it: move them to a child group"
        ) from error
