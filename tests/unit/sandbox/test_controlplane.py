"""The arguments of the control plane, where a wrong one would only show much later."""

from __future__ import annotations

import pytest
import yaml

from gpufleet_sandbox import controlplane, instance, state


def build_record(index=0, nodes=0):
    address = instance.Instance("x", index).bridge_ip if nodes else state.LOOPBACK
    ports = {name: 20000 + number for number, name in enumerate(state.PORT_NAMES)}
    return state.Record("x", index, nodes, 0, address, ports)


def read_flags(argv):
    return dict(word.removeprefix("--").partition("=")[::2] for word in argv)


@pytest.mark.parametrize(
    ("nodes", "address", "reconciler"),
    [
        pytest.param(0, "127.0.0.1", "none", id="loopback is no endpoint"),
        pytest.param(2, "10.250.0.1", "lease", id="pods reach the bridge"),
    ],
)
def test_apiserver_address(nodes, address, reconciler):
    flags = read_flags(controlplane.build_apiserver_argv(build_record(nodes=nodes)))

    assert (flags["bind-address"], flags["advertise-address"]) == (address, address)
    assert flags["endpoint-reconciler-type"] == reconciler


def test_apiserver_trusts_certificates_only():
    flags = read_flags(controlplane.build_apiserver_argv(build_record()))

    assert flags["anonymous-auth"] == "false"
    assert flags["authorization-mode"] == "Node,RBAC"
    assert "token-auth-file" not in flags
    assert flags["kubelet-certificate-authority"] == flags["client-ca-file"]


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(controlplane.build_controller_manager_argv, id="controller manager"),
        pytest.param(controlplane.build_scheduler_argv, id="scheduler"),
    ],
)
def test_controllers_have_the_rate_that_benchmarks_assume(build):
    flags = read_flags(build(build_record()))

    assert (flags["kube-api-qps"], flags["kube-api-burst"]) == ("200", "400")
    assert flags["bind-address"] == "127.0.0.1"


def test_components_of_one_sandbox_share_no_port():
    record = build_record()
    flags = [
        read_flags(build(record))
        for build in (
            controlplane.build_apiserver_argv,
            controlplane.build_controller_manager_argv,
            controlplane.build_scheduler_argv,
        )
    ]

    assert len({each["secure-port"] for each in flags}) == 3


def test_audit_policy_logs_metadata_once_per_request():
    policy = yaml.safe_load(controlplane.AUDIT_POLICY)

    assert policy["rules"] == [{"level": "Metadata"}]
    assert policy["omitStages"] == ["RequestReceived"]
