"""The command against an API server on loopback that speaks as the real one does."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import click
import pytest
import yaml
from click import testing

from gpufleet.cli import explain, main
from tests import builders_api

DECISION = {
    "time": "2030-01-01T11:57:00Z",
    "before": 1,
    "wanted": 2,
    "replicas": 2,
    "reason": "ScaledUp",
    "message": "from 1 to 2 servers: RequestRate is 19, its target 10",
}
LOOK = {"number": 4, "ageSeconds": 2.0, "error": ""}
ENTRY = {
    "namespace": "team",
    "name": "vision",
    "mode": "Active",
    "current": 2,
    "scaling": {**DECISION, "leading": "RequestRate", "aim": "", "trouble": None},
    "readings": None,
    "memory": None,
}
SUPPOSED = {
    "namespace": "team",
    "name": "vision",
    "rate": 2.0,
    "notes": [],
    "decision": {**DECISION, "wanted": 4},
}
FORBIDDEN = (403, {"kind": "Status", "message": "services is forbidden"})
PROXY = "/api/v1/namespaces/gpufleet-system/services/gpufleet:http/proxy"
OBJECT = "/apis/gpufleet.dev/v1alpha1/namespaces/team/tritonservices/vision"


def stored(**spec: Any) -> dict[str, Any]:
    scaling = {"maxReplicas": 3, "targets": [{"signal": "RequestRate", "value": 10}]}
    made = builders_api.make_service("vision", "team", **{"autoscaling": scaling, **spec})
    made["metadata"] |= {"uid": "u-1"}
    record = {"mode": "Active", "replicas": 2, "decisions": [DECISION]}
    made["status"] = {"autoscaling": record, "readyReplicas": 2, "assignment": {"replicas": 2}}
    return made


@contextlib.contextmanager
def serving(answers: dict[str, tuple[int, Any]]) -> Iterator[str]:
    """An HTTP server with these answers by path, whatever the query; 404 for the others."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            missing = (404, {"kind": "Status", "message": "not found"})
            status, body = answers.get(urllib.parse.unquote(self.path.split("?")[0]), missing)
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(
    answers: dict[str, tuple[int, Any]], folder: pathlib.Path, *args: str, namespace: str = "team"
) -> testing.Result:
    with serving(answers) as url:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [
                {"name": "c", "cluster": {"server": url}},
                {"name": "down", "cluster": {"server": "http://127.0.0.1:1"}},
            ],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}},
                {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
                {"name": "down", "context": {"cluster": "down", "user": "u"}},
            ],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        patch = pytest.MonkeyPatch()
        # The library reads the variable once, when it is imported.
        patch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        try:
            return testing.CliRunner().invoke(main.main, ["explain", *args])
        finally:
            patch.undo()


ALL = {
    OBJECT: (200, stored()),
    f"{PROXY}/decisions": (200, {"time": "", "look": LOOK, "services": [ENTRY]}),
    f"{PROXY}/what-if": (200, SUPPOSED),
}


def test_status_and_read_api_together(tmp_path: pathlib.Path) -> None:
    found = run(ALL, tmp_path, "tsvc/vision", "--what-if", "rate=2x")
    assert found.exit_code == 0, found.output
    assert "team/vision has 2 servers, 2 ready." in found.output
    assert "The signals ask for 2 servers for RequestRate." in found.output
    assert "With 2 times the load the signals would ask for 4 servers" in found.output


def test_json_has_all_of_it(tmp_path: pathlib.Path) -> None:
    found = run(ALL, tmp_path, "tsvc/vision", "--what-if", "rate=2x", "-o", "json")
    told = json.loads(found.output)
    assert (told["now"], told["whatIf"], told["unreachable"]) == (ENTRY, SUPPOSED, None)
    assert told["status"]["decisions"][0]["reason"] == "ScaledUp"


