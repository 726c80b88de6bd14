"""Why a service has the servers it has, in words."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given

from gpufleet.api import autoscaling
from gpufleet.cli import remedies, sentences
from gpufleet.decide.autoscaling import memories, overview
from gpufleet.state import samples
from tests import strategies_api
from tests.builders import NOW, make_service
from tests.unit.gpufleet.decide.autoscaling.builders import make_spec
from tests.unit.gpufleet.decide.autoscaling.test_memories import Fleet, make, outage
from tests.unit.gpufleet.decide.autoscaling.test_reasons import find_reasons

DEMAND = {"offered": 40, "expected": 40, "method": "LastValue", "horizonSeconds": 42, "capacity": 20}


def decided(**fields: Any) -> dict[str, Any]:
    return {
        "time": "2030-01-01T11:57:00Z",
        "before": 2,
        "wanted": 2,
        "replicas": 2,
        "reason": "Steady",
        "message": "the servers that are there are enough",
        **fields,
    }


def recorded(*decisions: dict[str, Any], **scaling: Any):
    """A service with this record, and one server ready of two."""
    record = {"mode": "Active", "replicas": 2, "decisions": list(decisions)}
    return make(status={"autoscaling": record, "readyReplicas": 1}, **scaling)


def clamp(reason: str, before: int, after: int, message: str) -> dict[str, Any]:
    return {"reason": reason, "before": before, "after": after, "message": message}


def lines(found: Iterable[str]) -> str:
    return "\n".join(found)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        pytest.param(
            recorded(),
            "default/vision has 2 servers, 1 ready.\n"
            "Active: the load sets the number, between 1 and 40 servers.\n"
            "It is to hold P99 within 50 ms, with 0 % kept free.",
            id="active",
        ),
        pytest.param(
            recorded(mode="Advisory", targets=[{"signal": "QueueWait", "value": 50}]),
            "default/vision has 2 servers, 1 ready.\n"
            "Advisory: what follows is computed, between 1 and 40 servers, and not done; "
            "spec.replicas sets the number.\n"
            "It is to hold P99 within 50 ms, with 0 % kept free; QueueWait 50 ms.",
            id="advisory",
        ),
        pytest.param(
            make_service("plain", status={"assignment": {"replicas": 1}}),
            "default/plain has 1 server, 0 ready.\n"
            "It is not scaled by load: spec.replicas and the scale subresource set the number.",
            id="not scaled",
        ),
    ],
)
def test_what_it_has(service: Any, expected: str) -> None:
    assert lines(sentences.tell_servers(service)) == expected


@pytest.mark.parametrize(
    ("demand", "entry", "expected"),
    [
        pytest.param(
            {"source": "Profile"},
            None,
            "A server carries 20 requests per second in time, by its ModelProfile.\n"
            "40 per second come, and no more are expected within the 42 s that a server takes to start.",
            id="by its profile, from status",
        ),
        pytest.param(
            {"source": "Profile", "margin": 6.2, "expected": 55.0},
            None,
            "A server carries 20 requests per second in time, by its ModelProfile.\n"
            "40 per second come; 55 are expected within the 42 s that a server takes to start, "
            "by the last two scrapes.\n"
            "6.2 more are provided for, by how such loads went on before.",
            id="a burst, with a margin",
        ),
        pytest.param(
            {"source": "Learnt", "expected": 61.52, "method": "Trend"},
            {
                "memory": {
                    "learnt": {"held": 18.2, "missed": 25.0},
                    "coldStart": {"p90Seconds": 41.6, "measured": 3},
                }
            },
            "A server carries 20 requests per second in time, learnt from the servers under load "
            "(18.2 held and 25 did not).\n"
            "40 per second come; 61.5 are expected within the 42 s that a server takes to start, "
            "by its trend.\n"
            "Nine of ten servers were ready after 42 s (3 starts measured).",
            id="learnt, with a trend",
        ),
        pytest.param(
            {"source": "Learnt"},
            {
                "memory": {
                    "learnt": {"held": 0, "missed": None},
                    "coldStart": {"p90Seconds": 60, "measured": 0},
                }
            },
            "A server carries 20 requests per second in time, learnt from the servers under load.\n"
            "40 per second come, and no more are expected within the 42 s that a server takes to start.\n"
            "No start of a server was measured yet; 60 s are assumed.",
            id="nothing measured",
        ),
    ],
)
def test_what_is_expected(demand: dict[str, Any], entry: Any, expected: str) -> None:
    service = recorded(decided(demand=DEMAND | demand))
    found = sentences.find_decision(sentences.Told(service))
    assert found is not None
    assert service.spec.autoscaling is not None
    assert lines(sentences.tell_demand(found.demand, service.spec.autoscaling, entry)) == expected


@pytest.mark.parametrize(
    ("fields", "scaling", "mode", "expected"),
    [
        pytest.param(
            {},
            {},
            "Active",
            "The signals ask for 2 servers.\nSo 2 servers. Steady: the servers that are there are enough.",
            id="steady",
        ),
        pytest.param(
            {
                "wanted": 9,
                "replicas": 3,
                "reason": "ScaledUp",
                "message": "from 2 to 3 servers: more load; full.",
                "clamps": [clamp("AtMaximum", 9, 4, "maxReplicas is 4"), clamp("NoRoom", 4, 3, "full.")],
            },
            {"leading": "Objective"},
            "Active",
            "The signals ask for 9 servers for the objective.\n"
            "  AtMaximum moves 9 to 4: maxReplicas is 4.\n"
            "  NoRoom moves 4 to 3: full.\n"
            "So 3 servers. ScaledUp: from 2 to 3 servers: more load; full.",
            id="clamps in order",
        ),
        pytest.param(
            {
                "reason": "NoEvidence",
                "message": "load is missing",
                "clamps": [clamp("NoEvidence", 2, 2, "load is missing")],
            },
            {"leading": "QueueWait"},
            "Advisory",
            "The signals ask for 2 servers for QueueWait.\n"
            "  NoEvidence holds it at 2: load is missing.\n"
            "So 2 servers would be right. NoEvidence: load is missing.",
            id="held, in advisory",
        ),
        pytest.param(
            {"wanted": 3, "replicas": 3},
            {"leading": "ShedLoad"},
            "Active",
            "The signals ask for 3 servers because requests are refused.\n"
            "So 3 servers. Steady: the servers that are there are enough.",
            id="refused requests",
        ),
    ],
)
def test_what_was_decided(fields: dict[str, Any], scaling: dict[str, Any], mode: Any, expected: str) -> None:
    found = sentences.find_decision(sentences.Told(recorded(decided(**fields))))
    assert found is not None
    assert lines(sentences.tell_decision(found, make_spec(mode=mode), scaling)) == expected


@pytest.mark.parametrize(
    ("fields", "spec", "expected"),
    [
        pytest.param(
            {"demand": {**DEMAND, "source": "Profile"}},
            {"targets": []},
            "More than 40 requests per second need another server, 18.18 or less need one fewer.",
            id="the objective",
        ),
        pytest.param(
            {},
            {},
            "More than 55 of QueueWait need another server, 25 or less need one fewer.",
            id="a target",
        ),
        pytest.param(
            {"replicas": 10},
            {},
            "45 or less need one fewer.",
            id="no more than maxReplicas",
        ),
        pytest.param(
            {"replicas": 1}, {}, "More than 55 of QueueWait need another server.", id="no fewer than one"
        ),
        pytest.param(
            {"replicas": 3},
            {"minReplicas": 3, "maxReplicas": 3},
            "Its bounds leave no other number while anybody asks.",
            id="no choice",
        ),
        pytest.param(
            {"reason": "NoRoom", "clamps": [clamp("NoRoom", 3, 2, "full")]},
            {"targets": []},
            "Free accelerators, or more nodes, would let it grow.",
            id="a reason, once",
        ),
        pytest.param(
            {"replicas": 0, "reason": "ScaledToZero"},
            {},
            "kubectl annotate --overwrite tsvc/NAME gpufleet.dev/wake=$(date +%s) wakes it.",
            id="asleep",
        ),
    ],
)
def test_what_would_change_it(fields: dict[str, Any], spec: dict[str, Any], expected: str) -> None:
    found = sentences.find_decision(sentences.Told(recorded(decided(**fields))))
    assert found is not None
    assert lines(remedies.find(found, make_spec(**spec))) == expected


def test_every_reason_but_those_of_a_move_has_a_remedy() -> None:
    assert set(remedies.BY_REASON) == find_reasons() - {"ScaledUp", "ScaledDown", "Steady"}


def test_what_another_load_would_need() -> None:
    supposed = {
        "rate": 2.5,
        "notes": ["how QueueWait follows the load is not known"],
        "decision": decided(
            wanted=5,
            replicas=4,
            reason="ScaledUp",
            message="from 2 to 4 servers: more load",
            demand={**DEMAND, "offered": 100, "source": "Profile"},
            clamps=[clamp("NoRoom", 5, 4, "room for 2")],
        ),
    }
    assert lines(sentences.tell_supposed(supposed)) == (
        "With 2.5 times the load (100 requests per second) the signals would ask for 5 servers, "
        "and it would have 4:\n"
        "  NoRoom would move 5 to 4: room for 2.\n"
        "  ScaledUp: from 2 to 4 servers: more load.\n"
        "  Windows and rates of behavior, which only delay, are left out; other services stay as they are.\n"
        "  How QueueWait follows the load is not known."
    )


def seen(fleet_: Fleet, look: samples.Look | None = None, **fields: Any) -> sentences.Told:
    """A service as the read API tells it."""
    found = fleet_.look(look, **fields)
    told = overview.build(fleet_.view(), look or samples.Look(1, 0.0), found, fleet_.now, [fleet_.service])
    return sentences.Told(fleet_.service, told["services"][0], told["look"])


def test_the_whole_page_with_the_read_api() -> None:
    service = recorded(decided(), decided(time="2030-01-01T09:00:00Z", reason="ScaledUp", message="more"))
    told = seen(Fleet(service), served=35.0, queue_s=3.5, pending=2.0, busy=0.5)
    assert lines(sentences.tell(told, NOW)) == (
        "default/vision has 2 servers, 1 ready.\n"
        "Active: the load sets the number, between 1 and 40 servers.\n"
        "It is to hold P99 within 50 ms, with 0 % kept free.\n"
        "\n"
        "Signals of 2 ready servers now:\n"
        "  requests         70 per second        Ok, 5 s old\n"
        "  refused          0 per second         Ok, 5 s old\n"
        "  waiting          4 requests           Ok, 5 s old\n"
        "  mean wait        100 ms               Ok, 5 s old\n"
        "  busy             1 instances          Ok, 5 s old\n"
        "A server carries 20 requests per second in time, by its ModelProfile.\n"
        "70 per second come, and no more are expected within the 40 s that a server takes to start.\n"
        "Nine of ten servers were ready after 40 s (2 starts measured).\n"
        "\n"
        "The signals ask for 4 servers for the objective.\n"
        "So 4 servers. ScaledUp: from 2 to 4 servers: 70 requests per second come, 70 are expected within "
        "40 s (LastValue) and 0 more provided for; a server carries 20 with P99 within 50 ms (Profile).\n"
        "More than 80 requests per second need another server, 54.55 or less need one fewer.\n"
        "More: docs/runbooks/autoscaling/ScaledUp.md\n"
        "\n"
        "Decisions, the newest first:\n"
        "  3 min ago    Steady: the servers that are there are enough\n"
        "  3 h ago      ScaledUp: more"
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param(
            sentences.Told(recorded(), unreachable="forbidden"),
            "No decision was made so far, and what is seen now is not known: forbidden.",
            id="nothing at all",
        ),
        pytest.param(
            sentences.Told(
                recorded(
                    decided(
                        inputs=[
                            {"signal": "QueueWait", "value": 80, "target": 50, "type": "Ok", "ageSeconds": 7},
                            {"signal": "Latency", "target": 50, "type": "Missing"},
                        ]
                    )
                ),
                unreachable="forbidden",
            ),
            "What is seen now is not known: forbidden.\n"
            "From status alone, as it was when the newest decision was made, 3 min ago:\n"
            "  QueueWait        80 ms                Ok, 7 s old then\n"
            "  Latency          unknown              Missing, 0 s old then",
            id="from status alone",
        ),
        pytest.param(
            seen(Fleet(make()), outage()),
            "Prometheus gives no samples: Prometheus answered 503.\n"
            "Signals of 2 ready servers now:\n"
            "  requests         unknown              Missing, 0 s old",
            id="an outage",
        ),
        pytest.param(
            sentences.Told(recorded(), entry={"scaling": None}, look={"error": ""}),
            "No decision was made so far, and what is seen now is not known: "
            "the operator has not looked at it yet.",
            id="not looked at yet",
        ),
    ],
)
def test_what_is_seen(told: sentences.Told, expected: str) -> None:
    assert lines(sentences.tell_signals(told, NOW)) == expected


def test_before_the_first_pass_the_record_speaks() -> None:
    service = recorded(decided(reason="NoRoom", message="full"))
    entry = overview.build(Fleet(service).view(), samples.NOT_ASKED, memories.Pass(), NOW, [service])
    told = sentences.Told(service, entry["services"][0], entry["look"])
    assert "So 2 servers. NoRoom: full." in sentences.tell(told, NOW)


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (-5, "0 s ago"),
        (0, "0 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86_400, "1 d ago"),
        (10 * 86_400, "10 d ago"),
    ],
)
def test_ages(age_s: int, expected: str) -> None:
    assert sentences.ago(NOW - datetime.timedelta(seconds=age_s), NOW) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.0314159, "0.0314"), (18.25, "18.2"), (999.4, "999"), (1234.5, "1,234"), (2e6, "2,000,000")],
)
def test_numbers(value: float, expected: str) -> None:
    assert sentences.number(value) == expected


@given(decision=strategies_api.statuses(autoscaling.ScalingDecision))
def test_any_record_can_be_told(decision: dict[str, Any]) -> None:
    """Whatever an operator of another version has written, as long as the API server took it."""
    told = list(sentences.tell(sentences.Told(recorded(decision), unreachable="forbidden"), NOW))
    assert told[0] == "default/vision has 2 servers, 1 ready."
    assert any(line.startswith("So ") for line in told)
    assert told[-1].endswith(f"{decision['reason']}: {decision.get('message', '')}")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({}, "", id="nothing is advised"),
        pytest.param(
            {"sliceChoice": {"reason": "CheaperSlice", "message": "14 % less"}},
            "Slice by cost. CheaperSlice: 14 % less.",
            id="another slice",
        ),
        pytest.param(
            {
                "rightSizing": {"reason": "RightSized", "message": "3g.40gb is right"},
                "sliceChoice": {"reason": "SliceChanged", "message": "so", "movedAt": NOW},
            },
            "Right size, advice only. RightSized: 3g.40gb is right.\n"
            "Slice by cost. SliceChanged: so. It was moved at 2030-01-01 12:00 UTC.",
            id="both, and it was moved",
        ),
    ],
)
def test_what_is_said_of_its_slice(status: dict[str, Any], expected: str) -> None:
    assert lines(sentences.tell_size(make_service(status=status))) == expected
