"""Times that come again: windows, and floors at which servers are to be there before the load is."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Annotated

import cronsim
import pydantic

from gpufleet.api import meta


class Window(meta.Schema):
    """A time that comes again."""

    name: Annotated[
        str,
        pydantic.Field(
            max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="Name in decisions."
        ),
    ]
    start: Annotated[
        str,
        pydantic.Field(
            min_length=9,
            max_length=100,
            pattern=r"^\S+( \S+){4}$",
            description="When it begins, as in crontab: minute, hour, day of month, month, day of week.",
        ),
    ]
    time_zone: Annotated[
        str,
        pydantic.Field(max_length=64, description="Time zone of start, such as Europe/Berlin."),
    ] = "Etc/UTC"
    duration_seconds: Annotated[int, pydantic.Field(ge=60, le=604_800, description="How long it lasts.")]

    @pydantic.field_validator("start")
    @classmethod
    def _must_be_cron(cls, text: str) -> str:
        try:
            cronsim.CronSim(text, datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
        except cronsim.CronSimError as error:
            raise ValueError(
                f"{text!r} is no cron expression: {error}; write such as '0 8 * * 1-5'"
            ) from error
        return text

    @pydantic.field_validator("time_zone")
    @classmethod
    def _must_be_known(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError) as error:
            raise ValueError(f"{name!r} is no time zone: write such as Europe/Berlin") from error
        return name


class Schedule(Window):
    """A floor for a time that comes again: servers are there before the load is."""

    min_replicas: Annotated[
        int,
        pydantic.Field(ge=1, le=1000, description="Fewest servers meanwhile; maxReplicas stays the most."),
    ]
