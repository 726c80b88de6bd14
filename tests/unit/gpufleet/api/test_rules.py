"""Rules as the API server reads them."""

from __future__ import annotations

import pytest

from gpufleet.api import rules


def test_a_rule_says_only_what_it_has() -> None:
    assert rules.Rule("self > 0", "too small").to_wire() == {"rule": "self > 0", "message": "too small"}


def test_a_rule_in_full() -> None:
    rule = rules.Rule("self.a > 0", "too small", says="'too ' + 'small'", at=".a", reason="FieldValueInvalid")
    assert rules.validated(rule) == {
        "x-kubernetes-validations": [
            {
                "rule": "self.a > 0",
                "message": "too small",
                "messageExpression": "'too ' + 'small'",
                "fieldPath": ".a",
                "reason": "FieldValueInvalid",
            }
        ]
    }


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        pytest.param(
            rules.exactly_one("volume", "a", "b"),
            "[has(self.a), has(self.b)].filter(set, set).size() == 1",
            id="exactly-one",
        ),
        pytest.param(
            rules.at_most_one("need", "a", "b"),
            "[has(self.a), has(self.b)].filter(set, set).size() <= 1",
            id="at-most-one",
        ),
        pytest.param(
            rules.immutable("a"),
            "has(self.a) == has(oldSelf.a) && (!has(self.a) || self.a == oldSelf.a)",
            id="immutable",
        ),
    ],
)
def test_rules_over_members(rule: rules.Rule, wanted: str) -> None:
    assert rule.rule == wanted


def test_list_map() -> None:
    assert rules.list_map("name") == {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
