"""The way to the operator that leads, through an API server that picks any of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gpufleet.cli import reach

ROOT = "/api/v1/namespaces/gpufleet-system"
QUERY = {"namespace": "team", "name": "vision"}
ASKED = "/decisions?namespace=team&name=vision"
SERVICE = f"{ROOT}/services/gpufleet:http/proxy{ASKED}"
LEADER = f"{ROOT}/pods/gpufleet-1:8080/proxy{ASKED}"

OK = (200, {"services": []})
STANDBY = (503, {"message": "ask the leader: gpufleet-1", "leader": "gpufleet-1"})
NOBODY = (503, {"message": "no leader is known yet", "leader": ""})
FORBIDDEN = (403, {"kind": "Status", "message": "pods is forbidden"})
NO_SERVICE = (404, {"kind": "Status", "message": 'services "gpufleet" not found'})


class ApiServer:
    """Answers each path with what is listed for it, the last one for ever."""

    def __init__(self, answers: Mapping[str, list[tuple[int, Any]]]) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, Iterator[tuple[int, Any]]] = {
            path: self._repeat_last(listed) for path, listed in answers.items()
        }

    def get(self, url: str) -> tuple[int, bytes]:
        self.asked.append(url)
        status, body = next(self._answers[url])
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()

    @staticmethod
    def _repeat_last(listed: list[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        yield from listed
        while True:
            yield listed[-1]


def ask(server: ApiServer) -> reach.Answer:
    return reach.ask_through(server.get, "gpufleet-system", "/decisions", QUERY)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        pytest.param({SERVICE: [OK]}, [SERVICE], id="the leader at once"),
        pytest.param({SERVICE: [STANDBY], LEADER: [OK]}, [SERVICE, LEADER], id="the pod that leads"),
        pytest.param(
            {SERVICE: [STANDBY, STANDBY, OK], LEADER: [FORBIDDEN]},
            [SERVICE, LEADER, SERVICE, SERVICE],
            id="the proxy of pods is not allowed: asked for once",
        ),
        pytest.param({SERVICE: [NOBODY, NOBODY, OK]}, [SERVICE] * 3, id="a leader comes"),
    ],
)
def test_the_leader_is_found(answers: Mapping[str, list[tuple[int, Any]]], asked: list[str]) -> None:
    server = ApiServer(answers)
    assert ask(server) == OK
    assert server.asked == asked


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        pytest.param({SERVICE: [FORBIDDEN]}, "bind the Role gpufleet-snapshot", id="no right"),
        pytest.param({SERVICE: [NO_SERVICE]}, 'services "gpufleet" not found', id="no operator"),
        pytest.param(
            {SERVICE: [STANDBY], LEADER: [FORBIDDEN]}, "the leader is gpufleet-1", id="standbys alone"
        ),
        pytest.param({SERVICE: [NOBODY]}, "the leader is not known", id="nobody leads"),
        pytest.param({SERVICE: [(404, b"404: Not Found")]}, "an older one", id="an older operator"),
        pytest.param({SERVICE: [(200, b"[]")]}, "without JSON", id="something else"),
    ],
)
def test_why_it_is_not_reached(answers: Mapping[str, list[tuple[int, Any]]], says: str) -> None:
    server = ApiServer(answers)
    with pytest.raises(reach.UnreachableError, match=says):
        ask(server)
    assert len(server.asked) <= reach.ATTEMPTS + 1


def test_words_of_the_operator_are_no_words_of_the_api_server() -> None:
    """404 says that there is no such service, and not that the operator was not reached."""
    unknown = (404, {"message": "there is no TritonService team/vision"})
    assert ask(ApiServer({SERVICE: [unknown]})) == unknown


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "nonsense"])
def test_a_server_that_is_not_there(server: str) -> None:
    with pytest.raises(reach.UnreachableError, match="does not answer"):
        reach.ask_directly(server, "/decisions", QUERY)
