"""Which profile is advised, when nothing is, and that every reason has its page."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.mig import rightsizing, usage

PAGES = pathlib.Path(__file__).parents[5] / "docs" / "runbooks" / "mig"
H100, L40S = "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S"
PROFILES = ["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]
DAY = 24
REASONS = [
    rightsizing.DOWNSIZE, rightsizing.UPSIZE, rightsizing.RIGHT_SIZED, rightsizing.SERIES_MISSING,
    rightsizing.SERIES_SHORT, rightsizing.SERIES_DOUBTFUL, rightsizing.OBJECTIVE_AT_RISK,
    rightsizing.NOT_SIZED,
]  # fmt: skip


def assigned(profile: str = "3g.40gb", products: tuple[str, ...] = (H100,), count: int = 1) -> Any:
    resource = f"nvidia.com/mig-{profile}" if profile else "nvidia.com/gpu"
    return accelerators.AssignedAccelerator(resource=resource, count=count, products=list(products))


def counts(*shares: float, each: int = 60) -> usage.Counts:
    found = [0] * usage.BINS
    for share in shares:
        found[max(0, round(share * usage.BINS) - 1)] += each
    return tuple(found)


def used(
    *, hours: int = DAY, sm: float | None = 0.2, engine: float | None = 0.2, dram: float | None = 0.1,
    memory_mib: float = 5000.0, latency_s: float = 0.01,
) -> usage.Usage:  # fmt: skip
    """Every minute of so many hours alike."""
    hour = {
        "minutes": 2**60 - 1,
        "memory_mib": memory_mib,
        "latency_s": latency_s,
        "sm": counts(*[] if sm is None else [sm]),
        "engine": counts(*[] if engine is None else [engine]),
        "dram": counts(*[] if dram is None else [dram]),
    }
    return usage.Usage("d", 1, tuple(usage.Hour(number, **hour) for number in range(hours)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "have", "reason", "profile"),
    [
        # 0.2 × 60 SM ÷ 16 SM = 0.75
        pytest.param(used(), "3g.40gb", "SmallerFits", "1g.10gb", id="a quarter is enough"),
        pytest.param(
            used(sm=0.25), "3g.40gb", "SmallerFits", "1g.20gb", id="SM, not g: 26 of a double-memory 1g"
        ),
        pytest.param(used(memory_mib=9000.0), "3g.40gb", "SmallerFits", "1g.20gb", id="memory decides"),
        pytest.param(used(dram=0.25), "3g.40gb", "SmallerFits", "1g.20gb", id="bandwidth decides"),
        pytest.param(used(sm=0.8), "3g.40gb", "RightSized", "3g.40gb", id="as it should be"),
        pytest.param(used(sm=0.85), "3g.40gb", "RightSized", "3g.40gb", id="a little more"),
        pytest.param(used(sm=1.0), "3g.40gb", "LargerNeeded", "7g.80gb", id="4g has hardly more SM"),
        pytest.param(used(sm=1.0), "1g.10gb", "LargerNeeded", "1g.20gb", id="from the smallest"),
        pytest.param(used(memory_mib=9900.0), "1g.10gb", "LargerNeeded", "1g.20gb", id="memory is full"),
        pytest.param(used(sm=1.0, hours=2), "1g.10gb", "LargerNeeded", "1g.20gb", id="needs no day"),
        pytest.param(used(sm=1.0), "7g.80gb", "RightSized", "7g.80gb", id="there is nothing larger"),
        pytest.param(used(), "", "SmallerFits", "3g.40gb", id="a whole device"),
        pytest.param(used(sm=0.9), "", "RightSized", "", id="a whole device that is needed"),
        pytest.param(used(hours=20), "3g.40gb", "SeriesShort", "3g.40gb", id="less than a day"),
        pytest.param(used(dram=None), "3g.40gb", "SeriesMissing", "", id="no DRAM_ACTIVE"),
        pytest.param(used(sm=None, engine=None), "3g.40gb", "SeriesMissing", "", id="no activity at all"),
        pytest.param(used(memory_mib=-1.0), "3g.40gb", "SeriesMissing", "", id="no FB_USED"),
        pytest.param(used(sm=None, engine=0.2), "3g.40gb", "SeriesDoubtful", "3g.40gb", id="a plateau"),
        pytest.param(usage.Usage(), "3g.40gb", "SeriesMissing", "", id="nothing seen"),
        pytest.param(used(), "9g.99gb", "NotSized", "", id="a profile that the model lacks"),
    ],
)
def test_advice(seen: usage.Usage, have: str, reason: str, profile: str) -> None:
    found = rightsizing.advise(seen, assigned(have))
    assert (found.reason, found.profile) == (reason, profile), found.message
    assert found.message


@pytest.mark.parametrize(
    "have",
    [
        pytest.param(None, id="no accelerator"),
        pytest.param(assigned("", count=2), id="two devices"),
        pytest.param(assigned(products=()), id="any product"),
        pytest.param(assigned(products=(H100, "NVIDIA-A100-SXM4-80GB")), id="two models"),
        pytest.param(assigned("", products=(L40S,)), id="a device without MIG"),
    ],
)
def test_what_is_not_sized(have: Any) -> None:
    assert rightsizing.advise(used(), have).reason == rightsizing.NOT_SIZED


@pytest.mark.parametrize(
    ("latency_s", "target_s", "reason"),
    [
        pytest.param(0.07, 0.1, "SmallerFits", id="slack"),
        pytest.param(0.09, 0.1, "ObjectiveAtRisk", id="no slack"),
        pytest.param(-1.0, 0.1, "ObjectiveAtRisk", id="not known"),
        pytest.param(-1.0, None, "SmallerFits", id="nothing promised"),
    ],
)
def test_a_promise_keeps_the_larger_slice(latency_s: float, target_s: float | None, reason: str) -> None:
    assert rightsizing.advise(used(latency_s=latency_s), assigned(), target_s).reason == reason


shares = st.integers(1, 20).map(lambda step: step / 20)


@given(st.sampled_from(PROFILES), shares, shares, st.floats(0, 80_000))
def test_what_is_advised_to_shrink_is_not_advised_to_grow_again(
    have: str, sm: float, dram: float, memory_mib: float
) -> None:
    """By the same work on the smaller slice: utilisation times SM, and units, stays."""
    found = rightsizing.advise(used(sm=sm, dram=dram, memory_mib=memory_mib), assigned(have))
    if found.reason != rightsizing.DOWNSIZE:
        return
    _, present = rightsizing.find_size(assigned(have))
    _, target = rightsizing.find_size(assigned(found.profile))
    assert present is not None
    assert target is not None
    after = used(
        sm=sm * present.sm / target.sm, dram=dram * present.units / target.units, memory_mib=memory_mib
    )
    assert rightsizing.advise(after, assigned(found.profile)).reason != rightsizing.UPSIZE


@given(st.sampled_from(PROFILES), shares, shares, st.floats(0, 80_000))
def test_more_use_never_asks_for_less(have: str, sm: float, dram: float, memory_mib: float) -> None:
    less = rightsizing.advise(used(sm=sm, dram=dram, memory_mib=memory_mib), assigned(have))
    more = rightsizing.advise(
        used(sm=min(1.0, sm + 0.05), dram=dram, memory_mib=memory_mib + 500), assigned(have)
    )
    sizes = [rightsizing.find_size(assigned(one.profile))[1] for one in (less, more)]
    before, after = sizes
    assert before is not None
    assert after is not None
    assert after.memory_mib >= before.memory_mib


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_page_that_says_what_to_do(reason: str) -> None:
    text = (PAGES / f"{reason}.md").read_text()
    assert text.startswith(f"# {reason}\n")
    for part in ("**It means**", "**See it**", "**Do**"):
        assert part in text
    assert f"]({reason}.md)" in (PAGES / "README.md").read_text()
