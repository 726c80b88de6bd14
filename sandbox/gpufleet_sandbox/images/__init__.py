"""The sandbox's images, made from packages and kept in the cache under the hash of what they are made of."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from gpufleet_sandbox import instance, locks, progress
from gpufleet_sandbox.images import recipes

ALL = tuple(recipes.RECIPES)


def ensure(names: Sequence[str], reporter: progress.Reporter) -> dict[str, pathlib.Path]:
    """Image name → docker-archive, built where it is not in the cache.

    Raises rootfs.ImageError, gobuild.BuildError or debian.PackageError.
    """
    root = instance.cache_root() / "images"
    with locks.hold(root / ".lock"):
        return {name: recipes.RECIPES[name](root, reporter) for name in names}
