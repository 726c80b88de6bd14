"""The operator's own rights: what the chart grants its service account, as a kubeconfig."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess

import yaml

from gpufleet_sandbox import binaries, charts, kubectl

ACCOUNT = "gpufleet"
CRDS = pathlib.Path(__file__).parents[1] / "crds"
USER = f"system:serviceaccount:{charts.NAMESPACE}:{ACCOUNT}"


def install_chart(client: kubectl.Kubectl, **values: str) -> None:
    """Rights by the chart, with the operator itself scaled to nothing: the test runs its own.

    The kinds are applied beside the chart, because a cluster that tests share may have them already.
    """
    client.run("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    client.run("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    wanted = {"replicas": "0", "crds.create": "false", **values}
    charts.install(binaries.ensure("helm"), client.kubeconfig, wanted)


def read_admin(kubeconfig: pathlib.Path) -> dict[str, str]:
    """Server and CA file of a kubeconfig."""
    argv = [binaries.ensure("kubectl"), "config", "view", "--raw", "--minify", "--flatten", "-o", "json"]
    shown = subprocess.run([*argv, "--kubeconfig", kubeconfig], capture_output=True, text=True, check=True)
    cluster: dict[str, str] = json.loads(shown.stdout)["clusters"][0]["cluster"]
    return cluster


def make_token(client: kubectl.Kubectl) -> str:
    """A bearer token of the operator's service account."""
    return client.run("create", "token", ACCOUNT, "-n", charts.NAMESPACE, "--duration=24h").strip()


def write_kubeconfig(client: kubectl.Kubectl, path: pathlib.Path, token: str = "") -> pathlib.Path:
    """A kubeconfig with which a process outside the cluster has exactly the rights of the token.

    Without one they are the operator's.
    """
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": read_admin(client.kubeconfig)}],
        "users": [{"name": "u", "user": {"token": token or make_token(client)}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def write_ca(cluster: dict[str, str], folder: pathlib.Path) -> pathlib.Path:
    """The certificate authority of `read_admin` as a file."""
    path = folder / "ca.crt"
    path.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return path
