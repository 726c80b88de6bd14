"""The fleet as an API server and a Prometheus show it, for autoscalers that scale a service from outside.

They are the very policies that the simulator runs. Their clock runs `speed` times as fast: a window of five
minutes takes five minutes of theirs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import threading
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpufleet.sim import pods as simulated
from gpufleet.sim import service
from gpufleet_sandbox import apiclient
from tests.bench.real import judging

_LABEL = "gpufleet.dev/service"
_LOOK_S = 1.0
_TIMEOUT_S = 5.0


class Rates:
    """In place of the simulator's Prometheus: what the real one answers now, by pod.

    What policies read of counters is linear in them, so that reading it of rates gives its rate.
    """

    def __init__(self, by_pod: Mapping[str, simulated.Counters]) -> None:
        self._by_pod = by_pod

    def is_blind(self, now_s: float) -> bool:
        return False

    def rate(
        self, name: str, field: Callable[[simulated.Counters], float], window_s: float, now_s: float
    ) -> float | None:
        """Over the window that was asked for, whatever `window_s` is."""
        found = self._by_pod.get(name)
        return None if found is None else field(found)


class Prometheus:
    """Asks for rates over `window`, all pods at once; names of pods differ between namespaces."""

    def __init__(self, url: str, window: str) -> None:
        self._url = url
        self._queries = {
            "success": f"sum by (pod) (rate(nv_inference_request_success[{window}]))",
            "rejected": f"sum by (pod) (rate(nv_inference_request_failure[{window}]))",
            "queue_s": f"sum by (pod) (rate(nv_inference_queue_duration_us[{window}])) / 1e6",
        }

    def ask(self, now_s: float) -> Rates:
        """Raises OSError."""
        fields: dict[str, dict[str, float]] = defaultdict(dict)
        for field, query in self._queries.items():
            url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
                for one in json.load(response)["data"]["result"]:
                    fields[one["metric"].get("pod", "")][field] = float(one["value"][1])
        return Rates({name: simulated.Counters(now_s, **found) for name, found in fields.items()})


@dataclasses.dataclass
class Followed:
    """A service that is watched, and with a `policy` scaled from outside."""

    namespace: str
    policy: service.Policy | None = None
    due_s: float = 0.0
    ready: tuple[tuple[str, str], ...] = ()
    """Names and addresses."""
    intervals: list[judging.Interval] = dataclasses.field(default_factory=list)


class Watcher:
    """Looks at all services every second in a thread of its own, and scales those that have a policy."""

    def __init__(
        self, api: apiclient.ApiClient, prometheus: Prometheus, services: list[Followed], speed: float
    ) -> None:
        self._api = api
        self._prometheus = prometheus
        self._services = services
        self._speed = speed
        self._stop = threading.Event()
        self.trouble: list[str] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.look()
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.look()
            except (OSError, apiclient.ApiError) as error:
                self.trouble.append(str(error)[:200])

    def look(self) -> None:
        """Raises OSError, apiclient.ApiError."""
        query = urllib.parse.urlencode({"labelSelector": _LABEL, "resourceVersion": "0"})
        listed = self._api.get(f"/api/v1/pods?{query}")["items"]
        wanted = {
            one["metadata"]["namespace"]: _read_wanted(one)
            for one in self._api.get("/apis/gpufleet.dev/v1alpha1/tritonservices?resourceVersion=0")["items"]
        }
        now_s = time.monotonic()
        for one in self._services:
            mine = [pod for pod in listed if pod["metadata"]["namespace"] == one.namespace]
            self._note(one, mine, wanted.get(one.namespace, 0), now_s)
        due = [one for one in self._services if one.policy is not None and one.due_s <= now_s]
        if not due:
            return
        rates = self._prometheus.ask(now_s)
        for one in due:
            mine = [pod for pod in listed if pod["metadata"]["namespace"] == one.namespace]
            self._scale(one, mine, wanted.get(one.namespace, 0), rates, now_s)

    def _note(self, one: Followed, pods: list[dict[str, Any]], wanted: int, now_s: float) -> None:
        one.ready = tuple(
            sorted(
                (pod["metadata"]["name"], pod["status"]["podIP"])
                for pod in pods
                if _is_ready(pod) and not _is_deleting(pod)
            )
        )
        held = sum(bool(pod["spec"].get("nodeName")) and not _has_ended(pod) for pod in pods)
        one.intervals.append(judging.Interval(now_s, held, wanted))

    def _scale(
        self, one: Followed, pods: list[dict[str, Any]], replicas: int, rates: Rates, now_s: float
    ) -> None:
        assert one.policy is not None
        one.due_s = now_s + one.policy.interval_s / self._speed - _LOOK_S / 2
        described = tuple(_describe(pod) for pod in pods if not _has_ended(pod))
        seen = service.Observation(replicas, described, rates)  # type: ignore[arg-type]
        wanted = one.policy.decide(seen, now_s * self._speed)
        if wanted != replicas:
            path = f"/apis/gpufleet.dev/v1alpha1/namespaces/{one.namespace}/tritonservices/vision/scale"
            self._api.request("PATCH", path, {"spec": {"replicas": wanted}}, "application/merge-patch+json")


def _read_wanted(one: Mapping[str, Any]) -> int:
    """What its owner or the operator has set."""
    given = one["spec"].get("replicas")
    assigned = one.get("status", {}).get("assignment", {}).get("replicas", 0)
    return int(assigned if given is None else given)


def _describe(pod: Mapping[str, Any]) -> service.PodState:
    return service.PodState(
        name=pod["metadata"]["name"],
        ready=_is_ready(pod),
        deleting=_is_deleting(pod),
        bound=bool(pod["spec"].get("nodeName")),
        created_s=datetime.datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp(),
        ready_s=None,
    )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    is_true = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return is_true and bool(pod["status"].get("podIP"))


def _is_deleting(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _has_ended(pod: Mapping[str, Any]) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")
