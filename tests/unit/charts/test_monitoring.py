"""Rules and boards of the chart as Helm renders them."""

from __future__ import annotations

import copy
import json

import pytest
import yaml

from tests.unit.charts import rendering
from tests.unit.charts.rendering import BOARDS, RULES, find, of_kind


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


def test_each_board_is_a_config_map_that_the_sidecar_finds() -> None:
    folder = "dashboards.annotations.grafana_folder=GPUs"
    for path in (rendering.CHART / "files" / "dashboards").glob("*.json"):
        found = find("ConfigMap", f"gpufleet-dashboard-{path.stem}", BOARDS, folder)
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"] == {"grafana_folder": "GPUs"}
        [text] = found["data"].values()
        assert json.loads(text) == json.loads(path.read_text())


def test_names_of_boards_are_told_apart_in_one_folder_of_a_sidecar() -> None:
    names = [name for one in of_kind("ConfigMap", BOARDS) for name in one["data"]]
    assert len(names) == len(set(names))
    assert all(name.startswith("gpufleet-") for name in names)
