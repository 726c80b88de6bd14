"""Quantities, and the wire form that every type shares."""

from __future__ import annotations

import hypothesis
import pydantic
import pytest
from hypothesis import strategies as st

from gpufleet.api import accelerator, meta


@pytest.mark.parametrize(
    ("quantity", "wanted"),
    [
        pytest.param("512", 512, id="bytes"),
        pytest.param("1k", 1000, id="decimal"),
        pytest.param("16Gi", 16 * 2**30, id="binary"),
        pytest.param("0.5Mi", 2**19, id="fraction"),
        pytest.param("2T", 2 * 10**12, id="tera"),
    ],
)
def test_quantity_to_bytes(quantity: str, wanted: int) -> None:
    assert meta.quantity_to_bytes(quantity) == wanted


@pytest.mark.parametrize("quantity", ["", "100m", "16GiB", "Gi", "1Ei"])
def test_quantity_to_bytes_refuses(quantity: str) -> None:
    with pytest.raises(ValueError):
        meta.quantity_to_bytes(quantity)


@hypothesis.given(st.from_regex(r"[1-9][0-9]{0,9}(\.[0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?", fullmatch=True))
def test_every_memory_quantity_has_bytes(quantity: str) -> None:
    assert pydantic.TypeAdapter(meta.MemoryQuantity).validate_python(quantity) == quantity
    assert meta.quantity_to_bytes(quantity) >= 1


def test_the_wire_form_has_camel_case_and_no_unset_fields() -> None:
    block = accelerator.Accelerator(device_class="h100", mig_profile="1g.10gb")
    assert block.to_wire() == {"class": "h100", "migProfile": "1g.10gb"}
