"""A kind is uninstalled under the operator and installed again.

How long it takes depends on Kubernetes' garbage collector, which learns of kinds every half minute.
"""

from __future__ import annotations

import json
import pathlib

from tests import builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process
from tests.integration.operator.conftest import served, team
from tests.integration.operator.test_flows import NAME, has_condition, operator, serving

__all__ = ["operator", "served", "serving", "team"]
CRDS = pathlib.Path(__file__).parents[3] / "crds"


def test_the_kind_may_go_and_come_back(served: Cluster, serving: str, operator: process.Operator) -> None:
    served.kubectl("delete", "crd", "tritonservices.gpufleet.dev")
    served.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    served.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    again = json.dumps(builders_api.make_service(NAME, serving))
    process.wait_for(
        "the object taken",
        lambda: served.try_kubectl("apply", "--server-side", "-f", "-", input=again).returncode == 0,
        60,
    )
    if not operator.is_running:
        operator.start().wait_ready()
    process.wait_for("a Ready service", has_condition(served, serving, "tsvc", NAME, Ready="True"), 300)
