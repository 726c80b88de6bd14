"""Decisions that take long, in processes of their own, so that they hold up nothing."""

from __future__ import annotations

import asyncio
import logging
import pickle
from asyncio import subprocess
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

_LOG = logging.getLogger(__name__)

KEPT = 1000
"""Answers that are remembered; one that was forgotten is worked out again."""


class Worker:
    """Works out the answer to each question once, one after another.

    `command` starts a process that reads a pickled question from its standard input and writes the pickled
    answer to its standard output; both ends are this program.
    """

    def __init__(self, command: Sequence[str], limit_s: float = 300.0) -> None:
        self._command = command
        self._limit_s = limit_s
        self._answers: dict[Hashable, Any] = {}
        self._asked: dict[Hashable, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    @property
    def answers(self) -> Mapping[Hashable, Any]:
        """What is known now, by question."""
        return self._answers

    def ask(self, question: Hashable, then: Callable[[], None]) -> None:
        """Calls `then` once the answer is known; a question that is being worked on is not asked again."""
        if question not in self._answers and question not in self._asked:
            self._asked[question] = asyncio.create_task(self._work(question, then))

    async def close(self) -> None:
        """Ends what is being worked on."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, question: Hashable, then: Callable[[], None]) -> None:
        try:
            async with self._turn:
                found = await self._run(question)
        except (OSError, TimeoutError, pickle.UnpicklingError, EOFError) as error:
            # Who asked will ask again in its next pass; telling it now would try again at once.
            _LOG.error("a search failed", extra={"question": repr(question), "error": str(error)})
            return
        finally:
            del self._asked[question]
        while len(self._answers) >= KEPT:
            del self._answers[next(iter(self._answers))]
        self._answers[question] = found
        then()

    async def _run(self, question: Hashable) -> Any:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(self._limit_s):
                answer, _ = await process.communicate(pickle.dumps(question))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise OSError(f"{' '.join(self._command)} ended with exit code {process.returncode}")
        return pickle.loads(answer)
