from __future__ import annotations

from typing import Any

from gpufleet.api import model_profile
from gpufleet.observe import profiles, store


def make(name: str, version: str, alpha: float = 20_000.0, **spec: Any) -> dict[str, Any]:
    """A ModelProfile of model `name` that the service with UID `s` owns."""
    point = {"count": 9, "meanMicroseconds": 25_000}
    whole = {
        "service": "vision",
        "model": name,
        "hardware": "cpu",
        "measuredAt": "2030-01-01T00:00:00Z",
        "points": [{"batchSize": 1, **point}, {"batchSize": 4, **point}],
        "fit": {"alphaMicroseconds": alpha, "betaMicroseconds": 5_000.0, "rSquared": 1.0, "error": 0.0},
        **spec,
    }
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": version}
    return {"kind": model_profile.KIND, "metadata": metadata, "spec": whole}


def hold(*raws: dict[str, Any]) -> store.Store[store.Raw]:
    held: store.Store[store.Raw] = store.Store(lambda raw: raw, lambda _: iter(("s",)))
    for raw in raws:
        held.put(raw)
    return held


def test_profiles_are_found_by_owner_and_model() -> None:
    found = profiles.Profiles(hold(make("m", "1"), make("n", "1"))).read(["s", "other"])
    assert {owner: [one.model for one in of] for owner, of in found.items()} == {"s": ["m", "n"]}


def test_one_that_does_not_parse_is_left_out() -> None:
    assert profiles.Profiles(hold(make("m", "1"), make("n", "1", points=[]))).read(["s"]).keys() == {"s"}


def test_a_change_is_read_and_the_rest_is_kept() -> None:
    held = hold(make("m", "1"), make("n", "1"))
    read = profiles.Profiles(held)
    first = read.read(["s"])["s"]
    held.put(make("m", "2", alpha=30_000.0))
    second = read.read(["s"])["s"]
    assert second[0].fit.alpha_microseconds == 30_000.0
    assert second[1] is first[1]
