from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import reasons, training_job
from gpufleet.decide.training import history, retry
from tests import builders
from tests.builders import NOW

SHORT = {"startTime": "2030-01-01T11:59:00Z", "endTime": "2030-01-01T12:00:00Z"}
LONG = {"startTime": "2030-01-01T11:00:00Z", "endTime": "2030-01-01T12:00:00Z"}


def make(
    *endings: str, failures: dict[str, int] | None = None, ran: Any = SHORT, **policy: Any
) -> training_job.TrainingJob:
    """A job whose attempts ended so, the newest first."""
    count = len(endings)
    records = [
        {"attempt": count - index, "endedBy": ended, "message": "why", "node": f"node-{index}", **ran}
        for index, ended in enumerate(endings)
    ]
    status = {"attempt": count, "history": records, "failures": failures or {}}
    return builders.make_job(status=status, failurePolicy=policy)


def final(job: training_job.TrainingJob) -> str | None:
    found = retry.find_final(job, history.read(job))
    return found[0] if found else None


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        pytest.param(make("ProgramError", failures={"programError": 1}), None, id="one of one restart"),
        pytest.param(
            make("ProgramError", failures={"programError": 2}), reasons.RESTARTS_EXHAUSTED, id="one too many"
        ),
        pytest.param(make("Stalled", failures={"stalled": 1}), None, id="a stall"),
        pytest.param(
            make("Stalled", failures={"stalled": 1, "programError": 1}),
            reasons.RESTARTS_EXHAUSTED,
            id="stalls are charged",
        ),
        pytest.param(make("Infrastructure", failures={"infrastructure": 19}), None, id="nineteen for free"),
        pytest.param(
            make("Infrastructure", failures={"infrastructure": 1, "programError": 5}),
            None,
            id="free though restarts are used up",
        ),
        pytest.param(
            make("Infrastructure", failures={"infrastructure": 20}), reasons.ATTEMPTS_EXHAUSTED, id="twenty"
        ),
        pytest.param(
            make(
                "ProgramError",
                failures={"infrastructure": 2, "programError": 1},
                maxRestarts=9,
                maxAttempts=3,
            ),
            reasons.ATTEMPTS_EXHAUSTED,
            id="attempts of every class count",
        ),
        pytest.param(make("OutOfMemory", failures={"outOfMemory": 1}), None, id="out of memory once"),
        pytest.param(
            make("OutOfMemory", failures={"outOfMemory": 2}, maxRestarts=9), reasons.OUT_OF_MEMORY, id="twice"
        ),
        pytest.param(
            make("OutOfMemory", failures={"outOfMemory": 1}, maxRestarts=0),
            reasons.RESTARTS_EXHAUSTED,
            id="out of memory without any restart",
        ),
        pytest.param(
            make("UserError", failures={"final": 1}, maxRestarts=9), reasons.USER_ERROR, id="hopeless"
        ),
        pytest.param(
            make("DeadlineExceeded", failures={"final": 1}, maxRestarts=9),
            reasons.DEADLINE_EXCEEDED,
            id="late",
        ),
    ],
)
def test_whether_another_attempt_follows(job: training_job.TrainingJob, reason: str | None) -> None:
    assert final(job) == reason


@pytest.mark.parametrize(
    ("job", "wait_s"),
    [
        pytest.param(make(), None, id="nothing has ended"),
        pytest.param(make("Suspended"), None, id="resumed"),
        pytest.param(make("ProgramError"), 10, id="first"),
        pytest.param(make("ProgramError", "Infrastructure"), 20, id="second"),
        pytest.param(make(*["ProgramError"] * 4), 80, id="fourth"),
        pytest.param(make(*["ProgramError"] * 10), 360, id="at most"),
        pytest.param(make("ProgramError", "Suspended", "ProgramError"), 10, id="after a suspension"),
        pytest.param(make(*["ProgramError"] * 4, ran=LONG), 10, id="not early"),
        pytest.param(make("ProgramError", backoffSeconds=0), 0, id="at once"),
        pytest.param(make("Stalled", "Stalled", backoffSeconds=60, maxBackoffSeconds=90), 90, id="as wished"),
    ],
)
def test_how_long_it_waits(job: training_job.TrainingJob, wait_s: int | None) -> None:
    due = retry.find_due(job)
    expected = None if wait_s is None else NOW + datetime.timedelta(seconds=wait_s)
    assert due == expected


def test_nodes_that_failed_are_avoided_for_a_while() -> None:
    job = make("Infrastructure", "Infrastructure")
    assert retry.find_avoided(job, NOW) == ("node-0", "node-1")
    assert retry.find_avoided(job, NOW + datetime.timedelta(seconds=3600)) == ()
    assert retry.find_avoided(make("Infrastructure", avoidNodesSeconds=0), NOW) == ()


@given(st.integers(0, 3600), st.integers(0, 86400), st.integers(1, 10))
def test_the_wait_grows_and_has_an_end(first_s: int, longest_s: int, failures: int) -> None:
    def wait_s(count: int) -> float:
        job = make(*["ProgramError"] * count, backoffSeconds=first_s, maxBackoffSeconds=longest_s)
        due = retry.find_due(job)
        assert due is not None
        return (due - NOW).total_seconds()

    assert wait_s(failures) <= longest_s
    assert failures == 1 or wait_s(failures - 1) <= wait_s(failures)
