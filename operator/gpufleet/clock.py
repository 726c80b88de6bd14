"""The only reader of time. Everything that decides takes `now` as an argument."""

from __future__ import annotations

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what people read, monotonic time for what is measured or expires."""

    def now(self) -> datetime.datetime:
        """The current time, aware, in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go backwards, from an arbitrary origin."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


def to_rfc3339(moment: datetime.datetime) -> str:
    """`moment` as Kubernetes' metav1.Time writes it: UTC, whole seconds, suffix Z."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
