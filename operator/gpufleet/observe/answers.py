"""What Prometheus answered → samples. Nothing in it is trusted: a value that is no finite number is none, and
who a series is about is said by the labels that the scrape gave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from gpufleet.observe import queries
from gpufleet.state import samples

LARGEST_VALUE = 1e15
"""No signal reaches it; what DCGM gives for a blank field (NVIDIA/DCGM:dcgmlib/dcgm_structs.h) exceeds it."""

# What the engine remarks on series, as against what the storage says of missing parts.
_REMARK = ("PromQL warning:", "PromQL info:")
_WARNINGS_TOLD = 3

PodKey = tuple[str, str]
ServiceKey = tuple[str, str]


class PrometheusError(Exception):
    """Prometheus did not answer, or not in its own language; the text says what and from where."""


class Labels(msgspec.Struct, gc=False):
    """Those that say what a series is about; Prometheus leaves out what is empty."""

    namespace: str = ""
    pod: str = ""
    exported_namespace: str = ""
    exported_pod: str = ""
    model: str = ""
    tritonservice: str = ""


class Series(msgspec.Struct, gc=False):
    """One element of an instant vector; `value` is a time in seconds and a number as text."""

    metric: Labels
    value: tuple[float, str]


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: list[Series] = []


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""
    warnings: list[str] = []
    is_partial: bool = False


class _Course(msgspec.Struct, gc=False):
    """One element of a range vector."""

    metric: Labels
    values: list[tuple[float, str]]


class _Courses(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: list[_Course] = []


class _RangeAnswer(_Answer, rename="camel"):
    data: _Courses = msgspec.field(default_factory=_Courses)  # type: ignore[assignment]


_Kind = TypeVar("_Kind", bound=_Answer)


class Vector(msgspec.Struct):
    """The series of one answer; `missing` says what the storage could not read, where that is allowed."""

    series: list[Series]
    missing: str = ""


def parse(body: bytes, allow_partial: bool = False) -> Vector:
    """The answer to an instant query.

    Raises:
        PrometheusError: it is none, or only a part of it and that is not allowed.
    """
    answer = _decode(body, _Answer)
    return Vector(answer.data.result, _check(answer, "vector", allow_partial))


def parse_range(body: bytes, allow_partial: bool = False) -> dict[ServiceKey, list[tuple[float, float]]]:
    """Of each TritonService (seconds since the epoch, value) in the order of time; what is no number is not.

    Raises:
        PrometheusError: as `parse`.
    """
    answer = _decode(body, _RangeAnswer)
    _check(answer, "matrix", allow_partial)
    return {
        (one.metric.namespace, one.metric.tritonservice): [
            (at_s, value) for at_s, text in one.values if (value := _to_number(text)) is not None
        ]
        for one in answer.data.result
        if one.metric.namespace and one.metric.tritonservice
    }


def describe(body: bytes) -> str:
    """What an answer that is an error says."""
    try:
        return _decode(body, _Answer).error[:300]
    except PrometheusError:
        return body[:100].decode(errors="replace")


def join(
    vectors: Mapping[queries.Name, Vector],
    wanted: Mapping[queries.Name, queries.Query],
    dcgm_namespace: str,
) -> tuple[dict[PodKey, samples.PodSample], dict[PodKey, float]]:
    """All fields of each pod, one whose age is unknown being left out; and what waits for each service.

    Args:
        dcgm_namespace: the one whose pods are believed when they say `exported_pod`.
    """
    fields: dict[PodKey, dict[str, float]] = defaultdict(dict)
    models: dict[PodKey, dict[str, float]] = {}
    waiting: dict[PodKey, float] = {}
    for name, vector in vectors.items():
        subject = wanted[name].subject
        if subject == "service":
            waiting = _most((one.metric.namespace, one.metric.tritonservice, one) for one in vector.series)
        elif subject == "model":
            models = _by_model(vector.series)
        else:
            of_gpu = subject == "gpu"
            found = _by_holder(vector.series, dcgm_namespace) if of_gpu else _by_pod(vector.series)
            for key, value in found.items():
                fields[key][name] = value
    pods = {
        key: samples.PodSample(**found, by_model=models.get(key, {}))
        for key, found in fields.items()
        if "age_s" in found
    }
    return pods, waiting


def _by_holder(series: Iterable[Series], dcgm_namespace: str) -> dict[PodKey, float]:
    """Devices' values by the pod that holds them.

    Without honorLabels the holder is in `exported_pod`, which any pod could make up: only what was scraped
    in DCGM's own namespace is believed, and more than what a pod says of itself.
    """
    own: list[Series] = []
    believed: list[tuple[str, str, Series]] = []
    for one in series:
        labels = one.metric
        if not labels.exported_pod and not labels.exported_namespace:
            own.append(one)
        elif labels.namespace == dcgm_namespace:
            believed.append((labels.exported_namespace, labels.exported_pod, one))
    return _by_pod(own) | _most(believed)


def _by_pod(series: Iterable[Series]) -> dict[PodKey, float]:
    return _most((one.metric.namespace, one.metric.pod, one) for one in series)


def _by_model(series: Iterable[Series]) -> dict[PodKey, dict[str, float]]:
    groups: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        if one.metric.model:
            groups[one.metric.model].append(one)
    found: dict[PodKey, dict[str, float]] = defaultdict(dict)
    for model, group in groups.items():
        for key, value in _by_pod(group).items():
            found[key][model] = value
    return found


def _most(series: Iterable[tuple[str, str, Series]]) -> dict[tuple[str, str], float]:
    """The largest value of each pair; a series that lacks one of them, or a number, is left out."""
    found: dict[tuple[str, str], float] = {}
    for first, second, one in series:
        value = _to_number(one.value[1])
        if first and second and value is not None and value >= found.get((first, second), 0.0):
            found[first, second] = value
    return found


def _decode(body: bytes, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(body, type=kind)
    # Labels that are no UTF-8, and nesting without end, are no MsgspecError.
    except (ValueError, RecursionError) as error:
        raise PrometheusError(f"the answer is not Prometheus's: {error}"[:300]) from error


def _check(answer: _Answer, wanted: str, allow_partial: bool) -> str:
    """What is missing in the answer, where that is allowed. Raises PrometheusError."""
    if answer.status != "success" or answer.data.result_type != wanted:
        kind = answer.data.result_type or answer.status
        raise PrometheusError(answer.error or f"the answer is a {kind[:100]}")
    missing = _describe_missing(answer)
    if missing and not allow_partial:
        raise PrometheusError(f"the answer is partial: {missing}")
    return missing


def _describe_missing(answer: _Answer) -> str:
    """What Thanos warns of and VictoriaMetrics marks; empty where the answer is whole."""
    warnings = [text for text in answer.warnings if not text.startswith(_REMARK)]
    if warnings:
        return "; ".join(text[:150] for text in warnings[:_WARNINGS_TOLD])
    return "the storage says so" if answer.is_partial else ""


def _to_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= LARGEST_VALUE else None
