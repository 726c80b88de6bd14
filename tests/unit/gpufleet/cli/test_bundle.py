from __future__ import annotations

import json
import pathlib
import stat
import tarfile
from typing import Any

import pytest

from gpufleet.cli import bundle, sources
from tests import builders_api
from tests.unit.gpufleet.cli import wires
from tests.unit.gpufleet.cli.wires import PROXY

SECRET = "hunter2-Tr0ub4dor"
GROUP = "/apis/gpufleet.dev/v1alpha1"
PODS = "/api/v1/namespaces/gpufleet-system/pods"
NODE = {
    "metadata": {"name": "n", "labels": {"a": "b"}, "annotations": {"x.example/y": SECRET}, "uid": "u"},
    "spec": {"podCIDR": "10.0.0.0/24", "taints": [{"key": "k"}]},
    "status": {"allocatable": {"cpu": "1"}, "images": [{"names": ["i"]}]},
}
JOB = builders_api.make_training_job(
    template={"image": "i", "command": ["t"], "env": [{"name": "WANDB_API_KEY", "value": SECRET}]}
)


class Cluster(wires.Answers):
    """As it is; answers are found without their query too."""

    def get(self, url: str) -> tuple[int, bytes]:
        if "/log?" in url and "previous=true" in url:
            return 400, b'{"kind": "Status", "message": "previous terminated container not found"}'
        return super().get(url.partition("?")[0])


ANSWERS: dict[str, Any] = {
    f"{PROXY}/about": wires.ABOUT,
    f"{PROXY}/snapshot": {"jobs": [JOB], "pods": [{"message": f"it said {SECRET}"}]},
    f"{GROUP}/trainingjobs": {"items": [JOB]},
    "/api/v1/nodes": {"items": [NODE]},
    PODS: {"items": [{"metadata": {"name": "gpufleet-1"}}]},
    f"{PODS}/gpufleet-1/log": f'{{"message": "a job failed with {SECRET}"}}\n'.encode(),
    "/version": b"<html>",
}


def gather(answers: dict[str, Any]) -> bundle.Bundle:
    return bundle.gather(sources.Sources(Cluster(answers).get))


def test_a_planted_secret_is_in_no_file() -> None:
    texts = dict(gather(ANSWERS).texts())
    assert {"operator/snapshot.json", "objects/trainingjobs.json", "logs/gpufleet-1.log"} <= set(texts)
    assert "WANDB_API_KEY" in texts["objects/trainingjobs.json"]
    assert "a job failed with [removed]" in texts["logs/gpufleet-1.log"]
    assert [name for name, text in texts.items() if SECRET in text] == []


def test_what_is_missing_says_why() -> None:
    missing = json.loads(dict(gather(ANSWERS).texts())["missing.json"])
    assert "not found" in missing["objects/gpupools.json"]
    assert "no JSON" in missing["cluster/version.json"]
    assert "previous terminated" in missing["logs/gpufleet-1.previous.log"]


def test_of_nodes_what_placement_goes_by() -> None:
    [node] = gather(ANSWERS).files["cluster/nodes.json"]
    assert (node["labels"], node["annotations"], node["spec"]) == ({"a": "b"}, {}, {"taints": [{"key": "k"}]})
    assert "images" not in node["status"]


def test_without_any_answer_there_is_nothing() -> None:
    found = bundle.gather(sources.Sources(wires.silent))
    assert found.files == {}
    assert set(found.missing.values()) == {"the API server does not answer"}


def test_the_archive(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "b.tar.gz"
    found = gather(ANSWERS)
    bundle.write(found, path, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert "b/missing.json" in archive.getnames()
        assert all(name.startswith("b/") for name in archive.getnames())
    with pytest.raises(FileExistsError):
        bundle.write(found, path, 0)
