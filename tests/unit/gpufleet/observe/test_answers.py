"""What Prometheus may answer, and whom a series is about."""

from __future__ import annotations

import json
import math
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.decide.autoscaling import signals
from gpufleet.observe import answers, queries
from gpufleet.state import fleet, samples

WANTED = queries.build("1m")
DCGM = "gpu-operator"

Series = tuple[dict[str, str], str]


def vector(*series: Series, **fields: Any) -> bytes:
    result = [{"metric": metric, "value": [1.0, value]} for metric, value in series]
    return json.dumps(
        {"status": "success", "data": {"resultType": "vector", "result": result}, **fields}
    ).encode()


def of_pod(name: str, namespace: str = "team-a", **labels: str) -> dict[str, str]:
    return {"namespace": namespace, "pod": name, **labels}


def join(**series: list[Series]) -> tuple[dict[str, samples.PodSample], dict[tuple[str, str], float]]:
    """The samples of team-a by pod, of pods `a` and `b` that were just scraped."""
    given = {"age_s": [(of_pod("a"), "5"), (of_pod("b"), "5")], **series}
    vectors = {name: answers.parse(vector(*found)) for name, found in given.items()}
    pods, waiting = answers.join(vectors, WANTED, DCGM)  # type: ignore[arg-type]
    return {pod: one for (namespace, pod), one in pods.items() if namespace == "team-a"}, waiting


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param([(of_pod("a"), "2.5")], 2.5, id="a value"),
        pytest.param([(of_pod("a"), "NaN")], None, id="no number"),
        pytest.param([(of_pod("a"), "+Inf")], None, id="infinity"),
        pytest.param([(of_pod("a"), "-1")], None, id="a rate below nothing"),
        pytest.param([(of_pod("a"), "9.223372036854775792e+18")], None, id="what DCGM gives for blank"),
        pytest.param([(of_pod("a"), "")], None, id="no text"),
        pytest.param([({"namespace": "team-a"}, "1")], None, id="no pod"),
        pytest.param([({"pod": "a"}, "1")], None, id="no namespace"),
        pytest.param([(of_pod("a"), "1"), (of_pod("a"), "3")], 3.0, id="twice: the larger counts"),
        pytest.param([(of_pod("x", exported_pod="a"), "1")], None, id="what a pod says of others"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_values(series: list[Series], expected: float | None) -> None:
    assert join(served=series)[0]["a"].served == expected


def held(namespace: str, pod: str, scraped_in: str = DCGM) -> dict[str, str]:
    """Labels of a device's series without honorLabels."""
    return of_pod("exporter-1", scraped_in, exported_namespace=namespace, exported_pod=pod)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param([(of_pod("a"), "0.5")], 0.5, id="with honorLabels"),
        pytest.param([(held("team-a", "a"), "0.5")], 0.5, id="without honorLabels"),
        pytest.param([(held("team-a", "a"), "0.5"), (of_pod("a"), "0.5")], 0.5, id="both: counted once"),
        pytest.param(
            [(held("team-a", "a", "team-b"), "0.9")], None, id="a tenant's exporter tells of others"
        ),
        pytest.param([(held("team-a", "a", "team-a"), "0.9")], None, id="or of its own namespace"),
        pytest.param(
            [(held("team-a", "a"), "0.5"), (held("team-a", "a", "team-b"), "0.9")],
            0.5,
            id="and is not heard beside DCGM's",
        ),
        pytest.param(
            [(held("team-a", "a"), "0.5"), (of_pod("a"), "0.9")], 0.5, id="DCGM's counts before a pod's own"
        ),
        pytest.param([(of_pod("exporter-1", DCGM), "0.1")], None, id="a device that nobody holds"),
        pytest.param(
            [(of_pod("exporter-1", DCGM, exported_pod="a"), "0.1")], None, id="a holder without a namespace"
        ),
        pytest.param([], None, id="no DCGM"),
    ],
)
@pytest.mark.parametrize("name", [name for name, query in WANTED.items() if query.subject == "gpu"])
def test_whose_device_it_is(name: str, series: list[Series], expected: float | None) -> None:
    assert getattr(join(**{name: series})[0]["a"], name) == expected


def test_load_is_told_by_model() -> None:
    series = [(of_pod("a", model="m"), "3"), (of_pod("a", model="n"), "1"), (of_pod("a"), "9")]
    pods, _ = join(by_model=series)
    assert (pods["a"].by_model, pods["b"].by_model) == ({"m": 3.0, "n": 1.0}, {})


def test_what_waits_at_a_gateway_is_told_by_service() -> None:
    series = [({"namespace": "team-a", "tritonservice": "vision"}, "4"), ({"namespace": "team-a"}, "7")]
    assert join(waiting=series)[1] == {("team-a", "vision"): 4.0}


def test_a_pod_of_unknown_age_is_left_out() -> None:
    assert "c" not in join(served=[(of_pod("c"), "1")])[0]


