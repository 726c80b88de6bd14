"""How long a batch takes: τ(b) = α + β·b, fitted to what was measured.

The line is what Inoue assumes in "Queueing Analysis of GPU-Based Inference Servers with Dynamic Batching: A
Closed-Form Characterization" (Performance Evaluation 147, 2021), where α is τ₀ and β is α.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """The mean time of batches of one size, and how many there were."""

    batch: int
    seconds: float
    count: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceTime:
    """`alpha_s` is paid once per batch, `beta_s` once per item in it."""

    alpha_s: float
    beta_s: float

    def predict_s(self, batch: float) -> float:
        """τ(b) in seconds."""
        return self.alpha_s + self.beta_s * batch

    @property
    def best_rate(self) -> float:
        """Items per second that no batch size can exceed; infinite where items cost nothing."""
        return 1 / self.beta_s if self.beta_s > 0 else math.inf


@dataclasses.dataclass(frozen=True, slots=True)
class Fit:
    """A fitted line; `r_squared` is the share of the variance between batch sizes that it explains.

    `error` is the root of the weighted mean square of the relative residuals.
    """

    time: ServiceTime
    r_squared: float
    error: float
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What is set on Triton for one model."""

    max_batch: int
    delay_s: float = 0.0
    instances: int = 1
    preferred: tuple[int, ...] = ()

    @property
    def fills_at(self) -> int:
        """Requests that end the wait for more."""
        return max(self.preferred, default=self.max_batch)


def fit(points: Sequence[Point]) -> Fit | None:
    """Weighted least squares with α, β ≥ 0; None for fewer than two batch sizes.

    Sizes weigh by the root of their counts: one that is seen a thousand times is not a thousand times surer,
    because what differs between sizes is systematic.
    """
    known = tuple(sorted((one for one in points if one.count > 0), key=lambda one: one.batch))
    if len({one.batch for one in known}) < 2:
        return None
    weights = [math.sqrt(one.count) for one in known]
    total = math.fsum(weights)
    mean_b = math.fsum(w * one.batch for w, one in zip(weights, known, strict=True)) / total
    mean_s = math.fsum(w * one.seconds for w, one in zip(weights, known, strict=True)) / total
    spread = math.fsum(w * (one.batch - mean_b) ** 2 for w, one in zip(weights, known, strict=True))
    shared = math.fsum(
        w * (one.batch - mean_b) * (one.seconds - mean_s) for w, one in zip(weights, known, strict=True)
    )
    beta_s = max(0.0, shared / spread)
    alpha_s = mean_s - beta_s * mean_b
    if alpha_s < 0:
        squares = math.fsum(w * one.batch**2 for w, one in zip(weights, known, strict=True))
        alpha_s = 0.0
        beta_s = (
            math.fsum(w * one.batch * one.seconds for w, one in zip(weights, known, strict=True)) / squares
        )
    return _judge(ServiceTime(alpha_s, beta_s), known, weights, mean_s)


def _judge(time: ServiceTime, known: tuple[Point, ...], weights: Sequence[float], mean_s: float) -> Fit:
    pairs = list(zip(weights, known, strict=True))
    left = math.fsum(w * (one.seconds - time.predict_s(one.batch)) ** 2 for w, one in pairs)
    total = math.fsum(w * (one.seconds - mean_s) ** 2 for w, one in pairs)
    relative = math.fsum(
        w * ((one.seconds - time.predict_s(one.batch)) / one.seconds) ** 2 for w, one in pairs if one.seconds
    )
    # Where time does not depend on the size there is no variance to explain, and the flat line is right.
    explained = 1 - left / total if total > 0 and left <= total else (1.0 if left == 0 else 0.0)
    return Fit(time, explained, math.sqrt(relative / math.fsum(weights)), known)


def bound_mean_latency_s(time: ServiceTime, rate: float) -> float:
    """An upper bound of the mean latency when an idle server takes all that waits (Inoue 2021, theorem 2).

    Requests arrive as a Poisson process of `rate` per second. Infinite at or beyond the best rate.
    """
    load = rate * time.beta_s
    if load >= 1:
        return math.inf
    alpha_s, beta_s = time.alpha_s, time.beta_s
    light = (
        (alpha_s + beta_s) / (2 * (1 - load)) * (1 + 2 * rate * alpha_s + (1 - rate * alpha_s) / (1 + load))
    )
    heavy = 1.5 * alpha_s / (1 - load) + beta_s / 2 * (load + 2) / (1 - load**2)
    return min(light, heavy)
