"""What the command says when it cannot do what was asked: a sentence, never a traceback."""

from __future__ import annotations

import click.testing
import pytest

from gpufleet_sandbox import cli, existing, local, provider, state


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    return lambda *args: click.testing.CliRunner().invoke(cli.sandbox, args)


def test_real_nodes_without_root(invoke, monkeypatch):
    monkeypatch.setattr(local.os, "geteuid", lambda: 1000)

    result = invoke("up", "--nodes=1")

    assert result.exit_code == 1
    assert "need root" in result.output
    assert "--nodes=0" in result.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["kubeconfig"], "there is no sandbox default", id="kubeconfig of none"),
        pytest.param(["env"], "there is no sandbox default", id="environment of none"),
        pytest.param(["install", "--name=x"], "there is no sandbox x", id="into none"),
        pytest.param(["logs", "etcd", "--name=x"], "there is no sandbox x", id="logs of none"),
        pytest.param(["up", "--nodes=0", "--name=No Name"], "is no name", id="bad name"),
        pytest.param(["up", "--nodes=65"], "65 is not in the range", id="too many nodes"),
        pytest.param(["up", "--provider=existing", "--kubeconfig=/x"], "/x is not there", id="no kubeconfig"),
    ],
)
def test_errors_are_sentences(invoke, args, words):
    result = invoke(*args)

    assert result.exit_code != 0
    assert words in result.output
    assert "Traceback" not in result.output


def test_down_of_nothing_is_fine(invoke):
    assert invoke("down").exit_code == 0


def test_status_of_nothing_says_how_to_start(invoke):
    assert "gpufleet sandbox up" in invoke("status").output


def test_logs_are_listed_and_shown(invoke, tmp_path):
    state.plan("x", 0, 0)
    (tmp_path / "instances" / "x" / "etcd.log").write_text("one\ntwo\n")

    assert invoke("logs", "--name=x").output == "etcd\n"
    assert invoke("logs", "etcd", "--name=x", "--lines=1").output == "two\n"
    assert "those that have one: etcd" in invoke("logs", "nothing", "--name=x").output


def test_env_is_what_a_shell_needs(invoke, tmp_path, monkeypatch):
    directory = tmp_path / "instances" / "x"
    state.plan("x", 0, 0)
    (tmp_path / "kubectl-1.2.3").touch()
    found = {"kubectl": tmp_path / "kubectl-1.2.3"}
    monkeypatch.setattr(cli.binaries, "ensure_all", lambda names: found)

    for _ in range(2):  # a second call finds the links of the first
        result = invoke("env", "--name=x")

    path = local.LocalProvider("x").kubeconfig()
    assert result.output.splitlines() == [
        f"export KUBECONFIG={path}",
        f'export PATH={directory}/bin:"$PATH"',
    ]
    assert (directory / "bin" / "kubectl").resolve() == tmp_path / "kubectl-1.2.3"


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        pytest.param("stop_kubelet", ["n1"], id="stop kubelet"),
        pytest.param("start_kubelet", ["n1"], id="start kubelet"),
        pytest.param("partition", ["n1"], id="partition"),
        pytest.param("heal", ["n1"], id="heal"),
        pytest.param("exec_on_node", ["n1", ["ls"]], id="exec"),
        pytest.param("restart_apiserver", [], id="restart"),
    ],
)
def test_existing_provider_says_what_it_lacks(tmp_path, verb, args):
    with pytest.raises(provider.UnsupportedError, match="only has a kubeconfig"):
        getattr(existing.ExistingProvider(tmp_path), verb)(*args)
