"""How each image is made: a base, what is installed above it, and what it runs."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Sequence

import gpufleet
from gpufleet_sandbox import binaries, gobuild, progress
from gpufleet_sandbox.images import archive, layers, rootfs, triton

PAUSE = "registry.k8s.io/pause:3.10"
GPUFLEET = f"gpufleet.dev/gpufleet:{gpufleet.__version__}"
TRAINER = "gpufleet.dev/trainer:0.1.0"
TRAINER_TORCH = "gpufleet.dev/trainer-torch:0.1.0"
TRITON = "gpufleet.dev/triton:2.51"
COREDNS = "gpufleet.dev/coredns:1.14.2"
S3 = "gpufleet.dev/s3:0.0.12"
USER = "65532"

_HERE = pathlib.Path(__file__).parent
_LAUNCHER = "#!/usr/bin/python3\nfrom gpufleet.cli.main import main\n\nmain()\n"


def build_pause(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """The process that holds a pod's namespaces."""
    return _ensure_program(root, PAUSE, "pause", "/pause", reporter)


def build_coredns(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """Name resolution inside the cluster."""
    return _ensure_program(root, COREDNS, "coredns", "/coredns", reporter)


def build_s3(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """One bucket that tests read models from."""
    return _ensure_program(root, S3, "s3", "/s3", reporter)


def build_gpufleet(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """The operator, the agents and the simulated GPUs, as the Dockerfile makes it."""
    lock = gobuild.tools_root().parent / "requirements.txt"
    stack = [
        rootfs.ensure_base(reporter),
        rootfs.ensure_wheels("gpufleet", lock, reporter),
        _ensure_source(reporter),
    ]
    config = archive.Config(entrypoint=["gpufleet"], environment={"PYTHONUNBUFFERED": "1"}, user=USER)
    return _ensure_image(root, GPUFLEET, stack, config, reporter)


def build_trainer(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """JAX for CPUs."""
    wheels = rootfs.ensure_wheels("trainer", _HERE / "trainer.txt", reporter)
    environment = {"PYTHONUNBUFFERED": "1", "JAX_PLATFORMS": "cpu", "HOME": "/tmp"}
    config = archive.Config(command=["python3"], environment=environment, user=USER)
    return _ensure_image(root, TRAINER, [rootfs.ensure_base(reporter), wheels], config, reporter)


def build_trainer_torch(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """Debian's torch, apart from JAX: it is large, and built against another numpy than PyPI's."""
    stack = [rootfs.ensure_base(reporter, "torch", ["python3-torch"])]
    # Debian's torchrun (1.13 on Python 3.11) fails where nothing is redirected: stderr takes a way round.
    environment = {"PYTHONUNBUFFERED": "1", "HOME": "/tmp", "PET_REDIRECTS": "2", "PET_TEE": "2"}
    config = archive.Config(command=["python3"], environment=environment, user=USER)
    return _ensure_image(root, TRAINER_TORCH, stack, config, reporter)


def build_triton(root: pathlib.Path, reporter: progress.Reporter) -> pathlib.Path:
    """The real Triton server for CPUs, laid out as NVIDIA's image is."""
    wheels = rootfs.ensure_wheels("triton", _HERE / "triton-python.txt", reporter)
    stack = [rootfs.ensure_base(reporter), wheels, triton.ensure_layer(_HERE / "tritonserver.txt", reporter)]
    config = archive.Config(command=["tritonserver"], environment=triton.ENVIRONMENT, user="1000")
    return _ensure_image(root, TRITON, stack, config, reporter)


RECIPES: dict[str, Callable[[pathlib.Path, progress.Reporter], pathlib.Path]] = {
    "pause": build_pause,
    "coredns": build_coredns,
    "gpufleet": build_gpufleet,
    "triton": build_triton,
    "trainer": build_trainer,
    "trainer-torch": build_trainer_torch,
    "s3": build_s3,
}


def _ensure_program(
    root: pathlib.Path, name: str, program: str, inside: str, reporter: progress.Reporter
) -> pathlib.Path:
    """An image of one statically linked program and nothing else."""
    binary = binaries.ensure(program, reporter)

    def build(target: pathlib.Path) -> archive.Layer:
        with layers.scratch() as folder:
            shutil.copy2(binary, folder / inside.lstrip("/"))
            return archive.write_layer(folder, target)

    layer = layers.ensure(program, [str(binary), str(binary.stat().st_mtime_ns)], build)
    return _ensure_image(root, name, [layer], archive.Config(entrypoint=[inside], user=USER), reporter)


def _ensure_source(reporter: progress.Reporter) -> archive.Layer:
    """The package itself and its launcher; small, so that a change of source costs a second or two."""

    def build(target: pathlib.Path) -> archive.Layer:
        with reporter.step("gpufleet's source"), rootfs.room(reporter) as (base, tree):
            lay_out_source(package, tree)
            rootfs.compile_tree(base, tree)
            return archive.write_layer(tree, target)

    package = pathlib.Path(gpufleet.__file__).parent
    return layers.ensure("source", [_LAUNCHER, *read_sources(package)], build)


def read_sources(package: pathlib.Path) -> list[str]:
    """Every file of a package with its content, sorted, bytecode left out."""
    files = sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return [f"{path.relative_to(package)}\0{path.read_bytes()!r}" for path in files]


def lay_out_source(package: pathlib.Path, root: pathlib.Path) -> None:
    """The package where Debian's Python finds it, and the program `gpufleet`."""
    site = root / rootfs.SITE_PACKAGES / package.name
    shutil.copytree(package, site, ignore=shutil.ignore_patterns("__pycache__"))
    launcher = root / "usr/local/bin/gpufleet"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(_LAUNCHER)
    launcher.chmod(0o755)


def _ensure_image(
    root: pathlib.Path,
    name: str,
    stack: Sequence[archive.Layer],
    config: archive.Config,
    reporter: progress.Reporter,
) -> pathlib.Path:
    digests = [layer.digest for layer in stack]
    key = layers.compute_key([name, config.to_json(digests).decode()])
    target = root / f"{name.rpartition('/')[2].partition(':')[0]}-{key}.tar"
    if not target.is_file():
        with reporter.step(f"image {name}"):
            archive.write(target, name, stack, config)
    layers.mark_used(target)
    layers.prune(target)
    return target
