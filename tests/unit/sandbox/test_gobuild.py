"""Pinned versions are read from go.mod, and a Go is found that is new enough."""

from __future__ import annotations

import pytest

from gpufleet_sandbox import binaries, gobuild, progress

GO_MOD = """\
module gpufleet.dev/tools/x

go 1.26.0

replace k8s.io/api => k8s.io/api v0.36.3

tool k8s.io/kubernetes/cmd/kubelet

require helm.sh/helm/v4 v4.3.0

require (
\tk8s.io/kubernetes v1.36.3
\tgithub.com/some/thing v0.0.0-20260226221140-a57be14db171 // indirect
)
"""


def write_module(monkeypatch, tmp_path, files):
    monkeypatch.setattr(gobuild, "tools_root", lambda: tmp_path)
    (tmp_path / "x").mkdir()
    for name, text in files.items():
        (tmp_path / "x" / name).write_text(text)


def test_requirements_of_both_forms():
    assert gobuild.read_requirements(GO_MOD) == {
        "helm.sh/helm/v4": "v4.3.0",
        "k8s.io/kubernetes": "v1.36.3",
        "github.com/some/thing": "v0.0.0-20260226221140-a57be14db171",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(GO_MOD, (1, 26, 0), id="go.mod"),
        pytest.param("go1.26.8\n", (1, 26, 8), id="go env GOVERSION"),
        pytest.param("go 1.21\n", (1, 21, 0), id="without patch"),
        pytest.param("go1.27rc1", (1, 27, 0), id="candidate"),
    ],
)
def test_go_version(text, expected):
    assert gobuild.read_go_version(text) == expected


def test_text_without_a_go_version_is_refused():
    with pytest.raises(gobuild.BuildError, match="no Go version"):
        gobuild.read_go_version("zig 0.13")


def test_version_is_the_pinned_modules(monkeypatch, tmp_path):
    write_module(monkeypatch, tmp_path, {"go.mod": GO_MOD})

    assert (
        gobuild.Tool("kubelet", "x", "k8s.io/kubernetes/cmd/kubelet", "k8s.io/kubernetes").version()
        == "1.36.3"
    )


def test_program_of_our_own_is_versioned_by_its_sources(monkeypatch, tmp_path):
    write_module(monkeypatch, tmp_path, {"go.mod": GO_MOD, "main.go": "package main"})
    tool = gobuild.Tool("pause", "x", ".")
    before = tool.version()

    (tmp_path / "x" / "main.go").write_text("package main // changed")

    assert tool.version() != before


@pytest.mark.parametrize(
    ("files", "match"),
    [
        pytest.param({}, "go.mod", id="no module"),
        pytest.param({"go.mod": "module x\ngo 1.26.0\n"}, "does not require", id="version not pinned"),
    ],
)
def test_missing_pins_are_named(monkeypatch, tmp_path, files, match):
    write_module(monkeypatch, tmp_path, files)

    with pytest.raises(gobuild.BuildError, match=match):
        gobuild.Tool("kubelet", "x", "k8s.io/kubernetes/cmd/kubelet", "k8s.io/kubernetes").version()


def test_kubernetes_binaries_are_stamped_with_their_version(monkeypatch, tmp_path):
    write_module(monkeypatch, tmp_path, {"go.mod": GO_MOD})
    flags = gobuild.build_linker_flags(gobuild.Tool("kubelet", "x", "y", "k8s.io/kubernetes"))

    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def write_go(folder, version):
    folder.mkdir(parents=True)
    go = folder / "go"
    go.write_text(f"#!/bin/sh\necho go{version}\n")
    go.chmod(0o755)
    return str(go)


@pytest.mark.parametrize(
    ("in_path", "in_cache", "expected"),
    [
        pytest.param("1.26.8", "1.26.6", "path", id="PATH's is new enough"),
        pytest.param("1.26.0", "1.26.6", "path", id="PATH's is just enough"),
        pytest.param("1.19.8", "1.26.6", "cache", id="PATH's is too old"),
        pytest.param(None, "1.26.6", "cache", id="none in PATH"),
    ],
)
def test_find_go(monkeypatch, tmp_path, in_path, in_cache, expected):
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin" if in_path else str(tmp_path / "nothing"))
    home = tmp_path / "go" / gobuild.GO_PACKAGE.partition("==")[2]
    programs = {"cache": write_go(home / "go" / "bin", in_cache)}
    if in_path:
        programs["path"] = write_go(tmp_path / "path", in_path)

    assert gobuild.find_go((1, 26, 0), progress.Reporter()) == programs[expected]


def test_go_that_is_too_old_everywhere_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    write_go(tmp_path / "go" / gobuild.GO_PACKAGE.partition("==")[2] / "go" / "bin", "1.26.6")

    with pytest.raises(gobuild.BuildError, match=r"Go 9\.0\.0 is needed"):
        gobuild.find_go((9, 0, 0), progress.Reporter())


def test_every_tool_is_pinned_in_the_checkout():
    pinned = [tool for tool in binaries.TOOLS.values() if tool.package != "."]

    assert all(tool.version()[0].isdigit() for tool in pinned)
    assert all(tool.go_version() >= (1, 26, 0) for tool in pinned)


@pytest.mark.parametrize(
    ("tags", "is_told"),
    [pytest.param(("remove_all_sd",), True, id="tags"), pytest.param((), False, id="no tags")],
)
def test_build_and_its_count_of_packages_have_the_same_tags(monkeypatch, tmp_path, tags, is_told):
    write_module(monkeypatch, tmp_path, {"go.mod": GO_MOD})
    write_go(tmp_path / "path", "1.26.8")
    (tmp_path / "path" / "go").write_text(
        '#!/bin/sh\n[ "$1" = env ] && echo go1.26.8 && exit\n'
        f'echo "$@" >> {tmp_path / "said"}\n'
        'for word; do [ "$before" = -o ] && touch "$word"; before=$word; done\nexit 0\n'
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    target = tmp_path / "out" / "kubelet"
    gobuild.build(
        gobuild.Tool("kubelet", "x", "y", "k8s.io/kubernetes", tags=tags), target, progress.Reporter()
    )

    assert target.exists()
    said = (tmp_path / "said").read_text().splitlines()
    assert ["-tags=remove_all_sd" in line for line in said] == [is_told, is_told]
