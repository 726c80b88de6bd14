"""How each image is made: a base, what is installed above it, and what it runs."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Sequence

import gpufleet
from gpufleet_sandbox import binaries, gobuild, progress
from gpufleet_sandbox.images import archive, rootfs, triton

PAUSE = "registry.k8s.io/pause:3.10"
GPUFLEET = f"gpufleet.dev/gpufleet:{gpufleet.__version__}"
TRAINER = "gpufleet.dev/trainer:0.1.0"
TRITON = "gpufleet.dev/triton:2.51"
COREDNS = "gpufleet.dev/coredns:1.14.2"
USER = "65532"

_HERE = pathlib.Path(__file__).parent
_LAUNCHER = "#!/usr/bin/python3\nfrom gpufleet.cli.main import main\n\nmain()\n"


def build_pause(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """The process that holds a pod's namespaces."""
    return _ensure_program(root, PAUSE, "pause", "/pause", reporter)


def build_coredns(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """Name resolution inside the cluster."""
    return _ensure_program(root, COREDNS, "coredns", "/coredns", reporter)


def build_gpufleet(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """The operator, the agents and the simulated GPUs, as the Dockerfile makes it."""
    lock = gobuild.tools_root().parent / "requirements.txt"
    layers = [
        rootfs.ensure_base(reporter),
        rootfs.ensure_wheels(lock, reporter, "gpufleet"),
        _ensure_source(reporter),
    ]
    config = archive.Config(entrypoint=["gpufleet"], environment={"PYTHONUNBUFFERED": "1"}, user=USER)
    return _ensure_image(root, GPUFLEET, layers, config, reporter)


def build_trainer(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """JAX for CPUs."""
    layers = [
        rootfs.ensure_base(reporter),
        rootfs.ensure_wheels(_HERE / "trainer.txt", reporter, "the trainer"),
    ]
    environment = {"PYTHONUNBUFFERED": "1", "JAX_PLATFORMS": "cpu", "HOME": "/tmp"}
    config = archive.Config(command=["python3"], environment=environment, user=USER)
    return _ensure_image(root, TRAINER, layers, config, reporter)


def build_triton(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """The real Triton server for CPUs, laid out as NVIDIA's image is."""
    wheels = rootfs.ensure_wheels(_HERE / "triton-python.txt", reporter, "Triton's python models")
    layers = [rootfs.ensure_base(reporter), wheels, triton.ensure_layer(_HERE / "tritonserver.txt", reporter)]
    config = archive.Config(command=["tritonserver"], environment=triton.ENVIRONMENT, user="1000")
    return _ensure_image(root, TRITON, layers, config, reporter)


RECIPES: dict[str, Callable[[pathlib.Path, progress.Reporter], pathlib.Path]] = {
    "pause": build_pause,
    "coredns": build_coredns,
    "gpufleet": build_gpufleet,
    "triton": build_triton,
    "trainer": build_trainer,
}


def _ensure_program(
    root: pathlib.Path, name: str, program: str, inside: str, reporter: progress.Reporter
) -> pathlib.Path:
    """An image of one statically linked program and the certificates it may need."""
    binary = binaries.ensure(program, reporter)
    target = rootfs.layers_root() / f"{program}-{rootfs.compute_key([binary.name])}.tar"
    if target.is_file():
        layer = archive.read_layer(target)
    else:
        with rootfs.scratch() as folder:
            shutil.copy2(binary, folder / inside.lstrip("/"))
            layer = archive.write_layer(folder, target)
    return _ensure_image(root, name, [layer], archive.Config(entrypoint=[inside], user=USER), reporter)


def _ensure_source(reporter: progress.Reporter) -> archive.Layer:
    """The package itself and its launcher; small, so that a change of source costs a second."""
    package = pathlib.Path(gpufleet.__file__).parent
    sources = sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    parts = [f"{path.relative_to(package)}\0{path.read_bytes()!r}" for path in sources]
    target = rootfs.layers_root() / f"gpufleet-{rootfs.compute_key([_LAUNCHER, *parts])}.tar"
    if target.is_file():
        return archive.read_layer(target)
    with reporter.step("gpufleet's source"), rootfs.scratch() as folder:
        site = folder / rootfs.SITE_PACKAGES / "gpufleet"
        shutil.copytree(package, site, ignore=shutil.ignore_patterns("__pycache__"))
        launcher = folder / "usr/local/bin/gpufleet"
        launcher.parent.mkdir(parents=True)
        launcher.write_text(_LAUNCHER)
        launcher.chmod(0o755)
        return archive.write_layer(folder, target)


def _ensure_image(
    root: pathlib.Path,
    name: str,
    layers: Sequence[archive.Layer],
    config: archive.Config,
    reporter: progress.Reporter,
) -> pathlib.Path:
    digests = [layer.digest for layer in layers]
    key = rootfs.compute_key([name, config.to_json(digests).decode()])
    stem = name.rsplit("/", 1)[1].partition(":")[0]
    target = root / f"{stem}-{key}.tar"
    if not target.is_file():
        for stale in root.glob(f"{stem}-*.tar"):
            stale.unlink()
        with reporter.step(f"image {name}"):
            archive.write(target, name, layers, config)
    return target
