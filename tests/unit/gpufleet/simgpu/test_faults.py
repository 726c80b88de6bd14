from __future__ import annotations

import pytest

from gpufleet.simgpu import faults


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        pytest.param(None, faults.Faults(), id="none"),
        pytest.param("", faults.Faults(), id="empty"),
        pytest.param("mig-failed", faults.Faults(mig_failed=True), id="failed"),
        pytest.param(" mig-stuck , ", faults.Faults(mig_stuck=True), id="stuck, spaces"),
        pytest.param("unhealthy=1", faults.Faults(unhealthy=frozenset({1})), id="unhealthy"),
        pytest.param("xid=0:79,xid=1:13", faults.Faults(xids={0: 79, 1: 13}), id="two XIDs"),
        pytest.param("unhealthy=x,xid=3,explode,mig-failed", faults.Faults(mig_failed=True), id="bad items"),
    ],
)
def test_an_annotation_is_read(annotation: str | None, expected: faults.Faults) -> None:
    assert faults.parse(annotation) == expected


def test_xids_of_applications_leave_a_gpu_healthy() -> None:
    assert faults.parse("xid=0:79,xid=1:13,unhealthy=2").unhealthy_gpus == {0, 2}
