from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.apply import drift
from gpufleet.state import names

SCALARS = st.one_of(st.integers(-5, 5), st.text(max_size=4), st.booleans())
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="defaults of the server do not matter"),
        pytest.param({"a": 2}, {"a": 1}, False, id="changed"),
        pytest.param({}, {"a": 1}, False, id="removed"),
        pytest.param({"a": [{"n": 1, "d": 0}]}, {"a": [{"n": 1}]}, True, id="defaults within list items"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, False, id="an item was added by hand"),
        pytest.param({"a": [2, 1]}, {"a": [1, 2]}, False, id="order counts"),
        pytest.param({"a": "ab"}, {"a": ["a", "b"]}, False, id="a text is no list"),
        pytest.param({"a": 1}, {"a": {"b": 1}}, False, id="a number is no map"),
        pytest.param(
            {"selector": {"a": "b", "x": "y"}}, {"selector": {"a": "b"}}, False, id="a narrower selector"
        ),
    ],
)
def test_contains(live: Any, wanted: Any, expected: bool) -> None:
    assert drift.contains(live, wanted) is expected


@given(DOCUMENTS)
def test_everything_contains_itself(document: Any) -> None:
    assert drift.contains(copy.deepcopy(document), document)


@given(st.dictionaries(st.text(max_size=3), DOCUMENTS, min_size=1, max_size=4))
def test_a_removed_field_is_always_noticed(document: dict[str, Any]) -> None:
    for key in document:
        assert not drift.contains({k: v for k, v in document.items() if k != key}, document)


def make_live(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    stamp = {names.APPLIED_HASH: drift.compute_hash(manifest)}
    metadata = {**manifest["metadata"], "uid": "u", "annotations": stamp}
    return {**manifest, "metadata": metadata, "status": {}, **changes}


MANIFEST = {"kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "b"}}, "data": {"k": "v"}}


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        pytest.param(make_live(MANIFEST), True, id="as applied"),
        pytest.param(make_live(MANIFEST, data={"k": "edited"}), False, id="edited by hand"),
        pytest.param(
            make_live({**MANIFEST, "data": {"k": "v", "old": "1"}}), False, id="applied with a field more"
        ),
        pytest.param({**MANIFEST}, False, id="never applied by us"),
    ],
)
def test_is_applied(live: dict[str, Any], expected: bool) -> None:
    assert drift.is_applied(MANIFEST, live) is expected
