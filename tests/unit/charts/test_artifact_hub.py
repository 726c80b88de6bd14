"""What Artifact Hub shows of the chart agrees with the models and the defaults."""

from __future__ import annotations

from typing import Any

import yaml

from gpufleet import settings
from gpufleet.api import crd, meta
from tests.unit.charts import rendering

ANNOTATIONS: dict[str, str] = yaml.safe_load((rendering.CHART / "Chart.yaml").read_text())["annotations"]


def read(name: str) -> Any:
    return yaml.safe_load(ANNOTATIONS[f"artifacthub.io/{name}"])


def test_every_kind_is_listed_with_its_description() -> None:
    listed = {one["kind"]: one for one in read("crds")}
    assert listed.keys() == {kind.kind for kind in crd.KINDS}
    for kind in crd.KINDS:
        found = listed[kind.kind]
        assert (found["name"], found["version"]) == (kind.name, meta.VERSION)
        [version] = rendering.find("CustomResourceDefinition", kind.name)["spec"]["versions"]
        assert found["description"] == version["schema"]["openAPIV3Schema"]["description"]


def test_every_kind_that_people_write_has_an_example_that_parses() -> None:
    written = {kind.kind: kind for kind in crd.KINDS if not kind.is_record}
    examples = read("crdsExamples")
    assert {one["kind"] for one in examples} == written.keys()
    for one in examples:
        one["metadata"]["uid"] = "u"
        written[one["kind"]].model.model_validate(one)


def test_images_are_those_that_are_installed() -> None:
    defaults = settings.Settings()
    assert {one["image"] for one in read("images")} == {defaults.agent_image, defaults.triton_image}


def test_changes_are_of_kinds_that_artifact_hub_knows() -> None:
    kinds = {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert all(one["kind"] in kinds and one["description"] for one in read("changes"))