def test_status_alone_is_told_as_such(tmp_path: pathlib.Path) -> None:
    found = run({**ALL, f"{PROXY}/decisions": FORBIDDEN}, tmp_path, "tsvc/vision")
    assert found.exit_code == 0
    assert "What is seen now is not known: services is forbidden" in found.output
    assert "ScaledUp: from 1 to 2 servers" in found.output


@pytest.mark.parametrize(
    ("answers", "args", "says"),
    [
        pytest.param({}, ["tsvc/vision"], "TritonService team/vision cannot be read", id="not found"),
        pytest.param(
            {**ALL, f"{PROXY}/decisions": FORBIDDEN},
            ["tsvc/vision", "--what-if", "rate=2"],
            "answered by the operator, which was not reached",
            id="what-if without the read API",
        ),
        pytest.param(
            {**ALL, f"{PROXY}/what-if": (409, {"message": "nothing is decided yet"})},
            ["tsvc/vision", "--what-if", "rate=2"],
            "nothing is decided yet",
            id="what-if is refused",
        ),
        pytest.param(
            {**ALL, OBJECT: (200, stored(autoscaling=None))},
            ["tsvc/vision", "--what-if", "rate=2"],
            "not scaled by load",
            id="not scaled",
        ),
        pytest.param(
            {**ALL, OBJECT: (200, {"metadata": {"name": "vision"}})},
            ["tsvc/vision"],
            "another version",
            id="not ours",
        ),
        pytest.param(ALL, ["tsvc/vision", "--context", "nowhere"], "no cluster", id="no context"),
    ],
)
def test_exit_code_1(
    answers: dict[str, tuple[int, Any]], args: list[str], says: str, tmp_path: pathlib.Path
) -> None:
    found = run(answers, tmp_path, *args)
    assert found.exit_code == 1, found.output
    assert says in found.output


def test_an_api_server_that_does_not_answer(tmp_path: pathlib.Path) -> None:
    found = run({}, tmp_path, "tsvc/vision", "--context", "down")
    assert found.exit_code == 1
    assert "the API server does not answer" in found.output
    assert "Retrying" not in found.output


@pytest.mark.parametrize("args", [["-n", "team"], ["--context", "there"]])
def test_the_namespace_is_that_of_the_option_or_of_the_context(
    args: list[str], tmp_path: pathlib.Path
) -> None:
    assert run(ALL, tmp_path, "tsvc", "vision", *args, namespace="other").exit_code == 0


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("tsvc/vision",), "vision"),
        (("tsvc", "vision"), "vision"),
        (("tritonservice/vision",), "vision"),
        (("TritonServices", "vision"), "vision"),
        (("tritonservices.gpufleet.dev/vision",), "vision"),
        (("vision",), None),
        (("pod/vision",), None),
        (("tsvc/",), None),
        (("tsvc/a/b",), None),
        (("tsvc", "a/b"), None),
        (("tsvc", "a", "b"), None),
    ],
)
def test_subjects(words: tuple[str, ...], name: str | None) -> None:
    if name is None:
        with pytest.raises(click.UsageError, match="write tsvc/NAME"):
            explain.parse_subject(words)
    else:
        assert explain.parse_subject(words) == name


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        (None, None),
        ("rate=2x", 2.0),
        ("rate=0.5", 0.5),
        ("rate=0x", 0.0),
        ("rate=1000x", 1000.0),
        ("rate=1001x", "refused"),
        ("rate=-1x", "refused"),
        ("rate=nan", "refused"),
        ("2x", "refused"),
        ("load=2x", "refused"),
    ],
)
def test_rates(text: str | None, rate: Any) -> None:
    if rate == "refused":
        with pytest.raises(click.UsageError, match="write rate=2x"):
            explain.parse_rate(text)
    else:
        assert explain.parse_rate(text) == rate


@pytest.mark.parametrize(
    "args", [[], ["vision"], ["tsvc/vision", "--what-if", "2"], ["tsvc/vision", "-o", "xml"]]
)
def test_exit_code_2(args: list[str]) -> None:
    assert testing.CliRunner().invoke(main.main, ["explain", *args]).exit_code == 2
