from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.triton import change

Effect = change.Effect


def listed(*models: dict[str, Any]) -> dict[str, Any]:
    return {"models": list(models)}


def entry(**config: Any) -> dict[str, Any]:
    return {"name": "m", "config": config}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(listed(), listed(), [], id="nothing"),
        pytest.param(listed(entry(max_batch_size=4)), listed(entry(max_batch_size=4)), [], id="the same"),
        pytest.param(listed(), listed(entry()), [("m", Effect.LOAD, "")], id="a new model"),
        pytest.param(listed(entry()), listed(), [("m", Effect.UNLOAD, "")], id="a model removed"),
        pytest.param(
            listed(entry(instance_group=[{"count": 1}])),
            listed(entry(instance_group=[{"count": 2}])),
            [("m", Effect.LIVE, "instance_group")],
            id="more instances",
        ),
        pytest.param(
            listed(entry()),
            listed(entry(version_policy={"all": {}})),
            [("m", Effect.LIVE, "version_policy")],
            id="other versions",
        ),
        pytest.param(
            listed(entry(max_batch_size=4, instance_group=[])),
            listed(entry(max_batch_size=8)),
            [("m", Effect.LIVE, "instance_group"), ("m", Effect.RELOAD, "max_batch_size")],
            id="both",
        ),
        pytest.param(
            listed({"name": "m"}),
            listed(entry()),
            [("m", Effect.RELOAD, "config")],
            id="from the repository's",
        ),
        pytest.param(listed({"name": "m"}), listed({"name": "m"}), [], id="still the repository's"),
    ],
)
def test_compare(old: dict[str, Any], new: dict[str, Any], expected: list[tuple[str, Effect, str]]) -> None:
    assert [(one.model, one.effect, one.field) for one in change.compare(old, new)] == expected
