"""Root file systems from packages: Debian's for the base, hash-locked wheels from PyPI above it."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence

from gpufleet_sandbox import debian, progress
from gpufleet_sandbox.images import archive, layers

SUITE = "bookworm"
BASE_PACKAGES = ("python3-minimal", "python3", "libpython3.11", "ca-certificates")
PYTHON_VERSION = "3.11"
SITE_PACKAGES = "usr/local/lib/python3.11/dist-packages"
# The host's name and name servers are not the image's business.
_UNNEEDED = (
    "etc/hostname",
    "etc/resolv.conf",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
# pip's launchers name this machine's Python, and the records hold the launchers' hashes.
_UNNEEDED_IN_WHEELS = ("bin", "*.dist-info/RECORD", "**/__pycache__", "**/tests")
# Layers have no times, so the bytecode that Debian and pip leave would count as older than its source, and
# who may not write there would compile all of it at every start.
_COMPILE = ("python3", "-m", "compileall", "-qq", "-f", "--invalidation-mode", "unchecked-hash")
_STANDARD_LIBRARY = ("/usr/lib/python3", "/usr/lib/python3.11")
_ENVIRONMENT = {"PATH": archive.PATH, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
# debootstrap says a line or more per package for fetching, checking, unpacking and configuring.
_LINES_OF_A_BOOTSTRAP = 560
_LAST_WORDS = 8


class ImageError(RuntimeError):
    """An image could not be made; the message is what the failing program printed last."""


def ensure_base(
    reporter: progress.Reporter, name: str = "debian", extra: Sequence[str] = ()
) -> archive.Layer:
    """Debian with Python and the CA certificates, plus `extra` packages. Raises ImageError."""
    packages = [*BASE_PACKAGES, *extra]

    def build(target: pathlib.Path) -> archive.Layer:
        title = f"Debian {SUITE} with {', '.join(extra) or 'Python'}"
        with reporter.step(title) as step, layers.scratch() as root:
            step.set_total(_LINES_OF_A_BOOTSTRAP)
            bootstrap(root, packages, reporter, step)
            return archive.write_layer(root, target)

    return layers.ensure(name, [SUITE, *packages, *_UNNEEDED, *_COMPILE], build)


def bootstrap(
    root: pathlib.Path, packages: Iterable[str], reporter: progress.Reporter, step: progress.Step
) -> None:
    """Installs Debian into an empty folder. Raises ImageError."""
    program = debian.ensure(["debootstrap"], reporter)["debootstrap"]
    run([program, "--variant=minbase", f"--include={','.join(packages)}", SUITE, root], step)
    for name in _UNNEEDED:
        _remove(root / name)
    (root / "tmp").chmod(0o1777)
    compile_bytecode(root, _STANDARD_LIBRARY)


def ensure_wheels(name: str, lock: pathlib.Path, reporter: progress.Reporter) -> archive.Layer:
    """The packages of a hash-locked requirements file where Debian's Python finds them. Raises ImageError."""

    def build(target: pathlib.Path) -> archive.Layer:
        with reporter.step(f"Python packages of {name}"), room(reporter) as (base, tree):
            install_wheels(lock, tree / SITE_PACKAGES)
            compile_tree(base, tree)
            return archive.write_layer(tree, target)

    inputs = [lock.read_text(), PYTHON_VERSION, *_UNNEEDED_IN_WHEELS, *_COMPILE]
    return layers.ensure(f"{name}-wheels", inputs, build)


def install_wheels(lock: pathlib.Path, target: pathlib.Path) -> None:
    """Installs for the image's Python, whichever Python runs this. Raises ImageError."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pip += ["--python-version", PYTHON_VERSION, "--implementation", "cp"]
    pip += [f"--abi={abi}" for abi in ("cp311", "abi3", "none")]
    pip += [f"--platform={tag}" for tag in build_platform_tags(platform.machine())]
    run([*pip, "--only-binary=:all:", "--require-hashes", "-r", lock, "--target", target])
    trim_wheels(target)


def trim_wheels(site_packages: pathlib.Path) -> None:
    """Removes what no program needs, or what differs between the machines that install."""
    for pattern in _UNNEEDED_IN_WHEELS:
        for path in list(site_packages.glob(pattern)):
            _remove(path)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def build_platform_tags(machine: str) -> list[str]:
    """Wheel platforms that run on the suite's C library, glibc 2.36, newest first."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(36, 16, -1)]
    old = [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    return [*tags, *old]


@contextlib.contextmanager
def room(reporter: progress.Reporter) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """The unpacked base and an empty folder inside it, which the base's own programs can reach."""
    base = unpack(ensure_base(reporter))
    with layers.scratch(base / "build") as tree:
        yield base, tree


def unpack(layer: archive.Layer) -> pathlib.Path:
    """The layer as a folder beside it, unpacked once. Raises ImageError."""
    target = layers.unpacked_path(layer.path)
    if not target.is_dir():
        with layers.scratch() as part:
            run(["tar", "--extract", "--file", layer.path, "--directory", part])
            part.rename(target)
    return target


def compile_tree(base: pathlib.Path, tree: pathlib.Path) -> None:
    """Bytecode for a tree inside `base` that will be at the root of an image."""
    inside = f"/{tree.relative_to(base)}"
    compile_bytecode(base, ["-s", inside, "-p", "/", inside])


def compile_bytecode(base: pathlib.Path, arguments: Iterable[str]) -> None:
    """Runs compileall of `base`'s own Python. What cannot be compiled stays source."""
    subprocess.run(
        ["chroot", base, *_COMPILE, *arguments], env=_ENVIRONMENT, check=False, stdin=subprocess.DEVNULL
    )


def run(argv: Sequence[str | pathlib.Path], step: progress.Step | None = None) -> None:
    """Runs a program to its end; each line it says advances `step`. Raises ImageError with its last words."""
    words = [str(part) for part in argv]
    said: collections.deque[str] = collections.deque(maxlen=_LAST_WORDS)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            if step:
                step.advance()
    if process.returncode:
        raise ImageError(f"{pathlib.Path(words[0]).name}: " + "\n".join(said))
