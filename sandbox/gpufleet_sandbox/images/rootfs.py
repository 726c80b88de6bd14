"""Root file systems from packages: Debian's for the base, hash-locked wheels from PyPI above it."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence

from gpufleet_sandbox import debian, instance, progress
from gpufleet_sandbox.images import archive

SUITE = "bookworm"
BASE_PACKAGES = ("python3-minimal", "python3", "libpython3.11", "ca-certificates")
PYTHON_VERSION = "3.11"
SITE_PACKAGES = "usr/local/lib/python3.11/dist-packages"
_UNNEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)


class ImageError(RuntimeError):
    """An image could not be made; the message is what the failing program printed last."""


def layers_root() -> pathlib.Path:
    return instance.cache_root() / "images" / "layers"


def compute_key(parts: Iterable[str]) -> str:
    """A name for these inputs."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def ensure_base(reporter: progress.Reporter, extra: Sequence[str] = ()) -> archive.Layer:
    """Debian with Python and the CA certificates, plus `extra` packages. Raises ImageError."""
    packages = [*BASE_PACKAGES, *extra]
    target = layers_root() / f"debian-{compute_key([SUITE, *packages])}.tar"
    if target.is_file():
        return archive.read_layer(target)
    program = debian.ensure(["debootstrap"], reporter)["debootstrap"]
    with reporter.step(f"Debian {SUITE} with {', '.join(extra) or 'Python'}"), scratch() as root:
        run([program, "--variant=minbase", f"--include={','.join(packages)}", SUITE, root])
        for folder in _UNNEEDED:
            shutil.rmtree(root / folder, ignore_errors=True)
        (root / "tmp").chmod(0o1777)
        return archive.write_layer(root, target)


def ensure_wheels(lock: pathlib.Path, reporter: progress.Reporter, title: str) -> archive.Layer:
    """The packages of a hash-locked requirements file where Debian's Python finds them. Raises ImageError."""
    target = layers_root() / f"wheels-{compute_key([lock.read_text(), PYTHON_VERSION])}.tar"
    if target.is_file():
        return archive.read_layer(target)
    with reporter.step(f"Python packages of {title}"), scratch() as root:
        install_wheels(lock, root / SITE_PACKAGES)
        return archive.write_layer(root, target)


def install_wheels(lock: pathlib.Path, target: pathlib.Path) -> None:
    """Installs for the image's Python, whichever Python runs this. Raises ImageError."""
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(36, 16, -1)] + [f"manylinux2014_{machine}"]
    tags += [f"manylinux2010_{machine}", f"manylinux1_{machine}", f"linux_{machine}"]
    platforms = [argument for tag in tags for argument in ("--platform", tag)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pip += ["--python-version", PYTHON_VERSION, "--implementation", "cp", "--abi", "cp311", "--abi", "abi3"]
    run(
        [
            *pip,
            "--abi",
            "none",
            *platforms,
            "--only-binary=:all:",
            "--require-hashes",
            "-r",
            lock,
            "--target",
            target,
        ]
    )
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)


@contextlib.contextmanager
def scratch() -> Iterator[pathlib.Path]:
    """An empty folder beside the layers, on the same file system, gone afterwards."""
    layers_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layers_root()) as folder:
        pathlib.Path(folder).chmod(0o755)
        yield pathlib.Path(folder)


def run(argv: Sequence[str | pathlib.Path]) -> None:
    """Runs a program to its end. Raises ImageError with its last words."""
    result = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()[-8:]
        raise ImageError(f"{pathlib.Path(argv[0]).name}: " + "\n".join(said))
