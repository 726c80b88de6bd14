"""Leader election: one Lease, compare-and-swap by resourceVersion, and an end of the process on loss.

Threads of their own renew and watch the deadline, so that neither a busy event loop nor a request that
hangs makes two leaders. Leadership ends by this machine's monotonic clock, one lease duration after the
*start* of the last renewal that succeeded; a candidate takes over once it has seen the record unchanged
for as long by its own clock, so clocks need not agree.
https://kubernetes.io/docs/concepts/architecture/leases/#leader-election
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import urllib3
from kubernetes import client as sync_client
from kubernetes import config as sync_config

from gpufleet import clock, settings

_log = logging.getLogger(__name__)

Action = Literal["write", "wait", "exit"]


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says; `version` is its resourceVersion."""

    holder: str
    version: str
    duration_s: float = 0.0
    transitions: int = 0
    acquired: str = ""


class Election:
    """One candidate's knowledge; no I/O. All times are of one monotonic clock, in seconds."""

    def __init__(self, identity: str, duration_s: float) -> None:
        self.identity = identity
        self.duration_s = duration_s
        self.holder = ""
        self._seen_version = ""
        self._seen_since_s = 0.0
        self._leads_until_s: float | None = None

    def is_leader(self, now_s: float) -> bool:
        """Whether no other candidate can have taken over yet."""
        return self._leads_until_s is not None and now_s < self._leads_until_s

    def has_lost(self, now_s: float) -> bool:
        """Whether it led and may lead no longer."""
        return self._leads_until_s is not None and now_s >= self._leads_until_s

    def next_action(self, record: Record | None, now_s: float) -> Action:
        """What to do about the record as just read (None: there is no Lease): swap it, wait, or end."""
        if self._leads_until_s is not None:
            taken = record is not None and record.holder != self.identity
            return "exit" if taken or self.has_lost(now_s) else "write"
        self.holder = record.holder if record else ""
        if record is None or record.holder in ("", self.identity):
            return "write"
        if record.version != self._seen_version:
            self._seen_version, self._seen_since_s = record.version, now_s
        expired = now_s - self._seen_since_s > max(record.duration_s, self.duration_s)
        return "write" if expired else "wait"

    def renewed(self, request_started_s: float) -> None:
        """A write has succeeded; leadership counts from before it was sent."""
        self.holder = self.identity
        self._leads_until_s = request_started_s + self.duration_s

    def step_down(self) -> bool:
        """Gives leadership up; whether it was held."""
        led, self._leads_until_s = self._leads_until_s is not None, None
        return led


class ConflictError(Exception):
    """Somebody else wrote first."""


class UnreachableError(Exception):
    """No answer, or one that says nothing about the Lease."""


class LeaseStore(Protocol):
    """Where the record is kept."""

    def read(self) -> Record | None:
        """Raises UnreachableError."""
        ...

    def write(self, holder: str, seen: Record | None) -> None:
        """Swaps `seen` for a record of this holder. Raises ConflictError, UnreachableError."""
        ...


