"""Which failure it was: the table of traps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.training import failure, signatures
from gpufleet.state import fleet
from tests import builders
from tests.builders import make_attempt, make_worker

EARLY, LATE = "2030-01-01T11:00:00Z", "2030-01-01T11:00:09Z"
ERROR_FILE = json.dumps(
    {
        "message": {
            "message": "ValueError: bad loss",
            "extraInfo": {"py_callstack": "Traceback", "timestamp": "1"},
        }
    }
)


def ended(
    code: int, message: str = "", reason: str = "Error", at: str = EARLY
) -> tuple[fleet.ContainerState, ...]:
    return (
        fleet.ContainerState(
            "worker", terminated_reason=reason, exit_code=code, message=message, finished_at=at
        ),
    )


def failed(name: str = "llm-1-0", code: int = 1, message: str = "", **more: Any) -> fleet.Pod:
    said = {key: more.pop(key) for key in ("reason", "at") if key in more}
    given = {"phase": "Failed", "node": "node-a", "containers": ended(code, message, **said), **more}
    return make_worker(name, **given)


def told_to_end(reason: str, *, phase: fleet.PodPhase = "Failed", code: int = 143, **more: Any) -> fleet.Pod:
    at = more.pop("at", EARLY)
    return make_worker(
        more.pop("name", "llm-1-1"),
        phase=phase,
        node="node-b",
        containers=ended(code, reason="Completed" if code == 0 else "Error"),
        interrupted=fleet.Interruption(reason, at),
        **more,
    )


def classify(*pods: fleet.Pod, lost: tuple[str, ...] = (), said: str = "", **policy: Any) -> failure.Failure:
    job = builders.make_job(failurePolicy=policy)
    newest = make_attempt(1, "Failed", message=said)
    return failure.classify(builders.make_job_view(job, pods=pods, lost_nodes=frozenset(lost)), newest)


@pytest.mark.parametrize(
    ("found", "kind", "node", "words"),
    [
        pytest.param(
            classify(failed(code=1)), "ProgramError", "", ["llm-1-0", "1 (Error)"], id="exit code 1"
        ),
        pytest.param(classify(failed(code=134)), "ProgramError", "", ["134"], id="aborted"),
        pytest.param(classify(failed(code=137)), "ProgramError", "", ["137"], id="killed, not for memory"),
        pytest.param(
            classify(failed(code=137, reason="OOMKilled")),
            "OutOfMemory",
            "",
            ["limits.memory"],
            id="OOMKilled",
        ),
        pytest.param(
            classify(failed(message="torch.OutOfMemoryError: CUDA out of memory. Tried")),
            "OutOfMemory",
            "",
            ["lower the batch"],
            id="no device memory, exit code 1",
        ),
        pytest.param(classify(failed(code=2)), "UserError", "", ["failExitCodes"], id="wrong usage"),
        pytest.param(classify(failed(code=127)), "UserError", "", [], id="command not found"),
        pytest.param(classify(failed(code=42)), "UserError", "", [], id="42 fails"),
        pytest.param(classify(failed(code=42), failExitCodes=[]), "ProgramError", "", [], id="42 as wished"),
        pytest.param(
            classify(failed(code=128, reason="StartError", message="exec: not found")),
            "UserError",
            "",
            ["template.command"],
            id="cannot start",
        ),
        pytest.param(classify(failed(code=41)), "Infrastructure", "", ["retryExitCodes"], id="41 retries"),
        pytest.param(
            classify(failed(code=75), retryExitCodes=[75]), "Infrastructure", "", [], id="75 as wished"
        ),
        pytest.param(
            classify(failed(code=41), retryExitCodes=[41], failExitCodes=[41]),
            "UserError",
            "",
            [],
            id="fail first",
        ),
        pytest.param(
            classify(failed(message=ERROR_FILE)),
            "ProgramError",
            "",
            ["ValueError: bad loss"],
            id="error file",
        ),
        pytest.param(
            classify(failed(message="Traceback\nModuleNotFoundError: No module named 'x'")),
            "UserError",
            "",
            ["correct the program"],
            id="a module that is not there",
        ),
        pytest.param(
            classify(failed(message="OSError: [Errno 28] No space left on device: '/ckpt'")),
            "UserError",
            "",
            ["free room"],
            id="the checkpoint's volume is full",
        ),
        pytest.param(
            classify(failed(message="PermissionError: [Errno 13] Permission denied: '/ckpt'")),
            "UserError",
            "",
            ["user 1000"],
            id="the checkpoint's volume is not writable",
        ),
        pytest.param(
            classify(failed(message="CUDA error: uncorrectable ECC error encountered")),
            "Infrastructure",
            "node-a",
            ["faulty"],
            id="a broken device",
        ),
        pytest.param(
            classify(told_to_end("EvictionByEvictionAPI")), "Infrastructure", "", ["node-b"], id="drained"
        ),
        pytest.param(
            classify(told_to_end("EvictionByEvictionAPI", phase="Succeeded", code=0)),
            "Infrastructure",
            "",
            [],
            id="drained, exit code 0",
        ),
        pytest.param(
            classify(told_to_end("PreemptionByScheduler")), "Infrastructure", "", [], id="preempted"
        ),
        pytest.param(
            classify(told_to_end("DeletionByTaintManager")),
            "Infrastructure",
            "node-b",
            [],
            id="a tainted node",
        ),
        pytest.param(
            classify(told_to_end("TerminationByKubelet", message="The node was low on resource: memory.")),
            "Infrastructure",
            "node-b",
            ["low on resource"],
            id="the node lacks memory",
        ),
        pytest.param(
            classify(
                told_to_end(
                    "TerminationByKubelet",
                    message="Pod ephemeral local storage usage exceeds the total limit",
                )
            ),
            "ProgramError",
            "",
            ["exceeds"],
            id="the pod itself took too much storage",
        ),
        pytest.param(
            classify(
                make_worker("llm-1-0", phase="Failed", node="node-a", reason="UnexpectedAdmissionError")
            ),
            "Infrastructure",
            "node-a",
            [],
            id="the node had no device",
        ),
        pytest.param(
            classify(make_worker("llm-1-0", phase="Failed", node="node-a", reason="OutOfnvidia.com/gpu")),
            "Infrastructure",
            "node-a",
            [],
            id="the node was full",
        ),
        pytest.param(
            classify(make_worker("llm-1-0", phase="Running", node="node-a"), lost=("node-a",)),
            "Infrastructure",
            "node-a",
            ["does not answer"],
            id="the node is lost",
        ),
        pytest.param(
            classify(
                said="Pod default/llm-1-0 has condition DisruptionTarget matching FailJob rule at index 0"
            ),
            "Infrastructure",
            "",
            [],
            id="only the Job tells of a disruption",
        ),
        pytest.param(
            classify(
                said="Container worker for pod default/llm-1-0 failed with exit code 42 matching FailJob"
            ),
            "UserError",
            "",
            ["42"],
            id="only the Job tells of an exit code",
        ),
        pytest.param(
            classify(said="backoff limit"), "ProgramError", "", ["backoff limit"], id="nobody knows"
        ),
    ],
)
def test_class(found: failure.Failure, kind: str, node: str, words: list[str]) -> None:
    assert (found.ended_by, found.node) == (kind, node)
    assert [word for word in words if word not in found.message] == []


ECHO = "RuntimeError: Connection reset by peer"


@pytest.mark.parametrize(
    ("found", "worker", "kind"),
    [
        pytest.param(
            classify(failed("llm-1-0", at=LATE), failed("llm-1-1", code=2)),
            "llm-1-1",
            "UserError",
            id="first",
        ),
        pytest.param(
            classify(failed("llm-1-0", message=ECHO), failed("llm-1-1", at=LATE)),
            "llm-1-1",
            "ProgramError",
            id="a broken connection only follows",
        ),
        pytest.param(
            classify(failed("llm-1-0", at=LATE), told_to_end("Deleted", at=EARLY)),
            "llm-1-0",
            "ProgramError",
            id="those that the Job ended only follow",
        ),
        pytest.param(
            classify(failed("llm-1-0", at=LATE), told_to_end("EvictionByEvictionAPI", at=EARLY)),
            "llm-1-1",
            "Infrastructure",
            id="an eviction before",
        ),
        pytest.param(
            classify(failed("llm-1-0", at=EARLY), told_to_end("EvictionByEvictionAPI", at=LATE)),
            "llm-1-0",
            "ProgramError",
            id="an eviction after",
        ),
        pytest.param(
            classify(
                failed("llm-1-0", message=ECHO),
                make_worker("llm-1-1", node="n", phase="Running"),
                lost=("n",),
            ),
            "llm-1-1",
            "Infrastructure",
            id="a lost node behind a broken connection",
        ),
        pytest.param(
            classify(failed("llm-1-0", message=ECHO), said="Pod d/llm-1-1 has condition DisruptionTarget"),
            "",
            "Infrastructure",
            id="the other was disrupted and has gone",
        ),
        pytest.param(
            classify(failed("llm-1-0", message=ECHO), said="Pod d/llm-1-1 failed with exit code 1"),
            "llm-1-0",
            "ProgramError",
            id="the other failed and has gone",
        ),
        pytest.param(
            classify(failed("llm-1-0", message=ECHO), failed("llm-1-1", message=ECHO, at=LATE)),
            "llm-1-0",
            "ProgramError",
            id="nobody says more",
        ),
    ],
)
def test_the_first_cause(found: failure.Failure, worker: str, kind: str) -> None:
    assert (found.worker, found.ended_by) == (worker, kind)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("plain\n", "plain", id="a log"),
        pytest.param(ERROR_FILE, "ValueError: bad loss", id="an error file"),
        pytest.param('{"message": "text"}', "text", id="an error file without details"),
        pytest.param(ERROR_FILE[:60], "ValueError: bad loss", id="an error file cut off"),
        pytest.param('{"message": ["a"]}', '{"message": ["a"]}', id="another JSON"),
        pytest.param("[1]", "[1]", id="no object"),
        pytest.param("x" * 900, "…" + "x" * signatures.TAIL, id="the end of a long log"),
    ],
)
def test_what_a_program_said(text: str, read: str) -> None:
    assert signatures.read_error(text) == read


SAID = {
    "RESOURCE_EXHAUSTED: Out of memory": "OutOfMemory",
    "OSError: [Errno 122] Disk quota exceeded": "UserError",
    "OSError: [Errno 30] Read-only file system": "UserError",
    "SyntaxError: invalid syntax": "UserError",
    "train.py: error: unrecognized arguments: --lr": "UserError",
    "python3: can't open file '/train.py': [Errno 2] No such file or directory": "UserError",
    "NVRM: Xid (PCI:0000:3b:00): 79": "Infrastructure",
    "RuntimeError: no CUDA-capable device is detected": "Infrastructure",
    "OSError: [Errno 116] Stale file handle": "Infrastructure",
    "ncclRemoteError: A call failed possibly due to a network error": "Echo",
}


def test_every_signature_is_met() -> None:
    found = {text: one for text in SAID if (one := signatures.find(text))}
    assert {text: one.kind for text, one in found.items()} == SAID
    assert {one.pattern for one in found.values()} == {one.pattern for one in signatures.known()}


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: loss is nan",
        "step 28 done",
        "KeyError: 'x'",
        "WARNING ImportError: no apex, going on without\nValueError: loss is nan",
        "UserWarning: [Errno 13] Permission denied: '/.cache'\nValueError: loss is nan",
        "Connecting to coordination service\nValueError: loss is nan",
    ],
)
def test_most_errors_bear_no_signature(text: str) -> None:
    assert signatures.find(text) is None


WORKERS = (
    failed("llm-1-0", at=LATE),
    failed("llm-1-1", message=ECHO),
    failed("llm-1-2", code=137, reason="OOMKilled", at=LATE),
    told_to_end("Deleted", name="llm-1-3"),
    told_to_end("EvictionByEvictionAPI", name="llm-1-4", phase="Succeeded", code=0, at=LATE),
    make_worker("llm-1-5", phase="Running", node="node-a"),
)


@given(st.lists(st.sampled_from(WORKERS), unique_by=lambda one: one.name), st.randoms(use_true_random=False))
def test_the_order_in_which_workers_are_listed_decides_nothing(pods: list[fleet.Pod], random: Any) -> None:
    found = classify(*pods)
    random.shuffle(pods)
    assert classify(*pods) == found
    assert found.ended_by not in ("Completed", "Suspended")