THANOS = "No StoreAPIs matched for this query"
INFO = 'PromQL info: metric might not be a counter: "nv_inference_request_success" (1:6)'
MIXED = 'PromQL warning: encountered a mix of histograms and floats for metric name "x"'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"", "not Prometheus's", id="nothing"),
        pytest.param(b"<html>login</html>", "not Prometheus's", id="a login page"),
        pytest.param(vector()[:-3], "not Prometheus's", id="cut off"),
        pytest.param(b'{"status":"\xff"}', "not Prometheus's", id="no UTF-8"),
        pytest.param(b'{"x":' + b"[" * 100_000, "not Prometheus's", id="nested without end"),
        pytest.param(b'{"status":"error","error":"query timed out"}', "query timed out", id="an error"),
        pytest.param(
            b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "a matrix", id="a matrix"
        ),
        pytest.param(
            b'{"status":"success","data":{"resultType":"vector","result":[1]}}', "object", id="nonsense"
        ),
        pytest.param(vector(warnings=[THANOS]), THANOS, id="Thanos lacks a part"),
        pytest.param(vector(isPartial=True), "partial", id="VictoriaMetrics lacks a part"),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(answers.PrometheusError, match=said):
        answers.parse(body)


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        pytest.param({"infos": [INFO]}, "", id="what the engine remarks"),
        pytest.param({"warnings": [MIXED]}, "", id="what it warns of: any pod may cause it"),
        pytest.param({"warnings": [MIXED, THANOS]}, THANOS, id="Thanos lacks a part"),
        pytest.param({"isPartial": True}, "the storage says so", id="VictoriaMetrics lacks a part"),
        pytest.param({"isPartial": False, "stats": {}, "trace": None}, "", id="fields of others"),
    ],
)
def test_a_part_is_used_where_that_is_allowed(fields: dict[str, Any], missing: str) -> None:
    found = answers.parse(vector((of_pod("a"), "1"), **fields), allow_partial=True)
    assert (found.missing, len(found.series)) == (missing, 1)


def matrix(*courses: tuple[dict[str, str], list[str]], **fields: Any) -> bytes:
    """A value a minute."""
    result = [
        {"metric": metric, "values": [[60.0 * number, one] for number, one in enumerate(values)]}
        for metric, values in courses
    ]
    return json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": result}, **fields}
    ).encode()


VISION = {"namespace": "team-a", "tritonservice": "vision"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(matrix(), {}, id="nothing"),
        pytest.param(
            matrix((VISION, ["1", "2.5"])), {("team-a", "vision"): [(0.0, 1.0), (60.0, 2.5)]}, id="values"
        ),
        pytest.param(
            matrix((VISION, ["NaN", "-1", "+Inf", "3"])),
            {("team-a", "vision"): [(180.0, 3.0)]},
            id="no numbers",
        ),
        pytest.param(matrix(({"namespace": "team-a"}, ["1"])), {}, id="whose it is, is not known"),
        pytest.param(matrix(({"tritonservice": "vision"}, ["1"])), {}, id="nor from where"),
    ],
)
def test_courses(body: bytes, expected: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    assert answers.parse_range(body) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"<html>login</html>", "not Prometheus's", id="a login page"),
        pytest.param(vector(), "a vector", id="a vector"),
        pytest.param(b'{"status":"error","error":"query timed out"}', "query timed out", id="an error"),
        pytest.param(matrix(warnings=[THANOS]), THANOS, id="a part is lacking"),
    ],
)
def test_what_is_no_range_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(answers.PrometheusError, match=said):
        answers.parse_range(body)


NUMBERS = st.one_of(
    st.floats().map(str),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1e400", "1_0", " 1", "0x1", "", "1e15", "1e-320"]),
    st.text(max_size=5),
)
LABELS = st.dictionaries(
    st.sampled_from(
        ["namespace", "pod", "exported_namespace", "exported_pod", "model", "tritonservice", "quantile"]
    ),
    st.sampled_from(["team-a", "a", "b", "m", DCGM, ""]),
)
ELEMENTS = st.lists(
    st.fixed_dictionaries({"metric": LABELS, "value": st.tuples(st.floats(allow_nan=False), NUMBERS)}),
    max_size=6,
)
BODIES = ELEMENTS.map(
    lambda found: json.dumps(
        {"status": "success", "data": {"resultType": "vector", "result": found}}
    ).encode()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "data", "resultType", "result", "metric", "value", "warnings"]), inner
        )
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
PODS = [fleet.Pod(uid=name, namespace="team-a", name=name, ready=True) for name in ("a", "b")]


def numbers(found: signals.Readings) -> list[float]:
    fields = [getattr(found, name) for name in signals.Readings.__dataclass_fields__]
    values = [one.value for one in fields if isinstance(one, signals.Reading) and one.value is not None]
    return [*values, *found.by_model.values()]


@hypothesis.given(
    bodies=st.dictionaries(st.sampled_from(sorted(WANTED)), st.one_of(BODIES, JSON, st.binary(max_size=50))),
    delay_s=st.floats(min_value=0, max_value=10),
)
def test_whatever_arrives_only_finite_numbers_come_of_it(
    bodies: dict[queries.Name, bytes], delay_s: float
) -> None:
    vectors: dict[queries.Name, answers.Vector] = {}
    for name, body in bodies.items():
        try:
            vectors[name] = answers.parse(body)
        except answers.PrometheusError:
            continue
    pods, waiting = answers.join(vectors, WANTED, DCGM)
    found = signals.read(PODS, samples.Look(1, 0.0, pods, waiting=waiting), delay_s)
    assert all(math.isfinite(value) and value >= 0 for value in [*numbers(found), *waiting.values()])


def test_every_field_of_a_sample_has_a_query() -> None:
    assert {*samples.PodSample.__dataclass_fields__, "waiting"} == set(WANTED)


def test_queries_are_constant_but_for_the_window() -> None:
    other = {name: query.text.replace("[30s]", "[1m]") for name, query in queries.build("30s").items()}
    assert other == {name: query.text for name, query in WANTED.items()}
