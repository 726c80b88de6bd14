"""Programs that Debian packages: installed by apt as root, or unpacked into the cache without root."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable

from gpufleet_sandbox import instance, locks, progress


class PackageError(RuntimeError):
    """A program is missing and could not be installed; the message says what would help."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A program, the package that carries it, and its place in the package."""

    name: str
    package: str
    path: str
    unpackable: bool = False


PROGRAMS = {
    program.name: program
    for program in (
        Program("prometheus", "prometheus", "/usr/bin/prometheus", unpackable=True),
        Program("promtool", "prometheus", "/usr/bin/promtool", unpackable=True),
        # Not unpackable: it reads templates of its package where that puts them.
        Program("prometheus-alertmanager", "prometheus-alertmanager", "/usr/bin/prometheus-alertmanager"),
        Program("containerd", "containerd", "/usr/bin/containerd"),
        Program("containerd-shim-runc-v2", "containerd", "/usr/bin/containerd-shim-runc-v2"),
        Program("ctr", "containerd", "/usr/bin/ctr"),
        Program("runc", "runc", "/usr/sbin/runc"),
        Program("ptp", "containernetworking-plugins", "/usr/lib/cni/ptp"),
        Program("ip", "iproute2", "/usr/sbin/ip"),
        Program("nft", "nftables", "/usr/sbin/nft"),
        Program("iptables", "iptables", "/usr/sbin/iptables"),
        Program("conntrack", "conntrack", "/usr/sbin/conntrack"),
        Program("nsenter", "util-linux", "/usr/bin/nsenter"),
        Program("debootstrap", "debootstrap", "/usr/sbin/debootstrap"),
    )
}
NODE = (
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "ptp",
    "ip",
    "nft",
    "iptables",
    "conntrack",
    "nsenter",
)


def ensure(names: Iterable[str], reporter: progress.Reporter) -> dict[str, pathlib.Path]:
    """Name → path of every program asked for, after installing what is missing. Raises PackageError."""
    programs = [PROGRAMS[name] for name in names]
    missing = [program for program in programs if find(program) is None]
    if missing:
        with locks.hold(instance.cache_root() / "debian.lock"):
            _provide([program for program in missing if find(program) is None], reporter)
    found = {program.name: find(program) for program in programs}
    absent = sorted(PROGRAMS[name].package for name, path in found.items() if path is None)
    if absent:
        raise PackageError(f"after installation still missing: {', '.join(absent)}")
    return {name: path for name, path in found.items() if path is not None}


def find(program: Program) -> pathlib.Path | None:
    """Where the program is: PATH, its place in the package, or unpacked in the cache."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if found := shutil.which(program.name, path=search):
        return pathlib.Path(found)
    for candidate in (pathlib.Path(program.path), _unpacked(program)):
        if candidate.is_file():
            return candidate
    return None


def _provide(programs: list[Program], reporter: progress.Reporter) -> None:
    if not programs:
        return
    packages = sorted({program.package for program in programs})
    if shutil.which("apt-get") is None:
        raise PackageError(f"these Debian packages are needed and apt-get is not here: {' '.join(packages)}")
    if os.geteuid() == 0:
        reporter.say(f"apt-get will install: {' '.join(packages)}")
        _install(packages, reporter)
        return
    if not all(program.unpackable for program in programs):
        raise PackageError(f"as root: apt-get install --no-install-recommends {' '.join(packages)}")
    reporter.say(f"apt-get will download, and unpack into the cache: {' '.join(packages)}")
    for program in programs:
        _unpack(program, reporter)


def _install(packages: list[str], reporter: progress.Reporter) -> None:
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    with reporter.step(f"apt-get install {' '.join(packages)}"):
        if _apt(command).returncode == 0:
            return
        _apt(["apt-get", "update", "--quiet"])
        result = _apt(command)
    if result.returncode:
        raise PackageError(f"{' '.join(command)} failed: {result.stderr.strip()[-500:]}")


def _apt(command: list[str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    # policy-rc.d is not ours to write; services that a package starts are stopped by RUNLEVEL=1.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def _unpack(program: Program, reporter: progress.Reporter) -> None:
    with reporter.step(f"unpacking {program.package}"), tempfile.TemporaryDirectory() as folder:
        result = _apt(["apt-get", "download", "--quiet", program.package], cwd=folder)
        archives = list(pathlib.Path(folder).glob("*.deb"))
        if result.returncode or not archives:
            raise PackageError(
                f"apt-get download {program.package} failed ({result.stderr.strip()[-300:]}); "
                f"as root: apt-get install --no-install-recommends {program.package}"
            )
        subprocess.run(["dpkg", "-x", str(archives[0]), str(_unpack_root(program))], check=True)


def _unpack_root(program: Program) -> pathlib.Path:
    return instance.cache_root() / "debian" / program.package


def _unpacked(program: Program) -> pathlib.Path:
    return _unpack_root(program) / program.path.lstrip("/")
