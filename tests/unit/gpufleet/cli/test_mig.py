"""`gpufleet mig layouts`, as people call it."""

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
