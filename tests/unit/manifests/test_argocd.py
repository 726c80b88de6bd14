"""The health script as Argo CD runs it: Lua with the object as `obj`, on statuses that gpufleet writes."""

from __future__ import annotations

from typing import Any

import lupa.lua51
import pytest
import yaml

from gpufleet.api import meta, reasons
from gpufleet.decide import status as statuses
from tests import builders
from tools import generate_manifests

FOLDER = generate_manifests.MANIFESTS / "argocd"
GENERATION = 3
MOVING = (reasons.ROLLOUT_IN_PROGRESS, "waiting for pods")
STUCK = (reasons.NO_MATCHING_ACCELERATOR, "no node has it")
MAIN = {"TrainingJob": reasons.SUCCEEDED}


def build(kind: str, verdict: statuses.Verdict | None, *, observed: int = GENERATION, **spec: Any) -> Any:
    """The object as the API server shows it."""
    metadata = meta.ObjectMeta(name="x", uid="u", generation=GENERATION)
    status: dict[str, Any] = {}
    if verdict is not None:
        main = MAIN.get(kind, reasons.READY)
        told = statuses.build_conditions(metadata, [], main, verdict, builders.NOW)
        status = {"observedGeneration": observed, "conditions": [one.to_wire() for one in told]}
    shown = {
        "apiVersion": meta.API_VERSION,
        "kind": kind,
        "metadata": {"name": "x", "generation": GENERATION},
    }
    return {**shown, "spec": spec, **({"status": status} if status else {})}


def judge(shown: dict[str, Any], script: str) -> tuple[str, str]:
    """Status and message. Argo CD's Lua is 5.1 without the standard library's reach."""
    lua = lupa.lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(shown, recursive=True)
    found = lua.execute(script)
    return found["status"], found["message"]


def well(is_well: bool | None, reason: str = "Because", **more: Any) -> statuses.Verdict:
    return statuses.Verdict(is_well, reason, "so it is", **more)


@pytest.mark.parametrize(
    ("shown", "expected", "words"),
    [
        pytest.param(build("TritonService", None), "Progressing", "not seen", id="nothing said yet"),
        pytest.param(
            build("TritonService", well(True), observed=2), "Progressing", "not seen", id="an old generation"
        ),
        pytest.param(build("TritonService", well(True)), "Healthy", "so it is", id="a service serves"),
        pytest.param(
            build("TritonService", well(True, reconciling=MOVING)),
            "Progressing",
            "waiting",
            id="it rolls out",
        ),
        pytest.param(
            build("TritonService", well(False, reconciling=MOVING)), "Progressing", "waiting", id="it starts"
        ),
        pytest.param(
            build("TritonService", well(True, stalled=STUCK)), "Degraded", "no node", id="it serves, stuck"
        ),
        pytest.param(build("TritonService", well(False)), "Degraded", "so it is", id="it does not serve"),
        pytest.param(
            build("TritonService", well(False, reasons.SCALED_TO_ZERO)),
            "Suspended",
            "so it is",
            id="it sleeps",
        ),
        pytest.param(
            build("TritonService", well(False, reasons.SCALED_TO_ZERO, stalled=STUCK)),
            "Degraded",
            "no node",
            id="it has no servers, and cannot have any",
        ),
        pytest.param(
            build("TrainingJob", well(None, reconciling=MOVING)), "Progressing", "waiting", id="a gang starts"
        ),
        pytest.param(build("TrainingJob", well(None)), "Progressing", "so it is", id="a gang runs"),
        pytest.param(
            build("TrainingJob", well(None), suspend=True), "Suspended", "so it is", id="a gang is suspended"
        ),
        pytest.param(
            build("TrainingJob", well(None, stalled=STUCK)), "Degraded", "no node", id="a gang cannot start"
        ),
        pytest.param(build("TrainingJob", well(True)), "Healthy", "so it is", id="a gang has succeeded"),
        pytest.param(
            build("TrainingJob", well(True), suspend=True), "Healthy", "so it is", id="suspended too late"
        ),
        pytest.param(build("TrainingJob", well(False)), "Degraded", "so it is", id="a gang has failed"),
        pytest.param(build("GPUPool", well(True)), "Healthy", "so it is", id="a pool has nodes"),
        pytest.param(build("GPUPool", well(False)), "Degraded", "so it is", id="a pool has none"),
    ],
)
def test_health(shown: dict[str, Any], expected: str, words: str) -> None:
    status, message = judge(shown, (FOLDER / "health.lua").read_text())
    assert (status, words in message) == (expected, True), message


def test_the_config_map_has_the_script_for_every_kind_with_a_status() -> None:
    [patch] = yaml.safe_load_all((FOLDER / "argocd-cm.yaml").read_text())
    prefix = f"resource.customizations.health.{meta.GROUP}_"
    assert {key.removeprefix(prefix) for key in patch["data"]} == {"TritonService", "TrainingJob", "GPUPool"}
    for script in patch["data"].values():
        assert judge(build("GPUPool", well(True)), script)[0] == "Healthy"
