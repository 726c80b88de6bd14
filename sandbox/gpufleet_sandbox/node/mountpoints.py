"""The empty directories on this machine that nodes mount over: made for the first node, gone with the last.

Removing one while a node has something mounted on it would take that mount away from the node. So the
record names the nodes that count on them, and a node that was cut down in mid-flight stays named until
it is taken down.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib

from gpufleet_sandbox import instance, locks
from gpufleet_sandbox.node import commands, layout

Record = dict[str, list[str]]


def claim(user: str) -> None:
    """Makes what is missing; `user` is a node's unique name."""
    with locks.hold(_path().with_suffix(".lock")):
        record = _read()
        missing = [path for path in layout.MOUNT_POINTS if not pathlib.Path(path).exists()]
        if not os.path.ismount(layout.NETNS_FOLDER):
            missing.append(str(layout.NETNS_FOLDER))
        _write({"users": [*record["users"], user], "made": [*record["made"], *missing]})
        for path in missing:
            pathlib.Path(path).mkdir(parents=True, exist_ok=True)


def release(user: str) -> None:
    """Removes what `claim` made, when no other user is left."""
    with locks.hold(_path().with_suffix(".lock")):
        record = _read()
        if user not in record["users"]:
            return
        users = [name for name in record["users"] if name != user]
        if users:
            _write({**record, "users": users})
            return
        for path in record["made"]:
            _remove(path)
        _path().unlink()


def _remove(path: str) -> None:
    """Somebody else may use it by now: then the kernel refuses."""
    if path == str(layout.NETNS_FOLDER):
        # `ip netns add` mounted it on itself.
        commands.attempt(["umount", path])
    with contextlib.suppress(OSError):
        pathlib.Path(path).rmdir()


def _path() -> pathlib.Path:
    return instance.cache_root() / "mountpoints.json"


def _write(record: Record) -> None:
    part = _path().with_suffix(".part")
    part.write_text(json.dumps({name: sorted(set(values)) for name, values in record.items()}))
    part.replace(_path())


def _read() -> Record:
    try:
        record: Record = json.loads(_path().read_text())
    except FileNotFoundError:
        return {"users": [], "made": []}
    return record
