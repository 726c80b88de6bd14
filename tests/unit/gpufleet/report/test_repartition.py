"""What is told of a repartition, and what is not told again."""

from __future__ import annotations

import datetime

import pytest

from gpufleet.api import mig_policy
from gpufleet.decide.mig.repartition import configs, reasons, reports, rounds
from gpufleet.report import repartition
from tests import builders

NOW = builders.NOW


def make_round(
    *nodes: tuple[str, str, str], lost: frozenset[str] = frozenset(), published: frozenset[str] = frozenset()
) -> rounds.Round:
    """Nodes as (name, phase, reason) of pool `p`."""
    told = tuple(reports.NodeReport(name, "p", phase, reason, reason) for name, phase, reason in nodes)
    pool = reports.PoolReport(builders.make_pool("p"), mig_policy.MigStatus())
    return rounds.Round(nodes=told, pools=(pool,), file=configs.File(None, published, lost))


NOTHING = make_round()
FLIES = make_round(("a", "Applying", reasons.PENDING))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(NOTHING, make_round(("a", "Idle", reasons.SETTLED)), [], id="at rest"),
        pytest.param(NOTHING, make_round(("a", "Idle", reasons.ADVISORY)), [], id="told in status"),
        pytest.param(NOTHING, FLIES, [("Normal", reasons.PENDING)], id="on its way"),
        pytest.param(FLIES, FLIES, [], id="as before"),
        pytest.param(
            FLIES,
            make_round(("a", "RollingBack", reasons.CONFIGURATION_FAILED)),
            [("Warning", reasons.CONFIGURATION_FAILED)],
            id="a failure",
        ),
        pytest.param(
            FLIES,
            make_round(("a", "Idle", reasons.REPARTITIONED)),
            [("Normal", reasons.REPARTITIONED)],
            id="done",
        ),
        pytest.param(FLIES, NOTHING, [("Warning", reasons.NODE_GONE)], id="a node that is gone"),
        pytest.param(
            NOTHING,
            make_round(lost=frozenset({"x"})),
            [("Warning", reasons.CONFIG_MAP_DELETED)],
            id="the file is gone",
        ),
        pytest.param(
            NOTHING,
            make_round(lost=frozenset({"x"}), published=frozenset({"y"})),
            [("Warning", reasons.CONFIG_MAP_EDITED)],
            id="one entry is",
        ),
    ],
)
def test_events(before: rounds.Round, after: rounds.Round, expected: list[tuple[str, str]]) -> None:
    found = list(repartition.find_events(before, after))
    assert [(event.type, event.reason) for _, event in found] == expected
    assert {pool for pool, _ in found} <= {"p"}


def make_status(reason: str = "NoDemand", message: str = "m", used: int = 1) -> mig_policy.MigStatus:
    use = mig_policy.ProfileUse(profile="1g.10gb", total=7, used=used)
    return mig_policy.MigStatus(profiles=[use], plan=mig_policy.LastPlan(reason=reason, message=message))


def test_status_is_written_for_news_at_once_and_for_counts_later() -> None:
    teller = repartition.Teller()

    def tell(status: mig_policy.MigStatus, old: object, after_s: float) -> object:
        return teller.find_status(status, old, "u", NOW + datetime.timedelta(seconds=after_s))  # type: ignore[arg-type]

    first = tell(make_status(), None, 0.0)
    assert isinstance(first, dict)
    assert first["plan"]["at"] == "2030-01-01T12:00:00Z"
    assert tell(make_status(), first, 1.0) is None
    assert tell(make_status(used=2), first, 2.0) is None
    counts = tell(make_status(used=2), first, 31.0)
    assert isinstance(counts, dict)
    assert counts["plan"]["at"] == first["plan"]["at"], "the plan is the same"
    news = tell(make_status("Repartition"), counts, 32.0)
    assert isinstance(news, dict)
    assert news["plan"]["at"] == "2030-01-01T12:00:32Z"
