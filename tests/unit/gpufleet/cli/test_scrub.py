from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.cli import scrub

SECRET = "hunter2-Tr0ub4dor"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"env": [{"name": "A", "value": SECRET}]}, id="environment"),
        pytest.param({"env": {"A": SECRET}}, id="environment as a map"),
        pytest.param({"env": SECRET}, id="environment of another form"),
        pytest.param({"env": [SECRET]}, id="environment as a list"),
        pytest.param(
            {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": SECRET}}, id="last applied"
        ),
        pytest.param({"annotations": {"team.example/x": SECRET}}, id="others' annotations"),
        pytest.param({"kind": "Secret", "data": {"x": SECRET}}, id="a Secret"),
        pytest.param({"items": [{"kind": "Secret", "stringData": {"x": SECRET}}]}, id="a Secret of a list"),
        pytest.param({"kind": "ConfigMap", "data": {"x": SECRET}}, id="a ConfigMap"),
        pytest.param({"managedFields": [{"x": SECRET}]}, id="managed fields"),
        pytest.param({"parameters": {"hf_token": SECRET}}, id="a parameter by its name"),
        pytest.param({"apiKey": SECRET}, id="a key by its name"),
        pytest.param({"args": ["--token", SECRET]}, id="after a flag"),
        pytest.param({"args": [f"--api-key={SECRET}"]}, id="within a flag"),
        pytest.param({"command": ["sh", "-c", f"run --password {SECRET} now"]}, id="within a command line"),
        pytest.param({"command": ["sh", "-c", f"WANDB_API_KEY='{SECRET}' run"]}, id="before a command"),
        pytest.param({"image": f"https://user:{SECRET}@host/x"}, id="of a URL"),
        pytest.param({"message": f"Authorization: Bearer {SECRET}"}, id="a bearer token"),
        pytest.param({"message": f"eyJhbGciOiJSUzI1NiJ9.{SECRET}.{SECRET}"}, id="a JWT"),
        pytest.param({"m": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"}, id="PEM"),
        pytest.param({"message": f'"password": "{SECRET}"'}, id="JSON in a text"),
    ],
)  # fmt: skip
def test_a_planted_secret_is_gone(value: Any) -> None:
    assert SECRET not in json.dumps(scrub.scrub(value, set()))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "n"}}}]}, id="reference"),
        pytest.param({"annotations": {"gpufleet.dev/devices": "{}", "nvidia.com/x": "y"}}, id="own words"),
        pytest.param({"data": {"x": "y"}, "kind": "Other"}, id="data of others"),
        pytest.param({"message": "it waits for 8 GPUs in https://host/path"}, id="a message"),
        pytest.param({"args": ["--tokens-per-batch", "8"], "number": 8, "none": None}, id="others"),
    ],
)  # fmt: skip
def test_what_helps_stays(value: Any) -> None:
    assert scrub.scrub(value, set()) == value


@pytest.mark.parametrize(
    ("env", "found"),
    [
        pytest.param({"name": "HF_TOKEN", "value": "abcdef"}, {"abcdef"}, id="by its name"),
        pytest.param({"name": "A", "value": SECRET}, {SECRET}, id="no plain word"),
        pytest.param({"name": "A", "value": "production"}, set(), id="a plain word"),
        pytest.param({"name": "A", "value": "1048576"}, set(), id="a number"),
        pytest.param({"name": "GPUFLEET_IMAGE", "value": "gpufleet:0.1.0"}, set(), id="the chart's own"),
    ],
)
def test_what_is_looked_for_elsewhere(env: dict[str, str], found: set[str]) -> None:
    told: set[str] = set()
    assert scrub.scrub({"env": [env]}, told) == {"env": [{"name": env["name"], "value": scrub.REMOVED}]}
    assert told == found


def test_values_are_forgotten_wherever_they_stand() -> None:
    forget = scrub.forgetting({SECRET, 'quo"ted-1', "short", "line-one\nline-two"})
    assert forget({"a": [f"x {SECRET} y", 7, "short"]}) == {"a": [f"x {scrub.REMOVED} y", 7, "short"]}
    assert forget('{"m": "quo\\"ted-1"}') == f'{{"m": "{scrub.REMOVED}"}}'
    assert forget("it said line-two") == f"it said {scrub.REMOVED}"


def test_nothing_to_forget_changes_nothing() -> None:
    assert scrub.forgetting(())({"a": "b"}) == {"a": "b"}


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
KEYS = st.sampled_from(["env", "annotations", "data", "kind", "name", "value", "token", "x"]) | st.text(
    max_size=5
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(JSON)
def test_any_answer_can_be_scrubbed_and_twice_is_once(value: Any) -> None:
    once = scrub.scrub(value, set())
    json.dumps(once)
    assert scrub.scrub(once, set()) == once


@given(
    st.text(alphabet="abcXYZ0189+/=_-", min_size=8, max_size=40).filter(lambda text: not text.startswith("-"))
)
def test_no_value_of_an_environment_is_left(value: str) -> None:
    wire = {"spec": {"template": {"env": [{"name": "A", "value": value}]}}}
    assert value not in json.dumps(scrub.scrub(wire, set())).replace(scrub.REMOVED, "")
