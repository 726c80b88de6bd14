from __future__ import annotations

import asyncio
import sys

import pytest

from gpufleet import worker
from gpufleet.decide.triton import service_time, tuning
from gpufleet.sim import searches

ECHO = (sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())")


async def answered(one: worker.Worker, question: object) -> None:
    done = asyncio.Event()
    one.ask(question, done.set)
    async with asyncio.timeout(60):
        await done.wait()


async def test_a_question_is_worked_on_once() -> None:
    one, told = worker.Worker(ECHO), list[int]()
    for _ in range(3):
        one.ask("q", lambda: told.append(1))
    await answered(one, "other")
    assert dict(one.answers) == {"q": "q", "other": "other"}
    assert told == [1]
    one.ask("q", lambda: told.append(2))
    assert told == [1], "who asks can see the answer"
    await one.close()


async def test_the_oldest_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "KEPT", 2)
    one = worker.Worker(ECHO)
    for question in ("a", "b", "c"):
        await answered(one, question)
    assert set(one.answers) == {"b", "c"}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("false",), id="it fails"),
        pytest.param(("true",), id="it says nothing"),
        pytest.param(("no-such-program",), id="it cannot start"),
        pytest.param(("sleep", "60"), id="it takes too long"),
    ],
)
async def test_a_search_that_fails_is_told_to_the_log_alone(
    command: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    one, told = worker.Worker(command, limit_s=0.5), list[int]()
    one.ask("q", lambda: told.append(1))
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert "a search failed" in caplog.text
    assert (dict(one.answers), told) == ({}, [])


async def test_closing_ends_what_runs() -> None:
    one = worker.Worker(("sleep", "60"))
    one.ask("q", lambda: None)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await one.close()


async def test_the_process_answers_as_the_function_does() -> None:
    time = service_time.ServiceTime(0.02, 0.005)
    question = tuning.Question(time, tuning.Objective(0.99, 0.2), tuning.Limits(16, 2, 6))
    one = worker.Worker(searches.COMMAND)
    await answered(one, question)
    assert one.answers[question] == searches.answer(question)
