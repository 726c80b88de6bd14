"""`gpufleet mig discover` and `gpufleet mig claim`, as people call them."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from click import testing

from gpufleet.cli import main
from tests.unit.gpufleet.decide.mig import test_discovery as generated

SPELT = {"1g.7gb": 4, "2g.12gb": 2, "4g.24gb": 1}
NEW = ("--new", "Z1", "--like", "A30", "--product", "NVIDIA-Z1")


def run(*argv: str, stdin: str | None = None) -> testing.Result:
    return testing.CliRunner().invoke(main.main, ["mig", *argv], input=stdin)


def discover(*argv: str, counts: dict[str, int], pci_id: str = "") -> testing.Result:
    return run("discover", "--config", "-", *argv, stdin=generated.config((pci_id, counts)))


@pytest.mark.parametrize(
    ("argv", "device"),
    [
        pytest.param(("--device", "A30"), "A30", id="another spelling"),
        pytest.param(NEW, "NVIDIA-Z1", id="a new device"),
    ],
)
def test_what_is_found_is_a_catalogue_for_the_other_commands(
    tmp_path: pathlib.Path, argv: tuple[str, ...], device: str
) -> None:
    found = discover(*argv, counts=SPELT)
    assert found.exit_code == 0, found.output
    file = tmp_path / "mine.yaml"
    file.write_text(found.output)
    shown = run("layouts", "--device", device, "--catalogue", str(file), "--profiles", "1g.7gb", "--count")
    assert shown.output.split()[:2] == ["layouts", "15"]


def test_nothing_new_is_a_catalogue_too() -> None:
    assert yaml.safe_load(discover(counts=generated.A30, pci_id="20B7").output) == {"models": []}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param((), "give the model's name", id="no device"),
        pytest.param(("--new", "Z1"), "--new and --like go together", id="like what"),
        pytest.param(
            ("--new", "Z1", "--like", "A30", "--product", "NVIDIA-A30"), "is A30 already", id="taken"
        ),
    ],
)
def test_what_is_lacking_is_said(argv: tuple[str, ...], said: str) -> None:
    found = discover(*argv, counts=SPELT)
    assert found.exit_code != 0
    assert said in found.output


def test_a_name_is_of_no_use_where_pci_ids_tell() -> None:
    text = generated.config(("20B7", generated.A30), ("2330", generated.H100))
    assert "several kinds" in run("discover", "--config", "-", "--device", "A30", stdin=text).output


def test_a_claim_with_what_a_pod_says() -> None:
    found = run("claim", "--profile", "1g.6gb", "--device", "A30", "--name", "small", "-n", "team-a")
    template, rest = found.output.split("---\n")
    wanted = yaml.safe_load(template)
    assert (wanted["kind"], wanted["metadata"]["namespace"]) == ("ResourceClaimTemplate", "team-a")
    assert "NVIDIA-A30" in template
    assert "# - name: slice" in rest.replace("#   ", "# ")
    assert "resourceClaimTemplateName: small" in rest


def test_a_claim_for_what_the_device_lacks() -> None:
    found = run("claim", "--profile", "9g.9gb", "--device", "A30", "--name", "x")
    assert "there are 1g.6gb" in found.output
