"""GPUs that may be given up within an hour."""

from __future__ import annotations

import datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.api import accelerator, triton_service
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import disruption
from gpufleet.state import mig, names
from tests.builders import GPU, NOW, make_job, make_node, make_service, make_snapshot


def shrunk(
    name: str, ago_s: float = 0.0, before: int = 8, after: int = 8, mode: str = "Active", **given: Any
):
    """A service of eight servers that shrank so long ago."""
    decided = {
        "time": NOW - datetime.timedelta(seconds=ago_s),
        "before": before,
        "wanted": after,
        "replicas": after,
        "reason": scaler.SCALED_DOWN,
    }
    assigned = {"resource": GPU, "count": 1, **given}
    status = {
        "assignment": {"replicas": 8, "accelerator": assigned},
        "autoscaling": {"mode": mode, "replicas": after, "decisions": [decided] if before > after else []},
    }
    return make_service(name, status=status, accelerator={"count": 1})


def wanting(service: triton_service.TritonService, after: int, **fields: Any) -> dict[str, scaler.Scaling]:
    return {service.metadata.uid: scaler.Scaling("Active", 8, after, after, **fields)}


def limit(
    services: list[triton_service.TritonService],
    scalings: dict[str, scaler.Scaling],
    budget: float,
) -> dict[str, scaler.Scaling]:
    ledger = disruption.read(make_snapshot(services=services), budget, NOW)
    found, _ = disruption.limit_shrinking(services, scalings, ledger, NOW)
    return dict(found)


@pytest.mark.parametrize(
    ("others", "given", "after", "budget", "replicas"),
    [
        pytest.param([], {}, 2, 0.0, 2, id="no limit"),
        pytest.param([], {}, 2, 4.0, 4, id="as many as the budget has"),
        pytest.param([], {}, 6, 4.0, 6, id="fewer than the budget has"),
        pytest.param([], {"count": 4}, 6, 10.0, 6, id="servers of four GPUs"),
        pytest.param([], {"count": 4}, 4, 10.0, 6, id="the budget counts GPUs"),
        pytest.param([], {"resource": "nvidia.com/mig-1g.10gb"}, 1, 1.0, 1, id="seven slices are a GPU"),
        pytest.param([shrunk("a", 60, 10, 7)], {}, 2, 4.0, 7, id="what went within the hour counts"),
        pytest.param([shrunk("a", 3601, 10, 7)], {}, 2, 4.0, 4, id="what went before does not"),
        pytest.param([shrunk("a", 60, 10, 7, "Advisory")], {}, 2, 4.0, 4, id="advice gives nothing up"),
        pytest.param([shrunk("a", 60, 20, 7)], {}, 2, 4.0, 8, id="nothing is left"),
    ],
)
def test_budget(
    others: list[triton_service.TritonService],
    given: dict[str, Any],
    after: int,
    budget: float,
    replicas: int,
) -> None:
    service = shrunk("vision", **given)
    scaling = limit([*others, service], wanting(service, after), budget)[service.metadata.uid]
    assert scaling.replicas == replicas
    assert [one.reason for one in scaling.clamps] == [scaler.DISRUPTION_BUDGET] * (replicas != after)


def test_services_share_the_budget() -> None:
    one, two = shrunk("one"), shrunk("two")
    found = limit([one, two], wanting(one, 5) | wanting(two, 5), 4.0)
    assert sum(8 - scaling.replicas for scaling in found.values()) == 4


@pytest.mark.parametrize(
    ("resource", "count", "gpus"),
    [
        pytest.param(GPU, 2, 2.0, id="whole devices"),
        pytest.param("nvidia.com/mig-3g.40gb", 1, 3 / 7, id="a slice"),
        pytest.param("amd.com/gpu", 1, 1.0, id="another vendor"),
    ],
)
def test_count_gpus(resource: str, count: int, gpus: float) -> None:
    assigned = accelerator.AssignedAccelerator(resource=resource, count=count)
    assert disruption.count_gpus(assigned) == pytest.approx(gpus)


def back(seconds: float) -> datetime.datetime:
    return NOW - datetime.timedelta(seconds=seconds)


def gang(history: list[dict[str, Any]] | None = None, **given: Any) -> Any:
    """A gang whose workers have two GPUs each."""
    assigned = {"workers": 4, "accelerator": {"resource": GPU, "count": 2}, **given}
    return make_job(status={"assignment": assigned, "history": history or []})


def ended(workers: int, ago_s: float, by: str = "Preempted") -> dict[str, Any]:
    return {"attempt": 1, "endedBy": by, "workers": workers, "endTime": back(ago_s)}


@pytest.mark.parametrize(
    ("job", "gpus"),
    [
        pytest.param(make_job(), 0.0, id="never assigned"),
        pytest.param(gang(resizedAt=back(60), shedWorkers=3), 6.0, id="it has shrunk"),
        pytest.param(gang(resizedAt=back(3601), shedWorkers=3), 0.0, id="long ago"),
        pytest.param(gang([ended(4, 60)]), 8.0, id="it was ended"),
        pytest.param(gang([ended(4, 3601)]), 0.0, id="ended long ago"),
        pytest.param(gang([ended(4, 60, "ProgramError")]), 0.0, id="it has failed by itself"),
        pytest.param(
            gang([ended(4, 30)], workers=0, reason="Preempted", resizedAt=back(60), shedWorkers=4),
            8.0,
            id="told in its assignment and its history",
        ),
        pytest.param(
            gang([ended(2, 30)], resizedAt=back(60), shedWorkers=1), 6.0, id="ended, and shrunk before"
        ),
    ],
)
def test_what_gangs_have_given_up(job: Any, gpus: float) -> None:
    assert disruption.read(make_snapshot(jobs=[job]), 8.0, NOW).spent["Preemption"] == gpus


