"""How servers of one revision are replaced by those of the next."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta

Strategy = Literal["Auto", "Surge", "DrainFirst"]
Phase = Literal["Waiting", "Progressing", "Canary", "Returned"]
Traffic = Literal["Route", "Replicas"]
Revision = Annotated[str, pydantic.Field(max_length=63)]
Percent = Annotated[int, pydantic.Field(ge=0, le=100)]


class Canary(meta.Schema):
    """A share of the servers at which a rollout stops."""

    weight: Annotated[
        Percent,
        pydantic.Field(
            description="Percent of the servers that run the new revision, at least one; 100 promotes it, "
            "0 takes it back."
        ),
    ]


class Rollout(meta.Schema):
    """What may be lost or added while the template changes, and when to give up."""

    strategy: Annotated[
        Strategy,
        pydantic.Field(
            description="Surge starts new servers before old ones go, DrainFirst the other way round; Auto "
            "surges where the fleet has a free accelerator, else drains first."
        ),
    ] = "Auto"
    step_percent: Annotated[
        int, pydantic.Field(ge=1, le=100, description="Percent of the servers that change at a time.")
    ] = 25
    progress_deadline_seconds: Annotated[
        int,
        pydantic.Field(
            ge=10,
            le=86400,
            description="The old revision comes back when no further new server becomes ready for this long.",
        ),
    ] = 600
    attempt: Annotated[
        int, pydantic.Field(ge=1, le=10**6, description="Raise it to try a revision again that came back.")
    ] = 1
    canary: Annotated[
        Canary | None, pydantic.Field(description="Stop at a share of the servers; unset: go on to all.")
    ] = None

    @property
    def weight(self) -> int:
        """Percent of the servers that the new revision is to have."""
        return 100 if self.canary is None else self.canary.weight


class RolloutStatus(meta.Schema):
    """The rollout under way, or the one that failed."""

    revision: Annotated[Revision, pydantic.Field(description="The revision that comes.")]
    previous: Annotated[Revision, pydantic.Field(description="The revision that comes back if it fails.")]
    phase: Annotated[
        Phase, pydantic.Field(description="Waiting for room, Progressing, holding as Canary, or Returned.")
    ]
    strategy: Annotated[
        Literal["", "Surge", "DrainFirst"], pydantic.Field(description="What was chosen, once it was.")
    ] = ""
    weight: Annotated[
        Percent, pydantic.Field(description="Percent of the servers that the new revision is to have.")
    ] = 100
    traffic: Annotated[
        Traffic,
        pydantic.Field(
            description="What shares a canary's traffic: the weights of spec.route, or the servers' numbers."
        ),
    ] = "Replicas"
    attempt: Annotated[
        int, pydantic.Field(ge=1, le=10**6, description="spec.rollout.attempt of this rollout.")
    ] = 1
    ready_peak: Annotated[
        meta.Count, pydantic.Field(description="Most servers of the new revision that were ready at once.")
    ] = 0
    progressed_at: Annotated[
        datetime.datetime | None, pydantic.Field(description="When a new server last became ready.")
    ] = None
    message: Annotated[meta.Message, pydantic.Field(description="What happens, in a sentence.")] = ""

    @property
    def request(self) -> str:
        """What the fleet cycle is asked for, and repeats in its answer."""
        return f"{self.revision}:{self.weight}"
