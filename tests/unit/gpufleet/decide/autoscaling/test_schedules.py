from __future__ import annotations

import datetime
from typing import Any

import pydantic
import pytest

from gpufleet.api import schedule
from gpufleet.decide.autoscaling import schedules


def make(name: str = "day", start: str = "0 8 * * 1-5", hours: float = 10, servers: int = 4, **fields: Any):
    wire = {"name": name, "start": start, "durationSeconds": round(hours * 3600), "minReplicas": servers}
    return schedule.Schedule.model_validate({**wire, **fields})


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


BERLIN = {"timeZone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("given", "now", "name"),
    [
        pytest.param([make()], at("2030-01-07T08:00:00"), "day", id="the first second of a Monday"),
        pytest.param([make()], at("2030-01-07T07:59:59"), None, id="the second before"),
        pytest.param([make()], at("2030-01-07T17:59:59"), "day", id="the last second"),
        pytest.param([make()], at("2030-01-07T18:00:00"), None, id="the end"),
        pytest.param([make()], at("2030-01-06T12:00:00"), None, id="a Sunday"),
        pytest.param(
            [make(start="0 22 * * *", hours=4)], at("2030-01-07T01:30:00"), "day", id="past midnight"
        ),
        pytest.param([make(**BERLIN)], at("2030-01-07T07:00:00"), "day", id="winter in Berlin"),
        pytest.param([make(**BERLIN)], at("2030-07-01T06:00:00"), "day", id="summer in Berlin"),
        pytest.param([make(**BERLIN)], at("2030-07-01T05:59:00"), None, id="an hour before it in winter"),
        pytest.param(
            [make(start="30 2 31 3 *", hours=1, **BERLIN)],
            at("2030-03-31T01:30:00"),
            "day",
            id="an hour that the clock skips",
        ),
        pytest.param(
            [make(), make("noon", "0 12 * * *", 1, 9)], at("2030-01-07T12:30:00"), "noon", id="the highest"
        ),
        pytest.param([], at("2030-01-07T12:30:00"), None, id="none"),
    ],
)
def test_floor(given: list[schedule.Schedule], now: datetime.datetime, name: str | None) -> None:
    found = schedules.find_floor(given, now)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"start": "0 25 * * *"}, "no cron expression", id="an hour that is none"),
        pytest.param({"start": "0 0 31 2 *"}, "no cron expression", id="a day that never comes"),
        pytest.param({"timeZone": "Europe/Atlantis"}, "no time zone", id="a place that is none"),
        pytest.param({"timeZone": "../../etc/passwd"}, "no time zone", id="a path"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=says):
        make(**fields)
