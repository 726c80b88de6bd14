"""Which models only fail: a backend whose process has died answers nothing more until it is loaded again.

Triton goes on calling such a model ready (its python backend says "Stub process is not healthy" to every
request), so that only what it counts gives it away.
"""

from __future__ import annotations

import dataclasses

FEWEST_FAILURES = 5
PATIENCE_S = 10.0
FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 3600.0


@dataclasses.dataclass
class Record:
    """What one model has answered; `since_s` is when it last answered well or began to fail."""

    successes: int = 0
    failures: int = 0
    failures_then: int = 0
    since_s: float | None = None
    attempts: int = 0
    not_before_s: float = 0.0

    def note(self, successes: int, failures: int, now_s: float) -> bool:
        """Takes the totals; whether the model is to be loaded again now.

        Where that does not help, as where all requests are at fault, it is tried more and more seldom.
        """
        is_other_copy = successes < self.successes or failures < self.failures
        has_answered = successes > self.successes
        if self.since_s is None or is_other_copy or has_answered or failures == self.failures_then:
            # What an agent that has just started finds may be long ago.
            self.failures_then, self.since_s = failures, now_s
        if has_answered and not is_other_copy:
            self.attempts = 0
        self.successes, self.failures = successes, failures
        is_failing = failures - self.failures_then >= FEWEST_FAILURES and now_s - self.since_s >= PATIENCE_S
        if not is_failing or now_s < self.not_before_s:
            return False
        self.not_before_s = now_s + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self.attempts)
        self.attempts += 1
        self.failures_then, self.since_s = failures, now_s
        return True
