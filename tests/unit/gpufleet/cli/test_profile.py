from __future__ import annotations

import datetime
from typing import Any

import click
import pytest

from gpufleet.api import model_profile
from gpufleet.cli import profile
from tests import builders_api

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
LOAD = {"batchSize": 1, "concurrency": 4, "throughput": 90.5, "p50Microseconds": 40, "p99Microseconds": 50}


def measured(*points: tuple[int, int, int]) -> dict[str, Any]:
    """(size, count, microseconds of one)."""
    batches = [{"size": size, "count": count, "total_us": count * us} for size, count, us in points]
    return {"instances": 2, "points": batches, "load": [{**LOAD, "failed": 0}]}


def owner() -> dict[str, Any]:
    made = builders_api.make_service("vision", "team")
    made["metadata"] |= {"uid": "u-1"}
    return made


def test_the_record_is_the_services_and_holds_what_was_measured() -> None:
    record = profile.build_record(owner(), "double", measured((1, 200, 25_000), (4, 50, 40_000)), NOW)
    assert record["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    spec = model_profile.ModelProfileSpec.model_validate(record["spec"])
    assert (spec.source, spec.instances, spec.hardware) == ("Load", 2, "cpu")
    assert spec.fit.alpha_microseconds == pytest.approx(20_000)
    assert [one.to_wire() for one in spec.load] == [LOAD]


def test_a_slice_that_another_service_has_is_recorded_as_a_choice() -> None:
    small = builders_api.make_service("small", "team")
    assigned = {"resource": "nvidia.com/mig-1g.10gb", "count": 1, "products": ["NVIDIA-H100-80GB-HBM3"]}
    small["metadata"] |= {"uid": "u-2"}
    small["status"] = {"assignment": {"replicas": 1, "accelerator": assigned}}
    points = measured((1, 200, 25_000), (4, 50, 40_000))
    name = owner()["spec"]["models"][0]["name"]
    record = profile.build_record(owner(), name, points, NOW, small)
    assert record["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert record["spec"]["service"] == "vision"
    assert record["spec"]["hardware"] == "1 × nvidia.com/mig-1g.10gb on NVIDIA-H100-80GB-HBM3"
    here = profile.build_record(owner(), name, points, NOW)
    assert here["metadata"]["name"] != record["metadata"]["name"]


def test_a_model_that_the_service_lacks_is_not_recorded() -> None:
    with pytest.raises(click.ClickException, match="no model other"):
        profile.build_record(owner(), "other", measured((1, 200, 25_000), (4, 50, 40_000)), NOW)


def test_one_size_is_no_line() -> None:
    with pytest.raises(click.ClickException, match="--batches"):
        profile.build_record(owner(), "double", measured((1, 500, 25_000)), NOW)


def test_the_job_asks_for_no_rights() -> None:
    job = profile.build_job("team", "vision", "image", ["--url", "10.0.0.1:8001"])
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["args"] == ["agent", "profile", "--url", "10.0.0.1:8001"]
    assert job["spec"]["ttlSecondsAfterFinished"] > 0
