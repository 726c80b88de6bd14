"""Locks between processes of one user, held on files in the cache."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def hold(path: pathlib.Path, *, wait: bool = True) -> Iterator[None]:
    """Waits for the exclusive lock on `path`; the kernel frees it when the holder ends, however it ends.

    Without `wait` raises BlockingIOError where somebody else holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
