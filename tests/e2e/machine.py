"""What a sandbox could leave behind on this machine, as sets that can be compared."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import subprocess

import psutil

from gpufleet_sandbox import processes


@dataclasses.dataclass(frozen=True)
class Traces:
    """Names of everything that nodes and control planes are made of."""

    namespaces: frozenset[str]
    interfaces: frozenset[str]
    routes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    instances: frozenset[str]
    daemons: frozenset[str]
    tunables: frozenset[str]


def read_traces(cache: pathlib.Path) -> Traces:
    """Reads the machine as it is now."""
    return Traces(
        namespaces=_names("/run/netns", "*"),
        interfaces=_names("/sys/class/net", "*"),
        routes=frozenset(_output("ip", "-4", "route", "show").splitlines()),
        mounts=frozenset(line.split()[4] for line in _lines("/proc/self/mountinfo")),
        cgroups=_names("/sys/fs/cgroup", "gpufleet/*/*") | _names("/sys/fs/cgroup", "*/gpufleet/*/*"),
        instances=_names(str(cache / "instances"), "[!.]*"),
        daemons=frozenset(_read_daemons()),
        tunables=frozenset(_output("sysctl", "vm.overcommit_memory", "kernel.panic").splitlines()),
    )


def _read_daemons() -> list[str]:
    """Directories for which processes run."""
    homes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if home := process.environ().get(processes.MARKER):
                homes.append(home)
    return homes


def _names(folder: str, pattern: str) -> frozenset[str]:
    found = pathlib.Path(folder).glob(pattern)
    return frozenset(str(path) for path in found if path.is_dir() or folder != "/sys/fs/cgroup")


def _lines(path: str) -> list[str]:
    return pathlib.Path(path).read_text().splitlines()


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
