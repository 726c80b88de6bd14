"""Every query of every panel, under both Prometheis, on what a fleet at work told them."""

from __future__ import annotations

import json
import math
import pathlib
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gpufleet_sandbox import binaries
from tests.integration.prometheus import alerting, moving, servers
from tools import dashboards
from tools.dashboards import board as boards

PROGRAMS = {"2": "prometheus", "3": "prometheus-3"}
RANGE_S = 20
PANELS = [
    pytest.param(board, panel, id=f"{board.name}: {panel.title}")
    for board in dashboards.BOARDS
    for panel in board.panels()
]
CHOICES = [
    pytest.param(board, choice, id=f"{board.name}: {choice.name}")
    for board in dashboards.BOARDS
    for choice in board.choices
    if isinstance(choice, boards.Choice)
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Both Prometheis, once the slowest rules have something to say."""
    pages = moving.build_pages()
    rules = yaml.safe_dump({"groups": alerting.load_groups()})
    with servers.Exporter({name: page for name, (page, _) in pages.items()}).serve() as exporter:
        jobs = [
            servers.build_job(
                "pods", exporter, [{"page": name, **labels} for name, (_, labels) in pages.items()]
            )
        ]
        found, running = {}, []
        try:
            for version, name in PROGRAMS.items():
                folder = tmp_path_factory.mktemp(f"prometheus-{version}")
                running.append(servers.run(pathlib.Path(binaries.ensure(name)), jobs, rules, folder))
                found[version] = running[-1].__enter__()
            for url in found.values():
                servers.wait_for("samples enough", lambda url=url: is_warm(url), 180)
            yield found
        finally:
            for one in reversed(running):
                one.__exit__(None, None, None)


def is_warm(url: str) -> bool:
    """The subquery of a day has one step a minute; the longest chain of records ends in this one."""
    minute = "sum_over_time(namespace:gpufleet_accelerators:sum[1d:1m])"
    chain = f"count_over_time(fleet:triton_queue_seconds:mean5m[1m]) > {RANGE_S}"
    return bool(ask(url, "query", query=f"{chain} and on () {minute}"))


def ask(url: str, kind: str, **parameters: Any) -> list[dict[str, Any]]:
    """The result of a query. Raises urllib.error.HTTPError where Prometheus refuses it."""
    with urllib.request.urlopen(f"{url}/api/v1/{kind}?{urllib.parse.urlencode(parameters)}") as response:
        answer = json.load(response)
    assert not answer.get("warnings"), answer
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def show(url: str, panel: boards.Panel, expr: str) -> list[dict[str, Any]]:
    """What Grafana would ask for: the last value for bars, a range for everything else."""
    if panel.kind == "bars":
        return [{**one, "values": [one["value"]]} for one in ask(url, "query", query=expr)]
    now_s = time.time()
    return ask(url, "query_range", query=expr, start=now_s - RANGE_S, end=now_s, step=5)


@pytest.mark.parametrize("version", PROGRAMS)
@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_shows_something(
    board: boards.Board, panel: boards.Panel, version: str, urls: dict[str, str]
) -> None:
    for query in panel.queries:
        found = show(urls[version], panel, board.fill(query.expr))
        assert found, query.expr
        values = [float(value) for one in found for _, value in one["values"]]
        assert all(map(math.isfinite, values)), query.expr
        assert all(value >= 0 for value in values), "its axis begins at 0"
        for label in re.findall(r"{{(\w+)}}", query.legend):
            assert any(label in one["metric"] for one in found), f"no series has {label}: {query.legend}"


@pytest.mark.parametrize(("board", "choice"), CHOICES)
def test_a_menu_offers_something(board: boards.Board, choice: boards.Choice, urls: dict[str, str]) -> None:
    found = ask(urls["2"], "query", query=board.fill(choice.series))
    assert {one["metric"][choice.label] for one in found}


def test_the_recorded_rules_are_without_fault(urls: dict[str, str]) -> None:
    for url in urls.values():
        with urllib.request.urlopen(f"{url}/api/v1/rules") as response:
            groups = json.load(response)["data"]["groups"]
        broken = [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"]
        assert groups
        assert not broken
