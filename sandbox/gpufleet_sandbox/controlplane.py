"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes of this machine."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable

from gpufleet_sandbox import apiclient, certs, kubeconfig, processes, state

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""
# What the benchmarks assume; the defaults (20 and 30) would throttle a thousand Deployments.
_CLIENT_RATE = ("--kube-api-qps=200", "--kube-api-burst=400")
_COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_POLL_S = 0.1
_KUBELET_CLIENT = "kube-apiserver-kubelet-client"


@dataclasses.dataclass(frozen=True)
class ControlPlane:
    """The control plane of one sandbox."""

    record: state.Record

    @property
    def directory(self) -> pathlib.Path:
        return self.record.instance.directory

    @property
    def authority(self) -> certs.Authority:
        return certs.Authority(self.directory / "pki")

    @property
    def audit_log(self) -> pathlib.Path:
        return self.directory / "audit.log"

    def up(self, timeout_s: float = 120.0) -> None:
        """Returns when the API server is ready, both controllers are healthy and pods can be admitted.

        Raises processes.StartError, with the end of the log, when a component ends or is late.
        """
        self._write_files()
        self._start("etcd", build_etcd_argv(self.record))
        self._start_apiserver()
        self._wait_for("kube-apiserver", self._is_ready, timeout_s)
        self._start("kube-controller-manager", build_controller_manager_argv(self.record))
        self._start("kube-scheduler", build_scheduler_argv(self.record))
        self._authorize_apiserver()
        self._wait_for("kube-scheduler", lambda: self._is_healthy("kube-scheduler"), timeout_s)
        self._wait_for("kube-controller-manager", self._has_default_service_account, timeout_s)

    def down(self) -> None:
        """Ends everything for good; etcd last, or the API server would wait for it.

        Nothing that they hold outlives the sandbox, so nobody waits for watches to end.
        """
        for name in reversed(_COMPONENTS):
            if process := processes.load(name, self.directory):
                process.kill()

    def restart_apiserver(self, *, outage_s: float = 0.0, timeout_s: float = 60.0) -> None:
        """Kills the API server as a crash would, waits `outage_s` and starts it again."""
        if process := processes.load("kube-apiserver", self.directory):
            process.kill()
        time.sleep(outage_s)
        self._start_apiserver()
        self._wait_for("kube-apiserver", self._is_ready, timeout_s)

    def components(self) -> dict[str, bool]:
        """Name → whether it runs."""
        found = {name: processes.load(name, self.directory) for name in _COMPONENTS}
        return {name: process is not None and process.is_alive() for name, process in found.items()}

    def write_kubeconfig(self, name: str, pair: certs.Pair) -> pathlib.Path:
        """`<name>.kubeconfig` in the sandbox's directory, for the holder of `pair`."""
        path = self.directory / f"{name}.kubeconfig"
        context = f"gpufleet-{self.record.name}"
        return kubeconfig.write(path, self.record.server, self.authority.certificate, pair, context=context)

    def _write_files(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "audit-policy.yaml").write_text(AUDIT_POLICY)
        authority = self.authority
        sandbox = self.record.instance
        names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        hosts = [*names, "localhost", state.LOOPBACK, self.record.address, sandbox.kubernetes_ip]
        authority.issue_serving("kube-apiserver", "kube-apiserver", hosts)
        for name in ("kube-controller-manager", "kube-scheduler"):
            authority.issue_serving(f"{name}-serving", name, ["localhost", state.LOOPBACK])
            self.write_kubeconfig(name, authority.issue_client(name, f"system:{name}"))
        authority.issue_client(_KUBELET_CLIENT, _KUBELET_CLIENT)
        authority.issue_signing_key("service-accounts")
        self.write_kubeconfig("admin", authority.issue_client("admin", "admin", ["system:masters"]))

    def _start_apiserver(self) -> None:
        self._start("kube-apiserver", build_apiserver_argv(self.record))

    def _start(self, name: str, arguments: list[str]) -> None:
        processes.start(name, [self.record.programs[name], *arguments], self.directory)

    def _wait_for(self, name: str, is_done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_done():
            self._check(name)
            if time.monotonic() > deadline:
                end = processes.tail(processes.log_path(name, self.directory), 15)
                raise processes.StartError(
                    f"{name} was not ready after {timeout_s:.0f} s; the end of its log:\n{end}"
                )
            time.sleep(_POLL_S)

    def _check(self, name: str) -> None:
        for component in ("etcd", "kube-apiserver", name):
            if process := processes.load(component, self.directory):
                process.check()

    def _is_ready(self) -> bool:
        return self._answers("/readyz")

    def _has_default_service_account(self) -> bool:
        return self._answers("/api/v1/namespaces/default/serviceaccounts/default")

    def _is_healthy(self, name: str) -> bool:
        server = f"https://{state.LOOPBACK}:{self.record.ports[name]}"
        config = self.directory / f"{name}-health.kubeconfig"
        pair = self.authority.issue_client("admin", "admin", ["system:masters"])
        kubeconfig.write(config, server, self.authority.certificate, pair)
        return self._answers("/healthz", config)

    def _answers(self, path: str, config: pathlib.Path | None = None) -> bool:
        try:
            with apiclient.ApiClient(config or self.record.instance.kubeconfig, timeout_s=3.0) as client:
                client.get(path)
        except (OSError, apiclient.ApiError):
            return False
        return True

    def _authorize_apiserver(self) -> None:
        """Lets the API server reach kubelets for logs, exec and port-forward."""
        name = "gpufleet-sandbox:kubelet-api"
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:kubelet-api-admin",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": _KUBELET_CLIENT}],
        }
        with apiclient.ApiClient(self.record.instance.kubeconfig) as client:
            client.apply(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}", binding)


