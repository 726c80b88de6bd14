from __future__ import annotations

import subprocess
from typing import Any

import pytest

from gpufleet.decide.training import mpi, pod
from tests import builders
from tests.unit.gpufleet.decide import manifests, podsecurity

KEYS = {"sshSecretName": "keys"}


def make(framework: str = "MPI", **spec: Any) -> Any:
    template = {"image": "t:1", "command": ["mpirun"], "args": ["train", "it's"]}
    return builders.make_job(framework=framework, template=template, **spec)


def test_the_hostfile_has_a_line_per_worker() -> None:
    built = mpi.build_hosts(make(mpi=KEYS), 3, ["a.llm", "b.llm"], 8)
    assert built["metadata"]["name"] == "llm-3-hosts"
    assert built["data"] == {"hostfile": "a.llm slots=8\nb.llm slots=8\n"}
    assert list(manifests.find_unstable(built)) == []


def test_a_worker_has_keys_and_hosts() -> None:
    spec = pod.build_template(make(mpi=KEYS), 2, None, None, 1)["spec"]
    assert podsecurity.find_violations(spec) == []
    assert {one["name"] for one in spec["volumes"]} == {"mpi-hosts", "mpi-ssh"}
    [worker] = spec["containers"]
    assert {one["mountPath"] for one in worker["volumeMounts"]} == {
        "/etc/gpufleet-mpi/hosts",
        "/etc/gpufleet-mpi/ssh",
    }
    assert worker["args"] == ["mpirun", "train", "it's"]


@pytest.mark.parametrize(
    ("job", "workers"),
    [
        pytest.param(make(), 1, id="mpirun alone"),
        pytest.param(make("DeepSpeed"), 2, id="deepspeed under torchrun"),
        pytest.param(make("JAX"), 2, id="another framework"),
    ],
)
def test_who_needs_no_ssh_gets_none(job: Any, workers: int) -> None:
    spec = pod.build_template(job, workers, None, None, 1)["spec"]
    assert "volumes" not in spec
    assert spec["containers"][0]["command"] == ["mpirun"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param("0", ["asked b.llm", "ran it's"], id="worker 0 waits for the others, then runs"),
        pytest.param("1", ["serves"], id="the others serve"),
    ],
)
def test_the_shell_does_so(tmp_path: Any, index: str, expected: list[str]) -> None:
    """The script as it is, with programs that say what they were asked."""
    (tmp_path / "hostfile").write_text("w0.llm slots=1\nb.llm slots=1\n")
    for name, text in {
        "ssh": 'for one; do host=$prior; prior=$one; done; echo "asked $host"',
        "sshd": "echo serves",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    job = builders.make_job(
        framework="MPI", mpi=KEYS, template={"image": "t", "command": ["echo"], "args": ["ran it's"]}
    )
    [shell, flag, script, name], rest = mpi.build_command(job, 2)
    script = script.replace("/etc/gpufleet-mpi/hosts", str(tmp_path)).replace("/usr/sbin", str(tmp_path))
    shown = subprocess.run(
        [shell, flag, script, name, *rest],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": index, "HOSTNAME": "w0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert shown.stdout.splitlines() == expected
