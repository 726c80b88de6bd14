"""gpufleet's own autoscaler as the benchmark runs it: the knob that is swept, and its default."""

from __future__ import annotations

import datetime

from gpufleet.api import model_profile
from gpufleet.sim import autoscaler, service

UNIT = "% confidence"
TARGETS = (50, 60, 70, 80, 85, 90, 95, 99)
DEFAULT = 95
_MEASURED_AT = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


def make(target: float, setup: service.Setup) -> autoscaler.Shipped:
    """With this value of the knob, and the profile that the servers' counters would have given."""
    latency = {"percentile": "P99", "targetMilliseconds": round(1000 * setup.objective_s)}
    scaling = {
        "minReplicas": setup.min_replicas,
        "maxReplicas": setup.max_replicas,
        "confidencePercent": round(target),
    }
    spec = {"objective": {"latency": latency}, "autoscaling": scaling}
    return autoscaler.Shipped(spec, setup.fleet, setup.start_replicas, _build_profile(setup))


def _build_profile(setup: service.Setup) -> model_profile.ModelProfileSpec:
    time = setup.model.time
    points = [
        {"batchSize": size, "count": 1000, "meanMicroseconds": round(1e6 * time.predict_s(size))}
        for size in (1, setup.setting.max_batch)
    ]
    fit = {
        "alphaMicroseconds": 1e6 * time.alpha_s,
        "betaMicroseconds": 1e6 * time.beta_s,
        "rSquared": 1.0,
        "error": setup.model.spread,
    }
    return model_profile.ModelProfileSpec.model_validate(
        {
            "service": "simulated",
            "model": "model",
            "hardware": "1 × nvidia.com/gpu on any",
            "measuredAt": _MEASURED_AT,
            "points": points,
            "fit": fit,
        }
    )
