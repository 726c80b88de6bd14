"""The root file system of the image, run read-only and as nobody, as a container engine would."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

import gpufleet
from gpufleet_sandbox import images
from tests.e2e import conftest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "triton-service.yaml"
# As a kubelet sets it up: nothing may be written but /tmp.
CONFINE = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
mount -t tmpfs tmpfs "$0/tmp" && chmod 1777 "$0/tmp" &&
mount -t proc proc "$0/proc" && exec chroot --userspec="$1:$1" "$0" "${@:2}"
"""

pytestmark = pytest.mark.machine


@dataclasses.dataclass(frozen=True)
class Image:
    """An unpacked image and what its configuration says."""

    root: pathlib.Path
    config: dict[str, Any]

    def run(self, *arguments: str, stdin: str = "", entrypoint: str = "") -> subprocess.CompletedProcess[str]:
        """The entrypoint, or another program, with the image's variables and no others."""
        program = [entrypoint] if entrypoint else self.config["Entrypoint"]
        # Container runtimes give a user without a home the root folder.
        variables = {"HOME": "/", **dict(one.split("=", 1) for one in self.config["Env"])}
        argv = ["unshare", "--mount", "--pid", "--net", "--fork", "bash", "-c", CONFINE, str(self.root)]
        return subprocess.run(
            [*argv, self.config["User"], *program, *arguments],
            env=variables,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """All layers, one over the other."""
    conftest.require_root()
    folder = tmp_path_factory.mktemp("image")
    root = folder / "root"
    root.mkdir()
    with tarfile.open(images.ensure(["gpufleet"])["gpufleet"]) as archive:
        [manifest] = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        document = json.load(archive.extractfile(manifest["Config"]))  # type: ignore[arg-type]
        for layer in manifest["Layers"]:
            archive.extract(layer, folder, filter="data")
            subprocess.run(["tar", "--extract", "--file", folder / layer, "--directory", root], check=True)
            (folder / layer).unlink()
    yield Image(root, document["config"])
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["operator"], id="operator"),
        pytest.param(["agent", "--help"], id="agents"),
        pytest.param(["simgpu", "--help"], id="simulated GPUs"),
        pytest.param(["--version"], id="version"),
    ],
)
def test_every_program_of_it_starts(image: Image, arguments: list[str]) -> None:
    result = image.run(*arguments)
    if arguments == ["operator"]:
        assert (result.returncode, "No configuration found" in result.stdout + result.stderr) == (1, True)
        return
    assert result.returncode == 0, result.stderr
    assert gpufleet.__version__ in result.stdout or "Usage" in result.stdout


def test_it_does_real_work_on_what_it_is_given(image: Image) -> None:
    result = image.run("triton", "config", "-", stdin=EXAMPLE.read_text())
    assert result.returncode == 0, result.stderr
    assert 'backend: "python"' in result.stdout


def test_it_is_nobody_and_may_write_nothing_but_tmp(image: Image) -> None:
    script = (
        "import os, pathlib; print(os.getuid(), os.getgid())\n"
        "pathlib.Path('/tmp/x').write_text('x')\n"
        "for folder in ('/', '/usr/local', '/etc', '/var'):\n"
        "    try: pathlib.Path(folder, 'x').write_text('x')\n"
        "    except OSError as error: print(type(error).__name__)\n"
        "    else: print('written')\n"
    )
    result = image.run("-c", script, entrypoint="python3")
    assert result.returncode == 0, result.stderr
    first, *rest = result.stdout.split("\n", 1)
    assert first == "65532 65532"
    assert "written" not in rest[0]


def test_nothing_is_left_to_compile(image: Image) -> None:
    script = (
        "import pathlib, sys, gpufleet.handlers.main\n"
        "read = [one for one in sys.modules.values() if getattr(one, '__cached__', None)]\n"
        "lacking = [one.__name__ for one in read if not pathlib.Path(one.__cached__).exists()]\n"
        "print(len(read) > 500, lacking[:5])\n"
    )
    result = image.run("-c", script, entrypoint="python3")
    assert (result.returncode, result.stdout.strip()) == (0, "True []"), result.stderr
