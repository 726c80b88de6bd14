"""Writes as the API server's audit log has them: who, which verb, which resource."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Iterator

VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclasses.dataclass(frozen=True)
class Write:
    """One write that took effect; `at_s` is when, in seconds since 1970."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    at_s: float


@dataclasses.dataclass
class Log:
    """Reads on from where it stopped last."""

    path: pathlib.Path
    offset: int = 0

    def skip(self) -> None:
        """Forgets what has been written up to now."""
        self.offset = self.path.stat().st_size

    def read(self) -> list[Write]:
        """Writes since the last read; leases are no part of the work and are left out."""
        with self.path.open() as file:
            file.seek(self.offset)
            lines = file.readlines()
            self.offset = file.tell()
        return list(_parse(lines))


def _parse(lines: list[str]) -> Iterator[Write]:
    for line in lines:
        event = json.loads(line)
        about = event.get("objectRef") or {}
        done = event.get("stage") == "ResponseComplete" and event["responseStatus"]["code"] < 400
        if not done or event["verb"] not in VERBS or about.get("resource") == "leases":
            continue
        resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
        yield Write(
            event["user"]["username"],
            event["verb"],
            resource,
            about.get("namespace", ""),
            about.get("name", ""),
            datetime.datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
        )
