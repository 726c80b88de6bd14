"""The sandbox's images, made from packages and kept in the cache under the hash of what they are made of."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from gpufleet_sandbox import instance, locks, progress
from gpufleet_sandbox.images import layers, recipes

ALL = tuple(recipes.RECIPES)
# What a cluster runs unless more is asked for.
DEMO = ("pause", "coredns", "gpufleet", "triton", "trainer")


def ensure(
    names: Sequence[str] | None = None, reporter: progress.Reporter | None = None
) -> dict[str, pathlib.Path]:
    """Image name → docker-archive, built where it is not in the cache; DEMO's unless told otherwise.

    Raises rootfs.ImageError, gobuild.BuildError or debian.PackageError.
    """
    reporter = reporter or progress.Reporter()
    root = instance.cache_root() / "images"
    with locks.hold(root / ".lock"):
        layers.sweep()
        return {name: recipes.RECIPES[name](root, reporter) for name in names or DEMO}