def change(began_s: float, **fields: Any) -> mig.Change:
    """Of two GPUs, three of which it takes away."""
    before, after = mig.Layout.of({0: {}, 1: {}}), mig.Layout.of({0: {"1g.10gb": 1}, 1: {"1g.10gb": 1}})
    moments = {"began": back(began_s), "since": back(began_s)}
    return mig.Change("Fenced", "p", after, "c", before, "b", "", **(moments | fields))


def cuts(*made: tuple[float, int]) -> str:
    return mig.Cuts(tuple(mig.Cut(back(ago_s), gpus) for ago_s, gpus in made)).to_text()


@pytest.mark.parametrize(
    ("annotations", "gpus"),
    [
        pytest.param({}, 0, id="no change"),
        pytest.param({names.MIG_CUTS_ANNOTATION: cuts((60, 3), (3599, 1))}, 4, id="within the hour"),
        pytest.param({names.MIG_CUTS_ANNOTATION: cuts((3601, 3))}, 0, id="long ago"),
        pytest.param({names.MIG_CUTS_ANNOTATION: "{}"}, 0, id="not ours"),
        pytest.param({names.MIG_CHANGE_ANNOTATION: change(60).to_text()}, 2, id="fenced"),
        pytest.param({names.MIG_CHANGE_ANNOTATION: change(60, affected=3).to_text()}, 3, id="a reset of all"),
        pytest.param({names.MIG_CHANGE_ANNOTATION: "?"}, 0, id="a record that nobody can read"),
        pytest.param(
            {
                names.MIG_CHANGE_ANNOTATION: change(60).to_text(),
                names.MIG_CUTS_ANNOTATION: cuts((50, 2), (600, 1)),
            },
            3,
            id="under way and marked: once",
        ),
        pytest.param(
            {
                names.MIG_CHANGE_ANNOTATION: change(60).to_text(),
                names.MIG_CUTS_ANNOTATION: cuts((600, 1)),
            },
            3,
            id="the one before and the one under way",
        ),
        pytest.param(
            {
                names.MIG_CHANGE_ANNOTATION: change(9000).to_text(),
                names.MIG_CUTS_ANNOTATION: cuts((8000, 2)),
            },
            2,
            id="under way for hours",
        ),
    ],
)
def test_what_changes_of_layouts_take(annotations: dict[str, str], gpus: int) -> None:
    view = make_snapshot([make_node("n", annotations=annotations)])
    assert disruption.read(view, 8.0, NOW).spent["Repartition"] == gpus


def test_all_acts_share_one_budget_and_it_says_who_used_it() -> None:
    service = shrunk("vision", 60, 10, 8)
    node = make_node("n", annotations={names.MIG_CUTS_ANNOTATION: cuts((60, 3))})
    view = make_snapshot([node], services=[service], jobs=[gang([ended(1, 60)])])
    ledger = disruption.read(view, 8.0, NOW)
    assert ledger.left_gpus == 1.0
    assert "1.0 may still be given up" in ledger.explain()
    assert "scaling 2.0, preemption 2.0, repartition 3.0" in ledger.explain()
    found, after = disruption.limit_shrinking([service], wanting(service, 2), ledger, NOW)
    assert found[service.metadata.uid].replicas == 7
    assert after.left_gpus == 0.0
    assert after.to_wire()["spentGpus"] == {"ScaleDown": 3.0, "Preemption": 2.0, "Repartition": 3.0}


def test_without_a_limit_all_is_counted_and_nothing_held() -> None:
    service = shrunk("vision", 60, 10, 8)
    ledger = disruption.read(make_snapshot(services=[service]), 0.0, NOW)
    assert ledger.allows(1e9)
    assert ledger.to_wire() == {
        "limitGpusPerHour": None,
        "spentGpus": {"ScaleDown": 2.0, "Preemption": 0.0, "Repartition": 0.0},
    }


def test_a_record_that_is_full_of_what_counts_holds_the_number() -> None:
    """The next decision would push out one that the budget has to know of."""
    full = shrunk("vision", 60, 9, 8)
    told = full.status.autoscaling
    assert told is not None
    many = told.model_copy(update={"decisions": told.decisions * 9})
    full = full.model_copy(update={"status": full.status.model_copy(update={"autoscaling": many})})
    [clamp] = limit([full], wanting(full, 7), 100.0)[full.metadata.uid].clamps
    assert (clamp.reason, clamp.after) == (scaler.DISRUPTION_BUDGET, 8)


@hypothesis.given(
    limit_gpus=st.floats(0.1, 64.0),
    spent=st.floats(0.0, 64.0),
    targets=st.lists(st.integers(0, 8), min_size=1, max_size=6),
    count=st.integers(1, 8),
)
def test_never_more_than_is_left(limit_gpus: float, spent: float, targets: list[int], count: int) -> None:
    services = [shrunk(f"s{number}", count=count) for number in range(len(targets))]
    scalings = {}
    for service, after in zip(services, targets, strict=True):
        scalings |= wanting(service, after)
    before = disruption.Ledger(limit_gpus, {"Repartition": spent})
    found, after = disruption.limit_shrinking(services, scalings, before, NOW)
    gone = sum((8 - one.replicas) * count for one in found.values())
    assert gone <= before.left_gpus + 1e-6
    assert after.spent.get("ScaleDown", 0.0) == pytest.approx(gone)
    assert all(one.replicas >= scalings[uid].replicas for uid, one in found.items())
