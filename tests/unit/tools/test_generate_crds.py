"""The generator writes what is missing, removes what is left over, and --check tells both."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from tools import generate_crds


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(generate_crds, "FOLDERS", (tmp_path / "crds",))
    return tmp_path / "crds"


def test_written_files_are_manifests_and_in_date(folder: pathlib.Path) -> None:
    generate_crds.write(generate_crds.render())
    assert generate_crds.differing(generate_crds.render()) == []
    kinds = {yaml.safe_load(path.read_text())["spec"]["names"]["kind"] for path in folder.iterdir()}
    assert kinds == {"TritonService", "TrainingJob", "GPUPool", "ModelProfile"}


@pytest.mark.parametrize("name", ["gpupools.gpufleet.dev.yaml", "old.yaml"])
def test_changed_and_left_over_files_are_found_and_repaired(folder: pathlib.Path, name: str) -> None:
    generate_crds.write(generate_crds.render())
    (folder / name).write_text("changed")
    assert generate_crds.differing(generate_crds.render()) == [folder / name]
    generate_crds.write(generate_crds.render())
    assert generate_crds.differing(generate_crds.render()) == []
