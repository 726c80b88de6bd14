"""The layers that images are made of, kept in the cache under the hash of what they are made of."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

from gpufleet_sandbox import instance, progress
from gpufleet_sandbox.images import archive

# What other checkouts of the same user have made last stays.
_KEPT_UNUSED = 2
_SCRATCH = "scratch-"


def layers_root() -> pathlib.Path:
    return instance.cache_root() / "images" / "layers"


def compute_key(parts: Iterable[str]) -> str:
    """A name for these inputs."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def ensure(name: str, inputs: Iterable[str], build: Callable[[pathlib.Path], archive.Layer]) -> archive.Layer:
    """The layer `name` of these inputs; `build` writes it to the path that it is given."""
    target = layers_root() / f"{name}-{compute_key(inputs)}.tar"
    if not target.is_file():
        build(target)
    mark_used(target)
    prune(target)
    return archive.read_layer(target)


def ensure_tree(
    name: str,
    inputs: Iterable[str],
    reporter: progress.Reporter,
    title: str,
    fill: Callable[[pathlib.Path], None],
) -> archive.Layer:
    """The layer of a tree that `fill` makes in an empty folder."""

    def build(target: pathlib.Path) -> archive.Layer:
        with reporter.step(title), scratch() as root:
            fill(root)
            return archive.write_layer(root, target)

    return ensure(name, inputs, build)


@contextlib.contextmanager
def scratch(parent: pathlib.Path | None = None) -> Iterator[pathlib.Path]:
    """An empty folder, beside the layers unless told otherwise, gone afterwards."""
    parent = parent or layers_root()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=_SCRATCH) as folder:
        pathlib.Path(folder).chmod(0o755)
        yield pathlib.Path(folder)


def mark_used(path: pathlib.Path) -> None:
    """Sets the time of last use; that of the last change stays, by which nodes tell archives apart."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def prune(current: pathlib.Path) -> None:
    """Removes what has the name of `current` and another key, but for the last few used."""
    name = current.stem.rpartition("-")[0]
    same = re.compile(rf"{re.escape(name)}-[0-9a-f]{{16}}\.tar")
    others = [path for path in current.parent.iterdir() if same.fullmatch(path.name) and path != current]
    for path in sorted(others, key=lambda path: path.stat().st_atime_ns, reverse=True)[_KEPT_UNUSED:]:
        path.unlink()
        archive.digest_path(path).unlink(missing_ok=True)
        shutil.rmtree(unpacked_path(path), ignore_errors=True)


def unpacked_path(layer: pathlib.Path) -> pathlib.Path:
    """The folder that a layer is unpacked to where its programs are needed."""
    return layer.with_suffix("")


def sweep() -> None:
    """Removes what a run that was killed has left; for the holder of the lock."""
    for folder in (*layers_root().glob(f"{_SCRATCH}*"), *layers_root().glob(f"*/build/{_SCRATCH}*")):
        shutil.rmtree(folder)
