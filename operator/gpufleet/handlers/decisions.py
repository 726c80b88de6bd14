"""The read API's words on autoscaling: /decisions and /what-if, answered from values of one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gpufleet import runtime
from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import overview
from gpufleet.decide.placement import brakes, disruption, whatif

Answer = tuple[int, dict[str, Any]]
"""HTTP status and body."""


def take(running: runtime.Runtime) -> whatif.Present:
    """What is known now, as values that do not change any more."""
    return whatif.Present(
        view=running.cluster.read_snapshot(),
        look=running.look,
        scaled=running.scaled,
        answers=dict(running.worker.answers),
        limits=brakes.read(running.settings),
        now=running.clock.now(),
    )


def read(present: whatif.Present, query: Mapping[str, str]) -> Answer:
    """All scaled services; `namespace` and `name` choose among them."""
    chosen = [one for one in present.view.services if _is_asked(one, query)]
    ledger = disruption.read(present.view, present.limits.disruption_gpus_per_hour, present.now)
    body = overview.build(present.view, present.look, present.scaled, present.now, chosen)
    return 200, {**body, "disruption": ledger.to_wire()}


def suppose(present: whatif.Present, query: Mapping[str, str]) -> Answer:
    """One service, named whole, at `rate` times its load."""
    namespace, name = query.get("namespace", ""), query.get("name", "")
    if not namespace or not name:
        return 400, {"message": "name the service: namespace=NAMESPACE&name=NAME&rate=2"}
    rate = _read_rate(query.get("rate", ""))
    if rate is None:
        message = f"rate is {query.get('rate', '')!r}: it must be a number from 0 to {whatif.MOST:g}"
        return 400, {"message": message}
    service = next((one for one in present.view.services if _is_asked(one, query)), None)
    if service is None:
        return 404, {"message": f"there is no TritonService {namespace}/{name}"}
    found = whatif.what_if(service, rate, present)
    if found is None:
        return 409, {"message": _explain_nothing(service, present)}
    body = {"namespace": namespace, "name": name, "rate": rate, "notes": list(found.notes)}
    return 200, {**body, "decision": found.decision.to_wire()}


def _is_asked(service: triton_service.TritonService, query: Mapping[str, str]) -> bool:
    metadata = service.metadata
    return all(
        query.get(key) in (None, "", value)
        for key, value in (("namespace", metadata.namespace), ("name", metadata.name))
    )


def _read_rate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if math.isfinite(rate) and 0 <= rate <= whatif.MOST else None


def _explain_nothing(service: triton_service.TritonService, present: whatif.Present) -> str:
    spec = service.spec.autoscaling
    if spec is None or spec.mode == "Off":
        return "the service is not scaled by load: set spec.autoscaling, with mode Active or Advisory"
    return f"nothing is decided yet: {present.look.error or 'Prometheus was not asked yet'}"
