"""What one object can know about itself: CEL rules and list keys, as extensions of its JSON schema.

The API server enforces them, so the operator never meets an object that breaks one. They are declared
beside the fields they speak of and carried into the CRDs by `schema`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

Extension = dict[str, Any]

VALIDATIONS = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
INT_OR_STRING = "x-kubernetes-int-or-string"


@dataclasses.dataclass(frozen=True)
class Rule:
    """One CEL rule over `self`; `says` is CEL too and names the offending value, `message` stands in for it.

    Numbers enter `says` by format(): the server's cost estimate takes string() of a number for unbounded.

    `at` is the field to report, relative to the place of the rule, such as `.replicas`. The server's reasons
    FieldValueDuplicate and FieldValueRequired are left out because they hide the message.
    """

    rule: str
    message: str
    says: str | None = None
    at: str | None = None
    reason: Literal["FieldValueInvalid", "FieldValueForbidden"] | None = None

    def to_wire(self) -> Extension:
        """The rule as the API server reads it."""
        wire = {
            "rule": self.rule,
            "message": self.message,
            "messageExpression": self.says,
            "fieldPath": self.at,
            "reason": self.reason,
        }
        return {key: value for key, value in wire.items() if value is not None}


def validated(*rules: Rule) -> Extension:
    """Rules for a type (in model_config) or for a field (in json_schema_extra)."""
    return {VALIDATIONS: [rule.to_wire() for rule in rules]}


def list_map(*keys: str) -> Extension:
    """A list of objects that these fields tell apart: no two alike, and server-side apply merges by them."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: list(keys)}


def _count_set(members: Sequence[str]) -> str:
    return "[" + ", ".join(f"has(self.{member})" for member in members) + "].filter(set, set).size()"


def exactly_one(field: str, *members: str) -> Rule:
    """One member must be set, and only one; `field` is the object's name in the message."""
    wanted = f"{field} needs exactly one of {', '.join(members)}"
    count = _count_set(members)
    return Rule(
        rule=f"{count} == 1",
        message=wanted,
        says=f"{count} == 0 ? '{wanted}: set one' : '{wanted}: remove all but one'",
    )


def at_most_one(field: str, *members: str) -> Rule:
    """No two of the members may be set together."""
    return Rule(
        rule=f"{_count_set(members)} <= 1",
        message=f"{field} takes at most one of {', '.join(members)}: remove all but one",
    )


def immutable(field: str) -> Rule:
    """The field may not be set, unset or changed after creation."""
    return Rule(
        rule=f"has(self.{field}) == has(oldSelf.{field}) "
        f"&& (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message=f"{field} cannot change once the object exists: delete it and create a new one",
        at=f".{field}",
        reason="FieldValueForbidden",
    )


def name_of_children(kind: str, longest: int) -> Rule:
    """metadata.name must be a Service's name and leave room for what its children's names append."""
    wanted = (
        f"a {kind} starts with a letter, holds only a-z, 0-9 and -, and has at most {longest} characters, "
        "because its Services and Pods are named after it: choose another name"
    )
    return Rule(
        rule=f"self.metadata.name.size() <= {longest} "
        "&& self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message=f"metadata.name of {wanted}",
        says=f"'metadata.name ' + self.metadata.name + ' does not fit: the name of {wanted}'",
    )


def name_in_labels(kind: str, longest: int) -> Rule:
    """metadata.name must fit into a label value."""
    wanted = f"a {kind} has at most {longest} characters, because labels carry it: choose a shorter name"
    return Rule(
        rule=f"self.metadata.name.size() <= {longest}",
        message=f"metadata.name of {wanted}",
        says=f"'metadata.name ' + self.metadata.name + ' does not fit: the name of {wanted}'",
    )
