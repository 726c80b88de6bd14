"""Given assets come first, then the cache, then PATH where its version fits."""

from __future__ import annotations

import pytest

from gpufleet_sandbox import binaries, debian, gobuild, progress


@pytest.fixture
def places(monkeypatch, tmp_path):
    """Folders for each place a program may come from; a build is an error unless a test replaces it."""

    def refuse(tool, target, reporter):
        raise AssertionError(f"{tool.name} would be built")

    monkeypatch.setattr(gobuild, "build", refuse)
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    return tmp_path


def write_program(path, answer=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def other_patch(version):
    return f"{version.rpartition('.')[0]}.99"


def test_given_assets_win(places):
    write_program(binaries.cached_path(binaries.TOOLS["kubectl"]))
    given = write_program(places / "assets" / "kubectl")

    assert binaries.ensure("kubectl") == given


def test_cached_program_is_used_again(places):
    cached = write_program(binaries.cached_path(binaries.TOOLS["kubelet"]))

    assert binaries.ensure("kubelet") == cached


@pytest.mark.parametrize(
    ("name", "change", "is_used"),
    [
        pytest.param("kubectl", lambda v: f"gitVersion: v{other_patch(v)}", True, id="client of this minor"),
        pytest.param("kubectl", lambda v: "gitVersion: v1.20.2", False, id="client of another minor"),
        pytest.param("kubelet", lambda v: f"Kubernetes v{v}", True, id="server of this version"),
        pytest.param(
            "kubelet", lambda v: f"Kubernetes v{other_patch(v)}", False, id="server of another patch"
        ),
        pytest.param("etcd", lambda v: "etcd Version: 3.4.23", False, id="distribution's etcd"),
        pytest.param("kubelet", lambda v: "", False, id="no answer"),
    ],
)
def test_program_in_path_is_used_when_its_version_fits(places, monkeypatch, name, change, is_used):
    tool = binaries.TOOLS[name]
    in_path = write_program(places / "path" / name, change(tool.version()))
    monkeypatch.setattr(gobuild, "build", lambda tool, target, reporter: write_program(target))

    assert (binaries.ensure(name) == in_path) is is_used
    assert binaries.cached_path(tool).exists() is not is_used


def test_unpackaged_program_without_root_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    monkeypatch.setattr(debian, "find", lambda program: None)
    monkeypatch.setattr(debian.shutil, "which", lambda name, path=None: "/usr/bin/apt-get")
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1000)

    with pytest.raises(debian.PackageError, match="as root: apt-get install"):
        debian.ensure(["containerd", "runc"], progress.Reporter())


def test_without_apt_the_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    monkeypatch.setattr(debian, "find", lambda program: None)
    monkeypatch.setattr(debian.shutil, "which", lambda name, path=None: None)

    with pytest.raises(debian.PackageError, match="containerd runc"):
        debian.ensure(["runc", "containerd"], progress.Reporter())
