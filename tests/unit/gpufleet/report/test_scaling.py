"""Sums over all scaled services, as Prometheus sees them."""

from __future__ import annotations

from typing import Any

import prometheus_client
import pytest

from gpufleet.decide.autoscaling import memories, scaler
from gpufleet.decide.placement import disruption
from gpufleet.report import scaling
from tests.unit.gpufleet.decide.autoscaling.builders import read

LEDGER = disruption.Ledger(8.0, {"ScaleDown": 2.0, "Repartition": 1.0})


def value(name: str, **labels: str) -> float | None:
    return prometheus_client.REGISTRY.get_sample_value(f"gpufleet_autoscaler_{name}", labels)


def found(*scalings: scaler.Scaling, **fields: Any) -> memories.Pass:
    seen = read(1, **fields)
    return memories.Pass(
        {str(number): one for number, one in enumerate(scalings)},
        readings={str(number): seen for number in range(len(scalings))},
    )


def test_sums_by_mode_and_reasons() -> None:
    held = (
        scaler.Scaling("Active", 2, 9, 9).clamp(scaler.AT_MAXIMUM, 4, "most").clamp(scaler.NO_ROOM, 3, "full")
    )
    late = scaler.Scaling("Advisory", 1, 1, 1, trouble=(memories.PODS_OVERDUE, "late"))
    scaling.note(found(held, held, late, served=1.0), LEDGER)
    assert value("services", mode="Active", type="Ok") == 2
    assert value("services", mode="Advisory", type="Ok") == 1
    assert value("services", mode="Active", type="Missing") == 0
    assert [value(f"{name}servers", mode="Active") for name in ("", "wanted_", "granted_")] == [4, 18, 6]
    assert [value("held_services", reason=one) for one in (scaler.AT_MAXIMUM, scaler.NO_ROOM)] == [2, 2]
    assert value("held_services", reason=memories.PODS_OVERDUE) == 1


@pytest.mark.parametrize("reason", scaling.WATCHED)
def test_what_is_over_is_zero_and_not_absent(reason: str) -> None:
    scaling.note(found(scaler.Scaling("Active", 2, 9, 9).clamp(reason, 2, "")), LEDGER)
    assert value("held_services", reason=reason) == 1
    scaling.note(memories.Pass(), LEDGER)
    assert value("held_services", reason=reason) == 0
    assert value("servers", mode="Active") == 0


def test_what_was_given_up_is_told_by_act() -> None:
    scaling.note(memories.Pass(), LEDGER)
    read_value = prometheus_client.REGISTRY.get_sample_value
    assert read_value("gpufleet_disruption_limit_gpus") == 8.0
    told = {act: read_value("gpufleet_disruption_gpus", {"act": act}) for act in disruption.ACTS}
    assert told == {"ScaleDown": 2.0, "Preemption": 0.0, "Repartition": 1.0}
