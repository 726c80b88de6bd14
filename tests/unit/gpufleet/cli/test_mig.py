"""`gpufleet mig layouts` and `gpufleet mig plan`, as people call them."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from click import testing

from gpufleet.cli import main


def run(*argv: str) -> testing.Result:
    return testing.CliRunner().invoke(main.main, ["mig", "layouts", *argv])


def test_the_census_as_json() -> None:
    result = run("--device", "H100-80GB-SXM", "--count", "-o", "json")
    assert json.loads(result.output) == {"layouts": 2318, "maximal": 239, "multisets": 127, "pareto": 44}


def test_the_census_as_text() -> None:
    assert run("--device", "A30", "-o", "count").output.split() == [
        "layouts", "75", "maximal", "17", "multisets", "19", "pareto", "8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "device",
    ["A100-80GB", "a100-80gb", "NVIDIA-A100-80GB-PCIe", "A100-SXM4-80GB"],
)
def test_a_device_by_any_of_its_names(device: str) -> None:
    document = json.loads(run("--device", device, "--maximal", "--profiles", "3g.40gb", "-o", "json").output)
    assert document == {
        "device": "A100-80GB",
        "memoryUnits": 8,
        "computeSlices": 7,
        "layouts": [
            {
                "placements": [
                    {"profile": "3g.40gb", "start": 0, "size": 4},
                    {"profile": "3g.40gb", "start": 4, "size": 4},
                ],
                "counts": {"3g.40gb": 2},
                "creationOrder": ["3g.40gb", "3g.40gb"],
                "maximal": True,
            }
        ],
    }


def test_the_table_draws_memory_units() -> None:
    result = run("--device", "A30", "--profiles", "1g.6gb,2g.12gb", "--busy", "2g.12gb@0")
    assert result.output.splitlines() == [
        "A30, memory units:",
        " 0      1      2      3",
        "│2g.12gb      │······│······│  +",
        "│2g.12gb      │1g.6gb│······│  +",
        "│2g.12gb      │1g.6gb│1g.6gb│",
        "│2g.12gb      │2g.12gb      │",
        "│2g.12gb      │······│1g.6gb│  +",
        "+ leaves room for another instance",
    ]


def test_a_device_of_ones_own(tmp_path: pathlib.Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "models: [{name: X1, class: x1, like: A30, products: [NVIDIA-X1], pciIds: []}]", encoding="utf-8"
    )
    assert run("--device", "X1", "--catalogue", str(own), "-o", "count").output.split()[1] == "75"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--device", "X9000"], "no device X9000; those with MIG are A30", id="unknown device"),
        pytest.param(["--device", "L40S"], "L40S cannot be cut into MIG slices", id="no MIG"),
        pytest.param(["--device", "h100"], "h100 is several devices: H100-80GB-SXM", id="ambiguous"),
        pytest.param(
            ["--device", "A30", "--profiles", "1g.10gb"],
            "A30 has no MIG profile 1g.10gb",
            id="of another model",
        ),
        pytest.param(["--device", "A30", "--busy", "1g.6gb"], "write PROFILE@START", id="no start"),
        pytest.param(
            ["--device", "A30", "--busy", "2g.12gb@1"], "may start at 0, 2, not at 1", id="bad start"
        ),
        pytest.param(
            ["--device", "A30", "--busy", "1g.6gb+me@0,2g.12gb+me@2"], "does not fit beside", id="+me twice"
        ),
        pytest.param(
            ["--device", "A30", "--busy", "4g.24gb@0,1g.6gb@0"], "does not fit beside", id="more than fits"
        ),
    ],
)
def test_bad_input_is_one_sentence(argv: list[str], message: str) -> None:
    result = run(*argv)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert message in result.output
    assert len(result.output.splitlines()) == 1


def test_layouts_load_no_client_library() -> None:
    code = (
        "import sys; from click import testing; from gpufleet.cli import main; "
        "testing.CliRunner().invoke(main.main, ['mig', 'layouts', '--device', 'A30']); "
        "print(sorted({'kubernetes', 'aiohttp', 'grpc', 'pydantic', 'kopf', 'numpy'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


SNAPSHOT = {
    "nodes": [
        {
            "name": "n1",
            "device": "NVIDIA-H100-80GB-HBM3",
            "gpus": [
                {"index": 0, "instances": [{"profile": "3g.39gb", "start": 4, "busy": True}]},
                {"index": 1},
            ],
        },
        {"name": "n2", "device": "A30", "grain": "Instance", "gpus": [{"index": 0}]},
    ],
    "demand": [
        {"profile": "4g.40gb", "class": "h100", "count": 2, "weight": 4},
        {"memory": "11Gi", "count": 1},
    ],
    "policy": {"blackoutSeconds": 0, "forecast": {"3g.40gb": 1}},
}


def run_plan(document: object, *argv: str) -> testing.Result:
    text = document if isinstance(document, str) else json.dumps(document)
    return testing.CliRunner().invoke(main.main, ["mig", "plan", "--snapshot", "-", *argv], input=text)


def test_a_plan_as_a_table() -> None:
    assert run_plan(SNAPSHOT).output.splitlines() == [
        "Repartition: serves 5 of 9 weighted demand, 5 more than without, at most 5 could be; "
        "changes 2 GPUs on 2 nodes, moves 0 busy slices; lacking 1 × 4g.40gb",
        "  4g.40gb          weight 4      1 of 2",
        "  2g.12gb          weight 1      1 of 1",
        "fragmentation 0.0% → 0.0%",
        "n1: cost 0.000",
        "  GPU 1  empty → 1 × 3g.40gb, 1 × 4g.40gb",
        "         makes 1 × 3g.40gb, 1 × 4g.40gb",
        "n2: cost 0.000",
        "  GPU 0  empty → 1 × 2g.12gb",
        "         makes 1 × 2g.12gb",
    ]


def test_a_plan_as_json_beside_the_integer_program() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "gpufleet.cli.main", "mig", "plan", "--snapshot=-", "-ojson", "--exact"],
        input=json.dumps(SNAPSHOT),
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(shown.stdout)
    assert document["exact"] == {"served": 5.0, "bound": 5.0, "gapPercent": 0.0}
    assert document["weightedDemand"] == {"wanted": 9.0, "servedAsIs": 0, "served": 5.0, "bound": 5.0}
    (gpu,) = document["nodes"][0]["gpus"]
    assert gpu["create"] == [{"profile": "4g.40gb", "start": 0}, {"profile": "3g.40gb", "start": 4}]


def test_the_page_shows_what_is_printed() -> None:
    page = (pathlib.Path(__file__).parents[4] / "docs/mig.md").read_text(encoding="utf-8")
    snapshot = page.split("```json\n")[1].split("```")[0]
    shown = page.split("--snapshot fleet.json\n")[1].split("```")[0]
    assert run_plan(snapshot).output == shown


def changed(path: str, value: object) -> dict[str, object]:
    """The snapshot with one value changed; the path is that of the error."""
    document: dict[str, object] = json.loads(json.dumps(SNAPSHOT))
    at: object = document
    *above, last = path.split(".")
    for part in above:
        at = at[int(part) if part.isdecimal() else part]  # type: ignore[index]
    at[int(last) if last.isdecimal() else last] = value  # type: ignore[index]
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param("{", "is not JSON", id="no JSON"),
        pytest.param({"demand": []}, "nodes: Field required", id="no nodes"),
        pytest.param(changed("nodes.0.device", "X9000"), "node n1: no device X9000", id="unknown device"),
        pytest.param(changed("nodes.0.device", "L40S"), "L40S cannot be cut", id="no MIG"),
        pytest.param(
            changed("nodes.0.device", "A30"), "GPU 0: A30 has no MIG profile 3g.39gb", id="of another"
        ),
        pytest.param(
            changed("nodes.0.gpus.0.instances.0.start", 3),
            "GPU 0: 3g.40gb may start at 0, 4, not at 3",
            id="start",
        ),
        pytest.param(changed("nodes.0.gpus.1.index", 0), "a GPU is named twice", id="same GPU"),
        pytest.param(changed("nodes.0.gpus.1.colour", "red"), "colour: Extra inputs", id="unknown field"),
        pytest.param(changed("demand.0.profile", "9g.1gb"), "demand.0: no device has", id="unknown profile"),
        pytest.param(changed("demand.0.class", "h999"), "no device class h999", id="unknown class"),
        pytest.param(changed("demand.0.memory", "1Gi"), "either profile or memory", id="both"),
        pytest.param(
            changed("demand.1.memory", "1Ti"), "no slice of the fleet has 1Ti", id="too much memory"
        ),
        pytest.param(changed("demand.1.memory", "much"), "memory much is no quantity", id="no quantity"),
        pytest.param(changed("demand.1.count", -1), "demand.1.count: Input should be", id="fewer than none"),
        pytest.param(changed("policy.horizonSeconds", 0), "policy.horizonSeconds", id="no horizon"),
    ],
)
def test_a_bad_snapshot_is_one_sentence(document: object, message: str) -> None:
    result = run_plan(document)
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.splitlines()) == 1


def test_without_highs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    assert "pip install 'gpufleet[planner]'" in run_plan(SNAPSHOT, "--exact").output
