"""Rules of the chart as Helm renders them."""

from __future__ import annotations

import copy

import pytest
import yaml

from tests.unit.charts import rendering
from tests.unit.charts.rendering import RULES, find


def read_files() -> list[rendering.Object]:
    folder = rendering.CHART / "files" / "rules"
    return [
        one for path in sorted(folder.glob("*.yaml")) for one in yaml.safe_load(path.read_text())["groups"]
    ]


def test_every_rule_of_the_files_is_there_as_it_is_written() -> None:
    groups = copy.deepcopy(find("PrometheusRule", "gpufleet", RULES)["spec"]["groups"])
    for group in groups:
        for rule in group["rules"]:
            rule.get("annotations", {}).pop("runbook_url", None)
    assert groups == read_files(), "Prometheus' own templates are not Helm's"


@pytest.mark.parametrize(
    ("values", "prefix"),
    [
        pytest.param((), "docs/runbooks/alerts/", id="the path in the repository"),
        pytest.param(("prometheusRule.runbooks=https://wiki/gpu",), "https://wiki/gpu/", id="published"),
    ],
)
def test_an_alert_names_its_runbook(values: tuple[str, ...], prefix: str) -> None:
    team = "prometheusRule.alertLabels.team=ml"
    for group in find("PrometheusRule", "gpufleet", RULES, team, *values)["spec"]["groups"]:
        for rule in (one for one in group["rules"] if "alert" in one):
            assert rule["annotations"]["runbook_url"] == f"{prefix}{rule['alert']}.md"
            assert rule["labels"].keys() == {"severity", "team"}


def test_rules_carry_the_labels_that_a_prometheus_selects_by() -> None:
    rule = find("PrometheusRule", "gpufleet", RULES, "prometheusRule.additionalLabels.release=stack")
    assert rule["metadata"]["labels"]["release"] == "stack"
