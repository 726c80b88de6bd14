from __future__ import annotations

import pytest

from gpufleet.simgpu import main
from gpufleet.simgpu import settings as settings_


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUFLEET_SIMGPU_NODE_NAME", "node-a")
    monkeypatch.setenv("GPUFLEET_SIMGPU_COUNT", "4")
    settings = settings_.Settings()  # type: ignore[call-arg]
    assert (settings.node_name, settings.count, settings.model) == ("node-a", 4, "NVIDIA-H100-80GB-HBM3")


@pytest.mark.parametrize(
    "change",
    [{"count": -1}, {"count": 17}, {"mig_strategy": "none"}, {"poll_s": 0.0}],
    ids=lambda change: next(iter(change)),
)
def test_settings_that_cannot_work_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        settings_.Settings(node_name="node-a", **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        pytest.param(None, ("NVIDIA-H100-80GB-HBM3", 2), id="settings"),
        pytest.param("NVIDIA-A100-SXM4-40GB=8", ("NVIDIA-A100-SXM4-40GB", 8), id="annotation"),
        pytest.param("NVIDIA-L4=0", ("NVIDIA-L4", 0), id="none"),
    ],
)
def test_a_nodes_annotation_overrides_model_and_count(
    annotation: str | None, expected: tuple[str, int]
) -> None:
    assert main.read_wanted_gpus(annotation, settings_.Settings(node_name="node-a")) == expected


@pytest.mark.parametrize("annotation", ["", "NVIDIA-L4", "NVIDIA-L4=", "NVIDIA-L4=many", "NVIDIA-L4=99"])
def test_an_annotation_in_another_form_is_refused_with_the_form(annotation: str) -> None:
    with pytest.raises(ValueError, match="is not <product>=<0 to 16>"):
        main.read_wanted_gpus(annotation, settings_.Settings(node_name="node-a"))