class Elector:
    """Runs one candidate in threads; `on_lost` must end the process."""

    def __init__(
        self,
        options: settings.Settings,
        held_in: LeaseStore,
        on_lost: Callable[[], None],
        time_source: clock.Clock | None = None,
    ) -> None:
        self._options = options
        self._store = held_in
        self._on_lost = on_lost
        self._clock = time_source or clock.SystemClock()
        self._election = Election(options.pod_name, options.lease_duration_s)
        self._leading = threading.Event()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._renew_for_ever, name="lease", daemon=True),
            threading.Thread(target=self._watch_deadline, name="lease deadline", daemon=True),
        ]

    @property
    def holder(self) -> str:
        """Who led when this candidate last looked; empty: nobody or not known."""
        return self._election.holder

    @property
    def is_leader(self) -> bool:
        return self._leading.is_set() and self._election.is_leader(self._clock.monotonic_s())

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Blocks until this candidate leads; False where the time ran out first."""
        return self._leading.wait(timeout_s)

    def release(self) -> None:
        """Stops; the Lease is left without a holder, so that a successor need not wait for its end."""
        self._stopping.set()
        self._threads[0].join(self._options.lease_renew_s + 1)
        if not self._election.step_down():
            return
        self._leading.clear()
        try:
            record = self._store.read()
            if record and record.holder == self._options.pod_name:
                self._store.write("", record)
        except (ConflictError, UnreachableError) as error:
            _log.warning("the lease was not released: %s", error)

    def _renew_for_ever(self) -> None:
        delay_s = 0.0
        while not self._stopping.wait(delay_s):
            try:
                delay_s = self._step()
            except ConflictError:
                delay_s = self._options.lease_renew_s / 4
            except UnreachableError as error:
                _log.warning("the lease cannot be read or written: %s", error)
                delay_s = self._options.lease_renew_s / 4

    def _step(self) -> float:
        """Looks once and does what follows; seconds until the next look."""
        record = self._store.read()
        started_s = self._clock.monotonic_s()
        action = self._election.next_action(record, started_s)
        if action == "wait":
            return self._options.lease_renew_s / 2
        if action == "exit":
            self._lose()
            return self._options.lease_renew_s
        self._store.write(self._options.pod_name, record)
        self._election.renewed(started_s)
        if not self._leading.is_set():
            _log.info("leading as %s", self._options.pod_name)
            self._leading.set()
        return self._options.lease_renew_s

    def _watch_deadline(self) -> None:
        while not self._stopping.wait(self._options.lease_renew_s / 8):
            if self._election.has_lost(self._clock.monotonic_s()):
                self._lose()
                return

    def _lose(self) -> None:
        self._leading.clear()
        if not self._stopping.is_set():
            _log.error("the lease is lost to %s", self._election.holder or "nobody known")
            self._on_lost()


class ApiLeaseStore:
    """The Lease in the API server, through a client of its own; each request has half a renewal's time."""

    def __init__(self, options: settings.Settings, time_source: clock.Clock | None = None) -> None:
        self._configuration = sync_client.Configuration()
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            sync_config.load_incluster_config(client_configuration=self._configuration)
        else:
            sync_config.load_kube_config(client_configuration=self._configuration, persist_config=False)
        self._pool = sync_client.ApiClient(self._configuration).rest_client.pool_manager
        self._options = options
        self._clock = time_source or clock.SystemClock()
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{options.namespace}/leases"

    def read(self) -> Record | None:
        body = self._call("GET", f"{self._collection}/{self._options.lease_name}")
        return record_of(body) if body else None

    def write(self, holder: str, seen: Record | None) -> None:
        body = build_lease(holder, seen, self._options, self._clock.now())
        if seen is None:
            if self._call("POST", self._collection, body) is None:
                raise UnreachableError(f"namespace {self._options.namespace} does not exist: create it")
        elif self._call("PUT", f"{self._collection}/{self._options.lease_name}", body) is None:
            raise ConflictError("the Lease was deleted meanwhile")

    def _call(self, method: str, url_path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer; None for 404."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        for part in self._configuration.auth_settings().values():
            headers[part["key"]] = part["value"]
        limit_s = self._options.lease_renew_s / 2
        try:
            response = self._pool.request(
                method,
                self._configuration.host.rstrip("/") + url_path,
                body=json.dumps(body) if body else None,
                headers=headers,
                timeout=urllib3.Timeout(total=limit_s),
                retries=False,
            )
            return _judge(response.status, response.data)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UnreachableError(f"{method} {url_path}: {error}") from error


def record_of(lease: Mapping[str, Any]) -> Record:
    """What a Lease says, as JSON."""
    spec = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        version=lease["metadata"]["resourceVersion"],
        duration_s=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=spec.get("acquireTime") or "",
    )


def build_lease(
    holder: str, seen: Record | None, options: settings.Settings, now: datetime.datetime
) -> dict[str, Any]:
    """The Lease that makes `holder` its holder, valid only as the successor of `seen`."""
    renewed = now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    stays = seen is not None and seen.holder == holder
    transitions = seen.transitions if seen else 0
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": math.ceil(options.lease_duration_s),
        "acquireTime": seen.acquired if seen and stays and seen.acquired else renewed,
        "renewTime": renewed,
        "leaseTransitions": transitions + (seen is not None and not stays and bool(holder)),
    }
    metadata = {"name": options.lease_name, "namespace": options.namespace}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata | ({"resourceVersion": seen.version} if seen else {}),
        "spec": spec,
    }


def _judge(status: int, data: bytes) -> Any:
    """The JSON of an answer; None for 404. Raises ConflictError, UnreachableError."""
    if status == 404:
        return None
    if status == 409:
        raise ConflictError("the Lease has changed meanwhile")
    if status >= 400:
        raise UnreachableError(f"HTTP {status}: {data[:300].decode(errors='replace')}")
    return json.loads(data)
