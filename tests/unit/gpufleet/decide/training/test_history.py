"""Every attempt is counted once, however many there are and however much of them is kept."""

from __future__ import annotations

import datetime
import typing

from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import training_job, training_record
from gpufleet.decide.training import endings, failure, history
from tests import builders
from tests.builders import NOW

ENDINGS = st.sampled_from(typing.get_args(training_record.EndedBy))
GIVEN = {"workers": 2, "requested": "count=8", "accelerator": {"resource": "nvidia.com/gpu", "count": 8}}
NO_FAILURE = training_record.NO_FAILURE


@given(st.lists(st.tuples(ENDINGS, st.integers(-60, 3600)), max_size=14))
def test_accounts_add_up(lives: list[tuple[training_record.EndedBy, int]]) -> None:
    job = builders.make_job(status={"assignment": GIVEN}, accelerator={"count": 8})
    for ended_by, ran_s in lives:
        number = history.next_attempt(job)
        newest = builders.make_attempt(number, startTime="2030-01-01T12:00:00Z")
        at = NOW + datetime.timedelta(seconds=ran_s)
        account = history.record(job, newest, endings.Ending(failure.Failure(ended_by, "why" * 999), at))
        status = job.status.model_copy(
            update={
                "attempt": number,
                "history": list(account.records),
                "failures": account.failures,
                "usage": account.usage,
            }
        )
        training_job.TrainingJobStatus.model_validate(status.to_wire())
        job = job.model_copy(update={"status": status})
        assert history.find_record(job, number) == account.records[0]
    account = history.read(job)
    assert len(account.records) == min(len(lives), training_record.KEPT_RECORDS)
    assert history.next_attempt(job) == len(lives) + 1
    failures = [one for one, _ in lives if one not in NO_FAILURE]
    assert sum(account.failures.model_dump().values()) == len(failures)
    ran_s = sum(max(0, one) for _, one in lives)
    assert account.usage.run_seconds == ran_s
    assert account.usage.accelerator_seconds == ran_s * 2 * 8
