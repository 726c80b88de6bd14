from __future__ import annotations

import pytest

from gpufleet.decide.mig import catalogue, devices, parse

MODELS = catalogue.default().models


@pytest.mark.parametrize(
    ("product", "name"),
    [
        pytest.param("NVIDIA-H100-80GB-HBM3", "H100-80GB-SXM", id="as GFD writes it"),
        pytest.param("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "A100-40GB", id="single strategy"),
        pytest.param("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb+me", "A100-80GB", id="single strategy, extension"),
        pytest.param("NVIDIA-H200-SHARED", "H200", id="time slicing"),
        pytest.param("NVIDIA-A30-MIG-INVALID", "A30", id="invalid single strategy"),
        pytest.param("NVIDIA-L40S", "L40S", id="no MIG"),
    ],
)
def test_a_product_label_names_its_model(product: str, name: str) -> None:
    model = catalogue.model_of_product(product)
    assert model is not None
    assert model.name == name


def test_an_unknown_product_is_nobody() -> None:
    assert catalogue.model_of_product("NVIDIA-X9000") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("h100", {"H100-80GB-SXM", "H100-80GB-PCIE", "H100-NVL"}, id="group"),
        pytest.param("h100-80gb", {"H100-80GB-SXM", "H100-80GB-PCIE"}, id="class"),
        pytest.param("a100", {"A100-40GB", "A100-80GB"}, id="group without export variants"),
        pytest.param("h200", {"H200"}, id="class of one model"),
        pytest.param("tpu", {"TPU-v5e", "TPU-v5p", "TPU-v6e"}, id="group of devices without MIG"),
        pytest.param("h999", set(), id="unknown"),
    ],
)
def test_a_class_names_its_models(name: str, expected: set[str]) -> None:
    assert {model.name for model in catalogue.models_of_class(name)} == expected


@pytest.mark.parametrize(
    ("device_class", "resource"),
    [
        ("l40s", "nvidia.com/gpu"),
        ("l4", "nvidia.com/gpu"),
        ("mi300x", "amd.com/gpu"),
        ("gaudi3", "habana.ai/gaudi"),
        ("trainium2", "aws.amazon.com/neuron"),
        ("tpu", "google.com/tpu"),
    ],
)
def test_devices_without_mig_are_classes_too(device_class: str, resource: str) -> None:
    models = catalogue.models_of_class(device_class)
    assert {(model.resource, model.is_mig_capable, model.profiles) for model in models} == {
        (resource, False, ())
    }


@pytest.mark.parametrize(
    ("model", "spelling", "name"),
    [
        pytest.param("A100-80GB", "3g.39gb", "3g.40gb", id="older driver"),
        pytest.param("GB200", "1g.24gb", "1g.23gb", id="GB200, one quarter TB in units"),
        pytest.param("GB200", "7g.189gb", "7g.186gb", id="GB200, whole"),
        pytest.param("H100-80GB-SXM", "1g.10gb+me", "1g.10gb+me", id="media extension"),
        pytest.param("RTX-PRO-6000", "1g.24gb-me", "1g.24gb-me", id="without media"),
    ],
)
def test_every_spelling_finds_the_profile(model: str, spelling: str, name: str) -> None:
    found = catalogue.profile(next(m for m in MODELS if m.name == model), spelling)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("profile", "resource"),
    [
        ("1g.10gb", "nvidia.com/mig-1g.10gb"),
        ("1g.10gb+me", "nvidia.com/mig-1g.10gb.me"),
        ("1g.24gb+me.all", "nvidia.com/mig-1g.24gb.me.all"),
        ("1g.24gb-me", "nvidia.com/mig-1g.24gb-me"),
    ],
)
def test_resource_names_follow_the_device_plugin(profile: str, resource: str) -> None:
    assert catalogue.resource_name(profile) == resource


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "cpu", "amd.com/gpu"])
def test_other_resources_are_no_profile(resource: str) -> None:
    assert catalogue.profile_of_resource(resource) is None


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_names_of_resources_and_profiles_are_inverse(model: devices.DeviceModel) -> None:
    for profile in model.profiles:
        assert catalogue.profile_of_resource(catalogue.resource_name(profile.name)) == profile.name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_figures_of_profiles_stay_within_the_device(model: devices.DeviceModel) -> None:
    names = [name for profile in model.profiles for name in (profile.name, *profile.other_names)]
    assert len(names) == len(set(names))
    for profile in model.profiles:
        assert 0 < profile.memory_mib <= model.memory_mib
        assert 0 < profile.multiprocessors <= model.multiprocessors
        per_unit = model.memory_mib / model.family.memory_units  # type: ignore[union-attr]
        assert profile.memory_mib <= per_unit * profile.shape.size * 1.01


def test_products_belong_to_one_model() -> None:
    products = [product for model in MODELS for product in model.products]
    assert len(products) == len(set(products))


def test_export_variants_inherit_their_profiles() -> None:
    by_name = {model.name: model for model in MODELS}
    assert by_name["A800-80GB"].profiles == by_name["A100-80GB"].profiles
    assert by_name["A800-80GB"].products != by_name["A100-80GB"].products


FAMILY = """
families:
  F:
    computeSlices: 1
    memoryUnits: 1
    mediaEngines: 0
    shapes: {1g: {compute: 1, size: %s, starts: [0], max: 1, gi: 0}}
models:
- {name: X, class: x, architecture: X, memoryMib: 1024, sm: 8, powerW: 1, family: %s,
   profiles: {1g: {names: [1g.1gb]}}}
"""


def test_a_model_is_added_by_data_alone() -> None:
    (model,) = parse.parse_models(FAMILY % (1, "F"))
    (profile,) = model.profiles
    assert (profile.name, profile.memory_mib, profile.multiprocessors, profile.is_estimate) == (
        "1g.1gb", 896, 8, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(FAMILY % (2, "F"), id="shape beyond the GPU"),
        pytest.param(FAMILY % (1, "G"), id="unknown family"),
        pytest.param("models: []", id="no families"),
        pytest.param("[]", id="not a mapping"),
    ],
)
def test_data_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(parse.CatalogueError):
        parse.parse_models(text)
