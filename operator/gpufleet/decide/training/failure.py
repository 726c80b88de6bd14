"""Why a gang failed, from the best evidence there is: pod, container, error file, log, and exit code last.

Exit codes tell little: torchrun exits with 1 whatever its workers did, 137 is a kill for lack of memory or
any other, and a worker that was told to end may exit with 0. Of several workers the one that failed first
counts; those whose connection broke, and those that the Job controller ended, only follow.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from gpufleet.api import training_policy, training_record
from gpufleet.decide.training import outcome, signatures
from gpufleet.state import children, fleet, names, view

_MOVED = frozenset({"PreemptionByScheduler", "EvictionByEvictionAPI"})
"""Disruptions that say nothing against the node."""
_NODE_REASONS = (
    "NodeLost",
    "NodeShutdown",
    "Terminated",
    "UnexpectedAdmissionError",
    "NodeAffinity",
    "OutOf",
)
_OWN_STORAGE = re.compile(r"exceeds (the )?(total )?limit|usage of EmptyDir")
_CANNOT_START = frozenset({"StartError", "ContainerCannotRun", "CreateContainerError"})
_DISRUPTED = "DisruptionTarget"
_EXIT_CODE = re.compile(r"exit code (\d+)")
_FIRST, _ECHO, _ENDED_BY_JOB = range(3)


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed; `node` is suspected, `worker` failed first."""

    ended_by: training_record.EndedBy
    message: str
    worker: str = ""
    node: str = ""
    exit_code: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Finding:
    """One worker's failure: how much it counts, when it was, what it was."""

    weight: int
    at: str
    failure: Failure

    @property
    def order(self) -> tuple[int, str, str]:
        return self.weight, self.at, self.failure.worker


def pods_of(view: view.JobView, newest: children.Child) -> Sequence[fleet.Pod]:
    """Workers of an attempt, without those that have gone as it became smaller."""
    attempt, size = newest.labels.get(names.ATTEMPT_LABEL), int(newest.body["spec"].get("parallelism", 0))
    return [
        one
        for one in view.pods
        if one.labels.get(names.ATTEMPT_LABEL) == attempt
        and int(one.labels.get(names.COMPLETION_INDEX_ANNOTATION) or 0) < size
    ]


def classify(view: view.JobView, newest: children.Child) -> Failure:
    """The first cause; the Job's own words where no pod is left to tell."""
    policy = view.job.spec.failure_policy
    findings = [
        found
        for one in pods_of(view, newest)
        if (found := _read_pod(one, policy, is_lost=one.node in view.lost_nodes))
    ]
    if not findings:
        return _read_job(newest, policy)
    first = min(findings, key=lambda one: one.order)
    if first.weight != _FIRST and _DISRUPTED in outcome.read_failure(newest):
        # The pod that was disrupted has gone; those that are left only followed.
        return _read_job(newest, policy)
    return first.failure


def read_interruption(pod: fleet.Pod, found: fleet.Interruption) -> Failure:
    """A worker that was told to end before it had done its work."""
    if _OWN_STORAGE.search(pod.message):
        return Failure("ProgramError", f"{pod.name} was evicted: {pod.message}", pod.name)
    if found.reason == fleet.DELETED:
        return Failure("Infrastructure", f"{pod.name} was deleted while it worked", pod.name)
    said = f": {pod.message}" if pod.message else ""
    node = "" if found.reason in _MOVED else pod.node
    return Failure(
        "Infrastructure", f"{pod.name} was taken off {pod.node} ({found.reason}){said}", pod.name, node
    )


def _read_pod(pod: fleet.Pod, policy: training_policy.FailurePolicy, *, is_lost: bool) -> _Finding | None:
    if pod.interrupted is not None:
        weight = _ENDED_BY_JOB if pod.interrupted.reason == fleet.DELETED and not is_lost else _FIRST
        return _Finding(weight, pod.interrupted.at, read_interruption(pod, pod.interrupted))
    if is_lost and not pod.is_terminal:
        message = f"node {pod.node} does not answer any more, and {pod.name} is on it"
        return _Finding(_FIRST, "", Failure("Infrastructure", message, pod.name, pod.node))
    if pod.phase != "Failed":
        return None
    if pod.reason.startswith(_NODE_REASONS):
        message = f"{pod.node} gave {pod.name} up ({pod.reason}): {pod.message}"
        return _Finding(_FIRST, "", Failure("Infrastructure", message, pod.name, pod.node))
    ended = next((one for one in pod.containers if one.exit_code), None)
    if ended is None:
        return _Finding(_FIRST, "", Failure("ProgramError", f"{pod.name} failed: {pod.message}", pod.name))
    return _read_container(pod, ended, policy)


def _read_container(
    pod: fleet.Pod, ended: fleet.ContainerState, policy: training_policy.FailurePolicy
) -> _Finding:
    said = signatures.read_error(ended.message)
    code = ended.exit_code or 0
    about = f"{pod.name} exited with {code} ({ended.terminated_reason})"
    kind, weight, fix, node = _judge_container(ended, said, code, policy)
    message = f"{about}{f'; {fix}' if fix else ''}{f': {said}' if said else ''}"
    failure = Failure(kind, message, pod.name, pod.node if node else "", code)
    return _Finding(weight, ended.finished_at, failure)


def _judge_container(
    ended: fleet.ContainerState, said: str, code: int, policy: training_policy.FailurePolicy
) -> tuple[training_record.EndedBy, int, str, bool]:
    """(class, how much it counts, what would help, whether the node is suspected)."""
    if ended.terminated_reason == "OOMKilled":
        return "OutOfMemory", _FIRST, "raise template.resources.limits.memory, or hold less in memory", False
    if ended.terminated_reason == "ContainerStatusUnknown":
        return "Infrastructure", _FIRST, "", True
    if ended.terminated_reason in _CANNOT_START:
        return "UserError", _FIRST, "correct template.command", False
    if code in policy.fail_exit_codes:
        return "UserError", _FIRST, "failurePolicy.failExitCodes names this code", False
    if code in policy.retry_exit_codes:
        return "Infrastructure", _FIRST, "failurePolicy.retryExitCodes names this code", False
    found = signatures.find(said)
    if found is None:
        return "ProgramError", _FIRST, "", False
    if found.kind == signatures.ECHO:
        return "ProgramError", _ECHO, "", False
    kind: training_record.EndedBy = found.kind  # type: ignore[assignment]
    return kind, _FIRST, found.fix, kind == "Infrastructure"


def _read_job(newest: children.Child, policy: training_policy.FailurePolicy) -> Failure:
    """Its podFailurePolicy writes the condition or the exit code that ended it into its message."""
    message = outcome.read_failure(newest)
    if _DISRUPTED in message:
        return Failure("Infrastructure", message)
    code = int(found[1]) if (found := _EXIT_CODE.search(message)) else None
    if code in policy.fail_exit_codes:
        return Failure("UserError", message, exit_code=code)
    kind: training_record.EndedBy = "Infrastructure" if code in policy.retry_exit_codes else "ProgramError"
    return Failure(kind, message, exit_code=code)
