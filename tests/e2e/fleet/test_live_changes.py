"""Edits of a running model: instances come live, anything else by a reload behind the copy that serves."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet_sandbox import inference, kubectl
from tests.e2e.fleet import manifests, services

TIMEOUT_S = 150
AT_ONCE = 4


def ask(address: str) -> set[float]:
    """When the instances were made that answer several requests at once."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        found = [pool.submit(inference.infer, address, "stamp", "X", [0.0] * 4) for _ in range(2 * AT_ONCE)]
        return {one.result()[0] for one in found}


def edit(fleet: kubectl.Kubectl, namespace: str, **changes: Any) -> None:
    services.apply(fleet, manifests.service(namespace, services.NAME, [manifests.model("stamp", **changes)]))


@pytest.fixture
def stamping(fleet: kubectl.Kubectl, serving: str) -> Iterator[str]:
    """The address of a service with the model that tells its instances apart."""
    edit(fleet, serving)
    kubectl.wait_until(
        "stamp alone", lambda: services.models(fleet, serving) == {"stamp": "Ready"}, timeout_s=TIMEOUT_S
    )
    with inference.forward(fleet, serving, f"svc/{services.NAME}", 8000) as address:
        yield address


def test_more_instances_come_without_a_reload(fleet: kubectl.Kubectl, serving: str, stamping: str) -> None:
    before = ask(stamping)
    assert len(before) == 1
    edit(fleet, serving, instanceGroups=[{"kind": "CPU", "count": 2}])
    answers: list[set[float]] = []

    def has_two() -> bool:
        answers.append(ask(stamping))
        return len(answers[-1]) == 2

    kubectl.wait_until("two instances", has_two, timeout_s=TIMEOUT_S)
    assert before < answers[-1], "the instance that was there goes on"


def test_a_reload_fails_no_request(fleet: kubectl.Kubectl, serving: str, stamping: str) -> None:
    before = ask(stamping)
    edit(fleet, serving, maxBatchSize=4)
    # `ask` raises where a single request fails, and wait_until would swallow it.
    for _ in range(TIMEOUT_S * 20):
        if before.isdisjoint(ask(stamping)):
            return
    pytest.fail("the new copy never answered")
