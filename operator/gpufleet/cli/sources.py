"""Where commands about the whole fleet get it from: the operator's read API, else the objects themselves."""

from __future__ import annotations

import dataclasses
import datetime
import urllib.parse
from typing import Any, TypeVar

import msgspec

from gpufleet.cli import health, picture, reach

LEASE = "gpufleet-operator"
_GROUP_PATH = "/apis/gpufleet.dev/v1alpha1"
_SPARE = 3.0
"""A Lease that has not been renewed for so many of its durations is nobody's."""
_Read = TypeVar("_Read")


class _Queue(msgspec.Struct):
    jobs: list[dict[str, Any]] = []


class _LeaseSpec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: float = 15.0
    renew_time: datetime.datetime | None = None


class _Lease(msgspec.Struct):
    spec: _LeaseSpec = msgspec.field(default_factory=_LeaseSpec)


@dataclasses.dataclass(frozen=True)
class Sources:
    """The API server by `get`, and the operator through it, or directly where `server` names it."""

    get: reach.Get
    operator_namespace: str = "gpufleet-system"
    server: str | None = None

    def ask(self, path: str) -> bytes:
        """The operator's answer. Raises reach.UnreachableError."""
        if self.server:
            status, body = reach.fetch_directly(self.server, path, {})
        else:
            status, body = reach.fetch_through(self.get, self.operator_namespace, path, {})
        if status != 200:
            raise reach.UnreachableError(f"{path}: HTTP {status}: is the operator an older one?")
        return body

    def fleet(self) -> picture.Fleet:
        """Raises reach.UnreachableError."""
        return _decode("/snapshot", self.ask("/snapshot"), picture.Fleet)

    def about(self) -> health.About:
        """Raises reach.UnreachableError."""
        return _decode("/about", self.ask("/about"), health.About)

    def queue(self) -> list[dict[str, Any]]:
        """Gangs that wait. Raises reach.UnreachableError."""
        return _decode("/queue", self.ask("/queue"), _Queue).jobs

    def objects(self) -> tuple[picture.Fleet, list[health.Finding]]:
        """Our objects without nodes and pods, and those kinds that could not be read."""
        fleet, found = picture.Fleet(), []
        for field, plural in (
            ("pools", "gpupools"),
            ("services", "tritonservices"),
            ("jobs", "trainingjobs"),
        ):
            try:
                body = self.read(f"{_GROUP_PATH}/{plural}")
                setattr(fleet, field, _decode(plural, body, picture.Listed).items)
            except reach.UnreachableError as error:
                found.append(health.Finding("unknown", plural, "", "NotRead", str(error)))
        return fleet, found

    def find_leader(self, now: datetime.datetime) -> health.Finding | None:
        """What is wrong with the operator by its Lease; None where it cannot be read, or somebody leads."""
        where = urllib.parse.quote(self.operator_namespace, safe="")
        try:
            body = self.read(f"/apis/coordination.k8s.io/v1/namespaces/{where}/leases/{LEASE}")
            lease = _decode("the Lease", body, _Lease).spec
        except reach.UnreachableError:
            return None
        if not lease.holder_identity:
            return health.Finding("wrong", "Operator", "", "NoLeader", "nobody holds its Lease")
        if (
            lease.renew_time
            and (now - lease.renew_time).total_seconds() > _SPARE * lease.lease_duration_seconds
        ):
            said = f"{lease.holder_identity} does not renew its Lease"
            return health.Finding("wrong", "Operator", "", "NoLeader", said, lease.renew_time)
        return None

    def read(self, url: str) -> bytes:
        """The API server's answer. Raises reach.UnreachableError with its words."""
        status, body = self.get(url)
        if status == 200:
            return body
        try:
            said = msgspec.json.decode(body).get("message")
        except (ValueError, AttributeError):
            said = None
        raise reach.UnreachableError(str(said or f"{url}: HTTP {status}"))


def _decode(what: str, body: bytes, kind: type[_Read]) -> _Read:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise reach.UnreachableError(f"{what} cannot be read: {error}") from error
