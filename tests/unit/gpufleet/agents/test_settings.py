"""The agent's settings from its environment."""

from __future__ import annotations

import pathlib

import pytest

from gpufleet import settings as operator_settings
from gpufleet.agents.model import settings
from gpufleet.decide.serving import pod
from tests import builders


@pytest.mark.parametrize(
    ("name", "text", "field", "expected"),
    [
        pytest.param("DRAIN_S", "2.5", "drain_s", 2.5, id="seconds"),
        pytest.param("PORT", "81", "port", 81, id="a number"),
        pytest.param("POD", "vision-0", "pod", "vision-0", id="a text"),
        pytest.param("MODELS", "/m", "models", pathlib.Path("/m"), id="a path"),
    ],
)
def test_what_the_environment_says(name: str, text: str, field: str, expected: object) -> None:
    found = settings.read({f"GPUFLEET_AGENT_{name}": text, "GPUFLEET_OTHER": "x"})
    assert getattr(found, field) == expected
    assert settings.read({}) == settings.AgentSettings()


@pytest.mark.parametrize(
    ("name", "text"),
    [pytest.param("PORT", "http", id="no number"), pytest.param("DRAIN_S", "-1", id="less than no time")],
)
def test_what_cannot_be_meant_names_the_variable(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"GPUFLEET_AGENT_{name}"):
        settings.read({f"GPUFLEET_AGENT_{name}": text})


def test_all_that_the_pod_template_sets_is_known() -> None:
    built = pod.build_template(builders.make_service(), None, None, operator_settings.Settings())
    names = {one["name"] for one in built["spec"]["containers"][0]["env"]}
    fields = {f"{settings.PREFIX}{field.upper()}" for field in settings.AgentSettings.__dataclass_fields__}
    assert names <= fields
