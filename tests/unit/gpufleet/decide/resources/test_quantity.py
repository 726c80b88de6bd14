from __future__ import annotations

import fractions

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import meta
from gpufleet.decide.resources import quantity


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        pytest.param("1", "1", id="as it is"),
        pytest.param("1000m", "1", id="a whole number of milli-units"),
        pytest.param("1500m", "1500m", id="a fraction stays in milli-units"),
        pytest.param("0.5", "500m", id="no decimal point"),
        pytest.param("0.0001", "1m", id="finer than milli is rounded up"),
        pytest.param("1000", "1k", id="thousands"),
        pytest.param("1500k", "1500k", id="no fraction of a larger suffix"),
        pytest.param("1000M", "1G", id="the largest decimal suffix"),
        pytest.param("1024Mi", "1Gi", id="the largest binary suffix"),
        pytest.param("1536Mi", "1536Mi", id="no fraction of a larger binary suffix"),
        pytest.param("0.5Gi", "512Mi", id="half a gibibyte"),
        pytest.param("0.1Gi", "107374182400m", id="a fraction of a byte is told in decimal"),
        pytest.param("0.5Ki", "512", id="below 1024 decimal reads better"),
        pytest.param("0", "0", id="nothing"),
        pytest.param("0Mi", "0", id="nothing of a unit"),
    ],
)
def test_canonical(given_: str, stored: str) -> None:
    assert quantity.canonical(given_) == stored


@pytest.mark.parametrize("text", ["", "x", "1Xi", "Gi", "1 Gi", "1mi", "-1", "1e3"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError):
        quantity.canonical(text)


NUMBERS = st.one_of(
    st.integers(0, 10**6).map(str), st.decimals(0, 10**4, places=3).map(lambda number: f"{number:f}")
)


@given(NUMBERS, st.sampled_from(["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]))
def test_canonical_is_stable_and_the_same_amount(number: str, suffix: str) -> None:
    stored = quantity.canonical(number + suffix)
    assert quantity.canonical(stored) == stored
    if suffix != "m" and fractions.Fraction(number).denominator == 1:
        assert meta.quantity_to_bytes(stored.replace("E", "000000T").replace("P", "000T")) == int(
            fractions.Fraction(number)
        ) * meta.quantity_to_bytes(f"1{suffix}")
