from __future__ import annotations

import datetime
import json
import pathlib
from typing import Any

import pytest
import yaml
from click import testing

from gpufleet.cli import health, main, sources, status, tables
from tests import builders, builders_api
from tests.builders import NOW
from tests.unit.gpufleet.cli import wires
from tests.unit.gpufleet.cli.wires import PROXY

GROUP = "/apis/gpufleet.dev/v1alpha1"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/gpufleet-system/leases/gpufleet-operator"
BROKEN = {"conditions": [wires.condition("Ready", "False", "ContainerCrashing", "it ends\nat once")]}
SERVICE = {**builders_api.make_service("vision", "team"), "status": BROKEN}
LISTS = {
    f"{GROUP}/gpupools": {"items": []},
    f"{GROUP}/tritonservices": {"items": [SERVICE]},
    f"{GROUP}/trainingjobs": {"items": []},
}


def lease(age_s: float, holder: str | None = "gpufleet-1") -> dict[str, Any]:
    at = (NOW - datetime.timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z")
    return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": at}}


def ask(answers: dict[str, Any], namespace: str | None = None) -> status.Report:
    return status.find(sources.Sources(wires.Answers(answers).get), namespace, NOW)


def answering(taken: Any, queue: list[Any] | None = None) -> dict[str, Any]:
    return {
        f"{PROXY}/snapshot": wires.encode(taken),
        f"{PROXY}/about": wires.ABOUT,
        f"{PROXY}/queue": {"jobs": queue or []},
    }


def say(report: status.Report) -> str:
    return "\n".join(status.tell(report, NOW, None))


def test_a_fleet_that_is_well() -> None:
    taken = builders.make_snapshot([builders.make_node()], pools=[builders.make_pool()])
    report = ask(answering(taken))
    assert health.judge(report.findings)[0] == 0
    said = say(report)
    assert said.startswith("All is well.")
    assert "gpufleet 0.1.0, led by gpufleet-1; Prometheus asked 4 s ago." in said
    assert "a100   nvidia.com/gpu   8       0      8      0" in said


def test_what_is_wrong_comes_first_on_one_line_each() -> None:
    taken = builders.make_snapshot(
        services=[builders.make_service("vision", "team", status=BROKEN), builders.make_service("other", "b")]
    )
    report = ask(answering(taken), "team")
    assert (report.services, health.judge(report.findings)[0]) == (1, 1)
    lines = say(report).split("\n")
    assert lines[0] == "1 thing is wrong."
    assert lines[4] == "TritonService/team/vision   ContainerCrashing   1h      it ends"


@pytest.mark.parametrize(
    ("answers", "code", "reasons"),
    [
        pytest.param({}, 2, ["NotReached", "NotRead", "NotRead", "NotRead"], id="nothing may be read"),
        pytest.param(
            {**LISTS, f"{GROUP}/tritonservices": {"items": []}, LEASE: lease(3)}, 2, ["NotReached"],
            id="somebody leads",
        ),
        pytest.param(
            {**LISTS, LEASE: lease(300)}, 1, ["NoLeader", "ContainerCrashing"], id="the leader is gone"
        ),
        pytest.param(
            {**LISTS, LEASE: lease(3, None)}, 1, ["NoLeader", "ContainerCrashing"], id="nobody leads"
        ),
        pytest.param(LISTS, 1, ["NotReached", "ContainerCrashing"], id="objects tell without the operator"),
        pytest.param(
            {**LISTS, f"{PROXY}/snapshot": b"{", f"{GROUP}/tritonservices": b"[]"}, 2,
            ["NotReached", "NotRead"], id="answers that are none",
        ),
    ],
)  # fmt: skip
def test_without_the_operator(answers: dict[str, Any], code: int, reasons: list[str]) -> None:
    report = ask(answers)
    assert [one.reason for one in report.findings] == reasons
    assert health.judge(report.findings)[0] == code
    assert "The operator was not asked." in say(report)


def test_an_api_server_that_is_down_is_told() -> None:
    report = status.find(sources.Sources(wires.silent), None, NOW)
    assert {one.level for one in report.findings} == {"unknown"}
    assert "the API server does not answer" in say(report)
    assert "0 services" not in say(report)


def test_many_findings_are_counted() -> None:
    services = [builders.make_service(f"s{number:02}", "team", status=BROKEN) for number in range(50)]
    said = say(ask(answering(builders.make_snapshot(services=services))))
    assert "WRONG (50)" in said
    assert "and 10 more: -o json tells all" in said


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_machines_get_all_of_it(output: str, load: Any) -> None:
    wire = load(status._dump(ask(LISTS).wire(), output))
    assert (wire["exitCode"], wire["verdict"]) == (1, "1 thing is wrong.")
    assert wire["findings"][1]["name"] == "team/vision"


def test_no_cluster_is_not_known_rather_than_wrong(tmp_path: pathlib.Path) -> None:
    found = testing.CliRunner(env={"KUBECONFIG": str(tmp_path / "none")}).invoke(
        main.main, ["status", "--context", "nowhere"]
    )
    assert found.exit_code == 2
    assert "no cluster" in found.output


@pytest.mark.parametrize("coloured", [True, False])
def test_colours(coloured: bool) -> None:
    said = "\n".join(status.tell(ask(LISTS), NOW, None, coloured=coloured))
    assert ("\x1b[" in said) is coloured


@pytest.mark.parametrize(
    ("is_tty", "env", "coloured"),
    [
        pytest.param(True, {}, True, id="a terminal"),
        pytest.param(False, {}, False, id="a pipe"),
        pytest.param(True, {"NO_COLOR": "1"}, False, id="refused"),
        pytest.param(True, {"TERM": "dumb"}, False, id="a terminal without"),
    ],
)
def test_who_sees_colours(
    is_tty: bool, env: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_tty)
    assert tables.is_coloured() is coloured


def test_lines_fit_the_terminal() -> None:
    lines = list(tables.columns(("A", "B"), [("x" * 10, "y" * 10)], 12))
    assert lines == ["A            B"[:11] + "…", "x" * 10 + " …"]
