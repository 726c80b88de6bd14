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


NEW_GPU = """
families:
  F3:
    computeSlices: 3
    memoryUnits: 3
    mediaEngines: 0
    shapes: {1g: {compute: 1, size: 1, starts: [0, 1, 2], max: 3, gi: 9}}
models:
- {name: Y1, class: y1, architecture: Y, family: F3, products: [NVIDIA-Y1], memoryMib: 30720, sm: 30,
   powerW: 1, profiles: {1g: {names: [1g.10gb]}}}
"""
SPELLING = """
models:
- {name: A100-80GB, profiles: {3g: {names: [3g.39gb, 3g.40gb]}}}
"""


def test_an_override_adds_a_family_and_a_model() -> None:
    found = catalogue.extended(NEW_GPU)
    model = catalogue.model_of_product("NVIDIA-Y1", found)
    assert model is not None
    assert (model.name, [profile.name for profile in model.profiles]) == ("Y1", ["1g.10gb"])
    assert found.models[: len(MODELS)] == MODELS


def test_an_override_changes_only_what_it_names() -> None:
    changed = {model.name: model for model in catalogue.extended(SPELLING).models}
    profiles = {profile.shape.key: profile for profile in changed["A100-80GB"].profiles}
    assert profiles["3g"].name == "3g.39gb"
    assert profiles["3g"].memory_mib == 40192
    assert profiles["4g"].name == "4g.40gb"
    assert changed["H100-80GB-SXM"] == next(model for model in MODELS if model.name == "H100-80GB-SXM")


def test_the_last_override_wins_and_null_removes() -> None:
    without = "models: [{name: A100-80GB, profiles: {1gx2: null}}]"
    found = {model.name: model for model in catalogue.extended(NEW_GPU, SPELLING, without).models}
    assert "1g.20gb" not in found["A100-80GB"].profiles_by_name
    assert "3g.39gb" in found["A100-80GB"].profiles_by_name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("models: [{name: Z, class: z}]", "model Z: .*architecture", id="a field is missing"),
        pytest.param("models: [{name: L4, colour: red}]", "model L4: colour is no field", id="a typo"),
        pytest.param(
            "models: [{name: L4, products: [NVIDIA-L40S]}]",
            "NVIDIA-L40S is L4 already",
            id="a product of two models",
        ),
        pytest.param("models: [{class: z}]", "'name'", id="no name"),
        pytest.param("colours: {}", "colours is unknown", id="unknown section"),
        pytest.param("families: {A7: {memoryUnits: 4}}", "beyond 4 memory units", id="contradiction"),
        pytest.param("{", "not YAML", id="no YAML"),
        pytest.param("7", "not a mapping", id="a number"),
    ],
)
def test_a_bad_override_is_refused_with_the_entry(override: str, message: str) -> None:
    with pytest.raises(parse.CatalogueError, match=message):
        catalogue.extended(override)


def test_an_empty_override_changes_nothing() -> None:
    assert catalogue.extended("{}").models == MODELS
