"""Rights as the API server sees them: what roles grant, what an account has asked for, what was refused."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Right(NamedTuple):
    """One verb on one resource; the group of core resources is empty."""

    group: str
    resource: str
    verb: str


def read_rules(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """What the rules of a role grant."""
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@dataclasses.dataclass
class Requests:
    """What one account has asked the API server for since this was made, by its audit log."""

    log: pathlib.Path
    user: str
    offset: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.offset = self.log.stat().st_size

    def used(self) -> set[Right]:
        """Whatever was let in. A server-side apply that makes its object needs the right to create it too."""
        found: set[Right] = set()
        for event, right in self._read():
            code = event.get("responseStatus", {}).get("code")
            if code != 403:
                found.add(right)
            if right.verb == "patch" and code == 201:
                found.add(right._replace(verb="create"))
        return found

    def refused(self) -> set[Right]:
        """Whatever was forbidden."""
        return {right for event, right in self._read() if event.get("responseStatus", {}).get("code") == 403}

    def _read(self) -> Iterable[tuple[dict[str, Any], Right]]:
        with self.log.open() as file:
            file.seek(self.offset)
            # The last line may be half written.
            lines = [line for line in file if line.endswith("\n")]
        for event in map(json.loads, lines):
            about = event.get("objectRef") or {}
            # Whoever was not let in has no name, and what is no object, such as /version, no resource.
            if event["user"].get("username") != self.user or not about.get("resource"):
                continue
            resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            yield event, Right(about.get("apiGroup", ""), resource, event["verb"])
