"""What the sandbox is doing, for people: bars on a terminal, plain lines with times anywhere else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import rich.console
import rich.progress

_PLAIN_EVERY_S = 30.0
_NOTICE_AFTER_S = 5.0


class Step:
    """One thing under way; a total of None means that its length is not known."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.total: float | None = None
        self.done = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def set_total(self, total: float) -> None:
        self.total = total

    def advance(self, amount: float = 1.0) -> None:
        self.done += amount

    def close(self) -> None:
        """Ends what the step shows."""


class Reporter:
    """Prints steps; `step` may be entered by several threads at once."""

    def __init__(self, console: rich.console.Console | None = None) -> None:
        self.console = console or rich.console.Console(stderr=True, highlight=False)
        self._lock = threading.Lock()
        self._bars: rich.progress.Progress | None = None
        self._users = 0

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, title: str, *, quiet_below_s: float = 0.0) -> Iterator[Step]:
        """Shows `title` while the body runs, then a line with its time, if it took that long at least."""
        step: Step = _BarStep(self, title) if self.console.is_terminal else _PlainStep(self, title)
        try:
            yield step
        except BaseException:
            step.close()
            self.say(f"✗ {title} after {step.elapsed_s:.1f} s")
            raise
        step.close()
        if step.elapsed_s >= quiet_below_s:
            self.say(f"✓ {title} {step.elapsed_s:.1f} s")

    def acquire_bars(self) -> rich.progress.Progress:
        with self._lock:
            if self._bars is None:
                self._bars = _build_bars(self.console)
                self._bars.start()
            self._users += 1
            return self._bars

    def release_bars(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None


class _BarStep(Step):
    def __init__(self, reporter: Reporter, title: str) -> None:
        super().__init__(title)
        self._reporter = reporter
        self._bars = reporter.acquire_bars()
        self._task = self._bars.add_task(title, total=None)

    def set_total(self, total: float) -> None:
        super().set_total(total)
        self._bars.update(self._task, total=total)

    def advance(self, amount: float = 1.0) -> None:
        super().advance(amount)
        self._bars.advance(self._task, amount)

    def close(self) -> None:
        self._bars.remove_task(self._task)
        self._reporter.release_bars()


class _PlainStep(Step):
    def __init__(self, reporter: Reporter, title: str) -> None:
        super().__init__(title)
        self._reporter = reporter
        self._last = self.started
        # Silence for minutes looks like a hang.
        self._notice = threading.Timer(_NOTICE_AFTER_S, reporter.say, [f"… {title}"])
        self._notice.daemon = True
        self._notice.start()

    def close(self) -> None:
        self._notice.cancel()

    def advance(self, amount: float = 1.0) -> None:
        super().advance(amount)
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            of = f" of {self.total:.0f}" if self.total else ""
            self._reporter.say(f"  {self.title}: {self.done:.0f}{of} after {self.elapsed_s:.0f} s")


def _build_bars(console: rich.console.Console) -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TimeElapsedColumn(),
        console=console,
        transient=True,
    )
