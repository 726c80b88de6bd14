"""manifests/ is the chart, and what docs/install.md says of it for kustomize works."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
import yaml

from gpufleet_sandbox import binaries
from tests.unit.charts import rendering
from tools import generate_manifests

ROOT = generate_manifests.ROOT


def kustomize(folder: pathlib.Path) -> list[rendering.Object]:
    argv = [str(binaries.ensure("kubectl")), "kustomize", str(folder)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [one for one in yaml.safe_load_all(result.stdout) if one]


def by_name(objects: list[rendering.Object]) -> dict[tuple[str, str], rendering.Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def test_the_files_are_in_date() -> None:
    for path, text in generate_manifests.build().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run `make manifests`"


def test_kustomize_builds_what_helm_renders() -> None:
    built = by_name(kustomize(generate_manifests.MANIFESTS))
    rendered = by_name([one for one in rendering.render() if one["kind"] != "Pod"])
    assert built.keys() == rendered.keys() | {("Namespace", rendering.NAMESPACE)}
    for key, one in rendered.items():
        for part in ("spec", "rules", "roleRef", "subjects", "automountServiceAccountToken"):
            if (one["kind"], part) != ("Deployment", "spec"):
                assert built[key].get(part) == one.get(part), key
    [ours, theirs] = (found[("Deployment", "gpufleet")]["spec"] for found in (built, rendered))
    assert ours["selector"] == theirs["selector"]
    assert ours["template"]["spec"] == theirs["template"]["spec"]


def test_nothing_of_helm_is_left() -> None:
    for path in generate_manifests.build():
        assert "helm.sh" not in path.read_text(), path
        assert "managed-by: Helm" not in path.read_text(), path


def test_the_kinds_are_listed_for_kustomize() -> None:
    folder = rendering.CHART / "files" / "crds"
    listed = yaml.safe_load((folder / "kustomization.yml").read_text())["resources"]
    assert listed == sorted(path.name for path in folder.glob("*.yaml"))


@pytest.fixture
def overlay(tmp_path: pathlib.Path) -> pathlib.Path:
    """The page's own kustomization beside a copy of the manifests."""
    [text] = re.findall(
        r"```yaml\n(# kustomization\.yaml\n.*?)```", (ROOT / "docs" / "install.md").read_text(), re.S
    )
    # The base reaches its CRDs by a path of the repository.
    for name in ("manifests", "charts"):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text.replace("[manifests", "[../manifests"))
    return folder


def test_an_image_of_ones_own_reaches_the_model_agents(overlay: pathlib.Path) -> None:
    built = by_name(kustomize(overlay))
    pod = rendering.pod_of(built[("Deployment", "gpufleet")])
    assert pod["spec"]["containers"][0]["image"] == "registry.example/gpufleet:0.1.0"
    assert rendering.environment(pod)["GPUFLEET_AGENT_IMAGE"] == "registry.example/gpufleet:0.1.0"
    agent = rendering.pod_of(built[("DaemonSet", "gpufleet-node-agent")])
    assert agent["spec"]["containers"][0]["image"] == "registry.example/gpufleet:0.1.0"


def test_components_are_what_their_values_add() -> None:
    for part, values in generate_manifests.PARTS.items():
        text = (generate_manifests.MANIFESTS / part / f"{part}.yaml").read_text()
        found = {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(text)}
        assert (
            found
            == by_name(list(rendering.render(*values))).keys() - by_name(list(rendering.render())).keys()
        )
