"""`gpufleet mig plan` for a cluster: what the operator answers, and what is said where nobody does."""

from __future__ import annotations

import http.server
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from click import testing

from gpufleet.cli import main
from gpufleet.handlers import layouts
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b
from tests.unit.gpufleet.decide.mig.repartition import test_rounds as looks

SEVEN = looks.SEVEN


class Operator(http.server.BaseHTTPRequestHandler):
    """Answers /mig-plan with what it is told to."""

    status: int = 200
    body: Any = None

    def do_GET(self) -> None:
        assert self.path == "/mig-plan?"
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps(self.body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Operator) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def run(*argv: str, **env: str) -> testing.Result:
    return testing.CliRunner(env=env).invoke(main.main, ["mig", "plan", *argv])


def answer(monkeypatch: pytest.MonkeyPatch, body: Any, status: int = 200) -> None:
    monkeypatch.setattr(Operator, "body", body)
    monkeypatch.setattr(Operator, "status", status)


def test_a_plan_node_by_node(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [b.make_node(SEVEN, None), looks.flying(name="f"), b.make_node(SEVEN, name="z", ready=False)]
    pool = looks.make_pool(act="Advisory", reservedWholeGPUs=1)
    found = looks.look(nodes, [looks.waits(count=3)], pool)
    answer(monkeypatch, layouts.describe(found, b.NOW))
    assert run("--dry-run", "--server", server).output.splitlines() == [
        "Dry run, planned at 2030-01-01T12:00:00+00:00: nothing is changed.",
        "GPUPool h100, Dynamic, Advisory",
        "Repartition: serves 3 of 3 weighted demand, 3 more than without, at most 3 could be; changes 1 GPUs "
        "on 1 nodes, moves 0 busy slices",
        "  3g.40gb          weight 3      1 of 1",
        "f: Pending: node f: waits for mig-manager (pending)",
        "  GPU 0  7 × 1g.10gb → 2 × 3g.40gb",
        "node-a: cost 0.117, Advisory: spec.mig.act is Advisory: the plan is told, and nobody carries it out",
        "  GPU 0  7 × 1g.10gb → 2 × 3g.40gb",
        "         makes 2 × 3g.40gb, destroys 7 idle",
        "left alone: 1 node, such as z: NodeNotReady",
    ]
    document = json.loads(run("-o", "json", "--server", server).output)
    assert document["dryRun"] is True
    assert document["pools"][0]["nodes"][1]["gpus"][0]["after"] == {b.THREE: 2}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(
            {"at": "now", "pools": [], "contradictions": []}, "No GPUPool has a MIG mode", id="none"
        ),
        pytest.param(
            {"at": "now", "pools": [], "contradictions": ["node n is selected by x and y"]},
            "left alone: node n is selected by x and y",
            id="a contradiction",
        ),
    ],
)
def test_nothing_to_plan(server: str, monkeypatch: pytest.MonkeyPatch, body: Any, said: str) -> None:
    answer(monkeypatch, body)
    assert said in run("--server", server).output


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        pytest.param(503, {"message": "ask the leader: x", "leader": "x"}, "is no leader", id="a standby"),
        pytest.param(404, [], "is the operator an older one?", id="an older operator"),
        pytest.param(409, {"message": "not now"}, "the operator makes no plan: not now", id="a refusal"),
        pytest.param(
            403,
            {"kind": "Status", "message": "services is forbidden"},
            "services is forbidden (bind the Role gpufleet-snapshot",
            id="no right",
        ),
    ],
)
def test_who_does_not_answer_is_told_in_a_sentence(
    server: str, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, said: str
) -> None:
    answer(monkeypatch, body, status)
    result = run("--server", server)
    assert result.exit_code == 1
    assert said in result.output
    assert len(result.output.splitlines()) == 1


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def test_without_a_cluster_the_way_without_one_is_named(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "config"
    config.write_text(KUBECONFIG)
    for argv, said in (
        (["--server", "http://127.0.0.1:1"], "Connection refused>. Without it: --snapshot FILE"),
        (["--context", "nowhere"], "no cluster: "),
    ):
        result = run(*argv, KUBECONFIG=str(config))
        assert result.exit_code == 1
        assert said in result.output
        assert "--snapshot FILE" in result.output


@pytest.mark.parametrize("option", [["--exact"], ["--catalogue", __file__]])
def test_what_only_a_file_can_have_is_refused(option: list[str]) -> None:
    result = run(*option)
    assert result.exit_code == 2
    assert "need --snapshot" in result.output
