"""`gpufleet triton config` without a cluster."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gpufleet.cli import main
from tests import builders_api

ROOT = pathlib.Path(__file__).parents[4]
EXAMPLES = [path for path in ROOT.glob("examples/**/*.yaml") if "kind: TritonService" in path.read_text()]


def run(*args: str, given: Any = None) -> Result:
    documents = given if isinstance(given, str) else yaml.safe_dump_all(given or [])
    return CliRunner().invoke(main.main, ["triton", "config", "-", *args], input=documents)


SERVICE = builders_api.make_service(models=[{"name": "a", "maxBatchSize": 4}, {"name": "b"}])


def test_every_model_is_shown() -> None:
    found = run(given=[SERVICE])
    assert found.exit_code == 0, found.output
    assert "# default/vision: a/config.pbtxt" in found.output
    assert "max_batch_size: 4" in found.output
    assert "nothing is said of b" in found.output


def test_one_model_alone_is_a_config_file() -> None:
    found = run("--model", "a", given=[SERVICE])
    assert found.output == 'name: "a"\nmax_batch_size: 4\n\n'


@pytest.mark.parametrize(
    ("given", "args", "words"),
    [
        pytest.param([], [], ["holds no TritonService"], id="nothing"),
        pytest.param("a: [", [], ["is not YAML"], id="no YAML"),
        pytest.param([builders_api.make_training_job()], [], ["holds no TritonService"], id="another kind"),
        pytest.param([SERVICE], ["--model", "c"], ["no model c", "a, b"], id="no such model"),
        pytest.param(
            yaml.safe_dump(SERVICE).replace("name: a\n", "name: Y\n"),
            [],
            ["spec.models.0.name: Input should be a valid string"],
            id="a boolean to kubectl",
        ),
        pytest.param(
            [builders_api.make_service(models=[{"name": "a", "maxBatchSize": "many"}])],
            [],
            ["TritonService vision is invalid", "spec.models.0.maxBatchSize"],
            id="a field of the wrong type",
        ),
        pytest.param(
            [
                builders_api.make_service(
                    models=[
                        {"name": "a", "batching": {}},
                        {"name": "b", "decoupled": True, "responseCache": True},
                    ]
                )
            ],
            [],
            [
                "Triton would refuse",
                "vision: spec.models[a].batching",
                "vision: spec.models[b].responseCache is not for decoupled",
                "spec.template.responseCacheSize",
            ],
            id="all that Triton would refuse, at once",
        ),
    ],
)
def test_what_is_wrong_is_said(given: Any, args: list[str], words: list[str]) -> None:
    found = run(*args, given=given)
    assert found.exit_code == 1
    assert [word for word in words if word not in found.output] == []


@pytest.mark.parametrize(
    ("context", "wanted"),
    [
        pytest.param({"namespace": "team-a"}, "team-a/vision", id="the context's"),
        pytest.param({}, "default/vision", id="a context without one"),
    ],
)
def test_diff_looks_where_kubectl_would_apply(
    context: dict[str, str], wanted: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
    asked: list[str] = []

    def read(namespace: str, name: str) -> dict[str, Any]:
        asked.append(f"{namespace}/{name}")
        return {}

    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config")
    )
    monkeypatch.setattr("gpufleet.cli.triton._read_running", read)
    service = {**SERVICE, "metadata": {"name": "vision"}}
    assert run("--diff", given=[service]).exit_code == 0
    assert asked == [wanted]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in EXAMPLES])
def test_triton_would_take_every_example(path: pathlib.Path) -> None:
    found = CliRunner().invoke(main.main, ["triton", "config", str(path)])
    assert found.exit_code == 0, found.output
