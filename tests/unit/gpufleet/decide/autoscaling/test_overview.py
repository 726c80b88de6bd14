"""What the read API tells of scaled services."""

from __future__ import annotations

import json
from typing import Any

from gpufleet.decide.autoscaling import memories, overview
from gpufleet.state import samples
from tests.builders import NOW, make_service, make_snapshot
from tests.unit.gpufleet.decide.autoscaling.test_memories import Fleet, make, outage


def tell(fleet_: Fleet, look: samples.Look, found: memories.Pass) -> dict[str, Any]:
    view = fleet_.view()
    told = overview.build(view, look, found, fleet_.now, view.services)
    return json.loads(json.dumps(told, allow_nan=False))  # type: ignore[no-any-return]


def test_a_service_under_load() -> None:
    fleet_ = Fleet(make())
    found = fleet_.look(served=35.0, queue_s=7.0, busy=0.5)
    told = tell(fleet_, samples.Look(1, fleet_.now.timestamp() - 4), found)
    assert told["look"] == {"number": 1, "ageSeconds": 4.0, "error": ""}
    [one] = told["services"]
    assert (one["namespace"], one["name"], one["mode"], one["current"]) == ("default", "vision", "Active", 2)
    assert one["scaling"]["wanted"] == one["scaling"]["replicas"] == 4
    assert one["scaling"]["leading"] == "Objective"
    assert one["scaling"]["demand"]["capacity"] == 20.0
    assert one["readings"]["requestsPerSecond"] == {"value": 70.0, "type": "Ok", "ageSeconds": 5.0}
    assert one["readings"]["queueWaitMilliseconds"]["value"] == 200.0
    assert one["readings"]["latencyP99Milliseconds"] == {"value": None, "type": "Missing", "ageSeconds": 5.0}
    assert one["memory"]["coldStart"] == {"p90Seconds": 40.0, "deadlineSeconds": 120.0, "measured": 2}
    assert one["memory"]["forecast"]["method"] == "LastValue"
    assert one["memory"]["learnt"] == {"held": 0.0, "missed": None}, "infinite is no JSON"
    assert one["memory"]["idleSince"] is None


def test_an_outage_is_told_with_its_words() -> None:
    fleet_ = Fleet(make())
    told = tell(fleet_, outage(), fleet_.look(outage()))
    assert told["look"]["error"] == "Prometheus answered 503"
    [one] = told["services"]
    assert one["readings"]["requestsPerSecond"] == {"value": None, "type": "Missing", "ageSeconds": 0.0}
    assert one["scaling"]["reason"] == "AwaitingSamples"


def test_before_the_first_pass_only_what_the_object_says() -> None:
    fleet_ = Fleet(make())
    told = tell(fleet_, samples.NOT_ASKED, memories.Pass())
    assert told["look"]["ageSeconds"] is None
    [one] = told["services"]
    assert (one["current"], one["scaling"], one["readings"], one["memory"]) == (2, None, None, None)


def test_services_that_do_not_scale_are_not_told() -> None:
    view = make_snapshot(services=[make_service("plain")])
    assert overview.build(view, samples.NOT_ASKED, memories.Pass(), NOW, view.services)["services"] == []
