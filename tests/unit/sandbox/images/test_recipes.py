"""What the recipes lay out, and that names agree with what is pinned elsewhere."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest

from gpufleet_sandbox import binaries, images, progress, realnodes
from gpufleet_sandbox.images import recipes, rootfs, triton


@pytest.fixture
def package(tmp_path) -> pathlib.Path:
    root = tmp_path / "gpufleet"
    (root / "cli" / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "cli/main.py", "py.typed", "cli/__pycache__/main.cpython-311.pyc"):
        (root / name).write_text(name)
    return root


@pytest.fixture
def wheel(tmp_path) -> pathlib.Path:
    """What PyPI's package unpacks to, as far as the server's layout goes."""
    server = tmp_path / "wheel" / "pytriton" / "tritonserver"
    files = [
        "bin/tritonserver",
        "caches/local/libtritoncache_local.so",
        "backends/python/libtriton_python.so",
    ]
    files += [f"python_backend_stubs/{minor}/triton_python_backend_stub" for minor in ("3.10", "3.11")]
    for name in files:
        (server / name).parent.mkdir(parents=True, exist_ok=True)
        (server / name).write_text(name)
    (tmp_path / "wheel" / "nvidia_pytriton.libs").mkdir()
    (tmp_path / "wheel" / "nvidia_pytriton.libs" / "libb64.so").touch()
    return tmp_path / "wheel"


def test_source_is_laid_out_without_bytecode(package, tmp_path):
    recipes.lay_out_source(package, tmp_path / "root")

    files = {
        str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("*") if path.is_file()
    }
    site = f"{rootfs.SITE_PACKAGES}/gpufleet"
    assert files == {
        f"{site}/__init__.py",
        f"{site}/cli/main.py",
        f"{site}/py.typed",
        "usr/local/bin/gpufleet",
    }
    launcher = tmp_path / "root/usr/local/bin/gpufleet"
    assert os.access(launcher, os.X_OK)
    assert "gpufleet.cli.main import main" in launcher.read_text()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param(lambda root: (root / "cli/main.py").write_text("changed"), False, id="content"),
        pytest.param(lambda root: (root / "py.typed").unlink(), False, id="a file less"),
        pytest.param(lambda root: (root / "py.typed").rename(root / "x.typed"), False, id="name"),
        pytest.param(lambda root: os.utime(root / "py.typed", (1, 1)), True, id="time"),
        pytest.param(lambda root: shutil.rmtree(root / "cli/__pycache__"), True, id="bytecode"),
    ],
)
def test_key_of_the_source_follows_what_is_in_the_image(package, change, same):
    before = recipes.read_sources(package)

    change(package)

    assert (recipes.read_sources(package) == before) is same


def test_triton_is_laid_out_as_nvidia_does(wheel, tmp_path):
    home = tmp_path / "opt" / "tritonserver"

    triton.lay_out(wheel, home)

    assert sorted(path.name for path in home.iterdir()) == ["backends", "bin", "caches", "lib"]
    stub = home / "backends/python/triton_python_backend_stub"
    assert stub.read_text().startswith(f"python_backend_stubs/{rootfs.PYTHON_VERSION}/")
    assert all(os.access(path, os.X_OK) for path in (stub, home / "bin/tritonserver"))


def test_triton_is_found_by_name():
    assert f"/{triton.HOME}/bin" in triton.ENVIRONMENT["PATH"].split(":")
    assert triton.ENVIRONMENT["LD_LIBRARY_PATH"] == f"/{triton.HOME}/lib"


def test_coredns_is_tagged_with_the_pinned_version():
    assert recipes.COREDNS.partition(":")[2] == binaries.TOOLS["coredns"].version().partition("-")[0]
    assert recipes.S3.partition(":")[2] == binaries.TOOLS["s3"].version().partition("-")[0]


def test_cluster_uses_images_that_there_are():
    assert set(realnodes.IMAGES) == set(images.DEMO)
    assert set(images.DEMO) | {"trainer-torch", "s3"} == set(images.ALL)


def test_image_is_made_once_and_keeps_its_time(monkeypatch, tmp_path):
    """containerd's template is keyed by the archive's time of change."""
    program = tmp_path / "given" / "pause"
    program.parent.mkdir()
    program.write_text("a program")
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(program.parent))

    first = images.ensure(["pause"], progress.Reporter())["pause"]
    time_ns = first.stat().st_mtime_ns

    assert images.ensure(["pause"], progress.Reporter()) == {"pause": first}
    assert first.stat().st_mtime_ns == time_ns
