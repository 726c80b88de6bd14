from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.mig import catalogue
from gpufleet.decide.training import precision
from tests import builders


def find(wanted: str | None, block: dict[str, Any] | None, *products: str) -> str | None:
    spec = {"precision": wanted, "accelerator": block}
    job = builders.make_job(**{key: value for key, value in spec.items() if value is not None})
    assigned = accelerators.AssignedAccelerator(resource="nvidia.com/gpu", count=1, products=list(products))
    return precision.find_warning(job, assigned if products else None)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        pytest.param(find(None, {"class": "h100"}), None, id="none wanted"),
        pytest.param(find("FP8", None), None, id="no device"),
        pytest.param(find("FP8", {"count": 8}), None, id="any device"),
        pytest.param(find("FP8", {"class": "h100"}), None, id="Hopper has FP8"),
        pytest.param(find("FP4", {"class": "b200"}), None, id="Blackwell has FP4"),
        pytest.param(find("FP4", {"class": "h100"}), ["FP4", "Hopper", "FP8"], id="Hopper lacks FP4"),
        pytest.param(find("FP8", {}, builders.A100), ["FP8", "Ampere", "BF16"], id="where it landed"),
        pytest.param(
            find("FP8", {"class": "h100"}, builders.H100), None, id="the product goes before the class"
        ),
        pytest.param(find("BF16", {"class": "t4"}), ["Turing", "FP16"], id="Turing lacks BF16"),
        pytest.param(find("FP8", {}, "Some-New-Device"), None, id="a device that nobody described"),
        pytest.param(
            find("FP8", {}, builders.A100, builders.H100),
            ["Ampere", "BF16"],
            id="one of the products lacks it",
        ),
    ],
)
def test_a_format_that_devices_lack_is_warned_of(found: str | None, words: list[str] | None) -> None:
    assert (found is None) == (words is None)
    assert [word for word in words or () if word not in (found or "")] == []


def test_every_architecture_of_the_catalogue_is_judged() -> None:
    assert {model.architecture for model in catalogue.default().models} == set(precision.formats())
