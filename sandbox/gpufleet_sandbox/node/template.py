"""Images imported once into a containerd root that every node's own root is made from.

Unpacked layers are never written again: nodes link to those of the template. Databases are copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import time
from collections.abc import Iterable, Mapping, Sequence

from gpufleet_sandbox import instance, locks, processes
from gpufleet_sandbox.node import commands, config

SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
KUBERNETES_NAMESPACE = "k8s.io"
_KEPT_UNUSED = 2
_MARK = "template"
_PART = ".part"


def ensure(archives: Sequence[pathlib.Path], binaries: Mapping[str, pathlib.Path]) -> pathlib.Path:
    """The template that holds the images of `archives`, made now where there is none.

    `binaries` has containerd and ctr. Raises CommandError or processes.StartError.
    """
    version = commands.run([binaries["containerd"], "--version"])
    target = templates() / compute_key(archives, version)
    with locks.hold(templates() / ".lock"):
        if not target.is_dir():
            _build(target, archives, binaries)
        os.utime(target)
        prune(target)
    return target


def compute_key(archives: Iterable[pathlib.Path], version: str) -> str:
    """Names the set of archives, in any order, together with the containerd that unpacks them."""
    digest = hashlib.sha256(version.encode())
    for archive in sorted(archives):
        stat = archive.stat()
        digest.update(f"\0{archive}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def templates() -> pathlib.Path:
    return instance.cache_root() / "containerd"


def clone(template: pathlib.Path, root: pathlib.Path, node_directory: pathlib.Path) -> None:
    """Makes `root` a containerd root with the images of `template`, both on one file system."""
    # Said first: a template that a node names is not pruned.
    (node_directory / _MARK).write_text(template.name)
    for folder, folders, files in os.walk(template):
        source = pathlib.Path(folder)
        relative = source.relative_to(template)
        (root / relative).mkdir(parents=True, exist_ok=True)
        if relative == pathlib.Path(SNAPSHOTS):
            for name in folders:
                (root / relative / name).symlink_to(source / name)
            folders.clear()
        for name in files:
            _share(source / name, root / relative / name)


def wait_for_socket(daemon: processes.Process, path: pathlib.Path, timeout_s: float = 30.0) -> None:
    """Returns when something answers at the Unix socket. Raises processes.StartError."""
    deadline = time.monotonic() + timeout_s
    while not _answers(path):
        daemon.check()
        if time.monotonic() > deadline:
            raise processes.StartError(
                f"{daemon.name} was not ready after {timeout_s:.0f} s: {daemon.tail()}"
            )
        time.sleep(0.03)


def _build(
    target: pathlib.Path, archives: Sequence[pathlib.Path], binaries: Mapping[str, pathlib.Path]
) -> None:
    """Under the lock."""
    _remove_parts()
    part = target.with_name(f"{target.name}{_PART}")
    part.mkdir(parents=True)
    state = _state(part)
    (part / "config.toml").write_text(config.build_template_containerd(part / "root", state))
    # containerd mounts layers while it unpacks them; in a namespace of its own none can be left over.
    private = ["unshare", "--mount", "--propagation", "private"]
    argv = [str(binaries["containerd"]), "--config", str(part / "config.toml")]
    daemon = processes.start("containerd", argv, part, prefix=private)
    try:
        wait_for_socket(daemon, state / config.SOCKET_NAME)
        for archive in archives:
            address = str(state / config.SOCKET_NAME)
            commands.run(build_import(binaries["ctr"], address, archive), timeout_s=600)
    finally:
        daemon.stop()
        shutil.rmtree(state, ignore_errors=True)
    (part / "root").rename(target)
    shutil.rmtree(part)


def build_import(ctr: os.PathLike[str], address: str, archive: pathlib.Path) -> list[str]:
    words = ["--address", address, "--namespace", KUBERNETES_NAMESPACE, "images", "import", str(archive)]
    return [os.fspath(ctr), *words]


def sweep() -> None:
    """Removes what an interrupted import has left, its containerd included."""
    if any(templates().glob(f"*{_PART}")):
        with contextlib.suppress(BlockingIOError), locks.hold(templates() / ".lock", wait=False):
            _remove_parts()


def _remove_parts() -> None:
    for part in templates().glob(f"*{_PART}"):
        for process in processes.find_marked(part):
            process.kill()
        shutil.rmtree(_state(part), ignore_errors=True)
        shutil.rmtree(part)


def _state(part: pathlib.Path) -> pathlib.Path:
    """Not in the cache, whose path may be longer than the 107 bytes that a socket's may have."""
    return pathlib.Path("/run", f"gpufleet-{part.stem}")


def prune(current: pathlib.Path) -> None:
    """Removes templates that no node uses, but for the newest few."""
    used = {path.read_text() for path in (instance.cache_root() / "instances").glob(f"*/nodes/*/{_MARK}")}
    spare = [
        path for path in templates().iterdir() if path.is_dir() and path != current and path.name not in used
    ]
    for path in sorted(spare, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT_UNUSED:]:
        shutil.rmtree(path)


def _share(source: pathlib.Path, target: pathlib.Path) -> None:
    """Content is never changed in place; databases are."""
    if source.suffix == ".db":
        shutil.copy2(source, target)
    else:
        os.link(source, target, follow_symlinks=False)


def _answers(path: pathlib.Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(os.fspath(path))
        return True
    return False