def build_etcd_argv(record: state.Record) -> list[str]:
    client = f"http://{state.LOOPBACK}:{record.ports['etcd']}"
    peer = f"http://{state.LOOPBACK}:{record.ports['etcd-peer']}"
    return [
        f"--data-dir={record.instance.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def build_apiserver_argv(record: state.Record) -> list[str]:
    directory = record.instance.directory
    pki = directory / "pki"
    return [
        f"--etcd-servers=http://{state.LOOPBACK}:{record.ports['etcd']}",
        f"--bind-address={record.address}",
        f"--advertise-address={record.address}",
        f"--secure-port={record.ports['apiserver']}",
        # A loopback address may not become an endpoint of the kubernetes Service, and without nodes
        # nobody would use it.
        f"--endpoint-reconciler-type={'none' if record.address == state.LOOPBACK else 'lease'}",
        f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
        f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / f'{_KUBELET_CLIENT}.crt'}",
        f"--kubelet-client-key={pki / f'{_KUBELET_CLIENT}.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--service-cluster-ip-range={record.instance.service_cidr}",
        "--allow-privileged=true",
        f"--audit-policy-file={directory / 'audit-policy.yaml'}",
        f"--audit-log-path={directory / 'audit.log'}",
        "--audit-log-maxsize=500",
        "--audit-log-maxbackup=2",
    ]


def build_controller_manager_argv(record: state.Record) -> list[str]:
    pki = record.instance.directory / "pki"
    return [
        *_controller_argv(record, "kube-controller-manager"),
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=false",
        f"--cluster-cidr={record.instance.pod_cidr}",
        # Only simulated nodes: a machine that is short of CPU must not make hundreds of them fail at once.
        f"--node-monitor-grace-period={'20s' if record.nodes else '600s'}",
        # Its default is a directory of the machine, which it would make.
        f"--flex-volume-plugin-dir={record.instance.directory / 'volume-plugins'}",
    ]


def build_scheduler_argv(record: state.Record) -> list[str]:
    return _controller_argv(record, "kube-scheduler")


def _controller_argv(record: state.Record, name: str) -> list[str]:
    directory = record.instance.directory
    config = directory / f"{name}.kubeconfig"
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--client-ca-file={directory / 'pki' / 'ca.crt'}",
        f"--bind-address={state.LOOPBACK}",
        f"--secure-port={record.ports[name]}",
        f"--tls-cert-file={directory / 'pki' / f'{name}-serving.crt'}",
        f"--tls-private-key-file={directory / 'pki' / f'{name}-serving.key'}",
        "--leader-elect=false",
        *_CLIENT_RATE,
    ]
