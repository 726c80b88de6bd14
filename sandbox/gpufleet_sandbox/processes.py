"""Daemons of a sandbox: started in a session of their own, found again and stopped through pid files.

A pid file holds the pid and the kernel's start time of the process, so that a pid the kernel has
given to somebody else is never signalled. Every daemon also carries `MARKER` in its environment:
what was started in the instant before its pid file was written can still be found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

import psutil

MARKER = "GPUFLEET_SANDBOX_DIRECTORY"
_POLL_S = 0.05


class StartError(RuntimeError):
    """A daemon could not be started, or ended before it was ready."""


@dataclasses.dataclass(frozen=True)
class Process:
    """One daemon; `started` identifies the process among all that ever had this pid."""

    name: str
    directory: pathlib.Path
    pid: int
    started: str

    @property
    def log(self) -> pathlib.Path:
        return log_path(self.name, self.directory)

    @property
    def pid_file(self) -> pathlib.Path:
        return _pid_path(self.name, self.directory)

    def is_alive(self) -> bool:
        started, is_zombie = _read_stat(self.pid)
        if started != self.started:
            return False
        if is_zombie and not _has_threads(self.pid):
            _reap(self.pid)
            return False
        return True

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM, and SIGKILL when the process is still there after `timeout_s` seconds."""
        for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 10.0)):
            if not self.is_alive():
                break
            self._signal(number)
            self._wait(patience_s)
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL at once, as a crash would end it."""
        self._signal(signal.SIGKILL)
        self._wait(10.0)
        self.pid_file.unlink(missing_ok=True)

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log, for messages."""
        return tail(self.log, lines)

    def check(self) -> None:
        """Raises StartError with the end of the log when the process is gone."""
        if not self.is_alive():
            raise StartError(f"{self.name} ended early; the end of {self.log}:\n{self.tail()}")

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def start(
    name: str,
    argv: Sequence[str | os.PathLike[str]],
    directory: pathlib.Path,
    *,
    env: Mapping[str, str] | None = None,
    nice: int = 5,
    prefix: Sequence[str] = (),
) -> Process:
    """Starts `prefix + argv` as a daemon, or returns the one that already runs under this name.

    `env` is added to this process's environment. Output goes to `<directory>/<name>.log`.
    Programs in `prefix` (nsenter, unshare) must exec and not fork, or the pid is not the daemon's.
    """
    running = load(name, directory)
    if running is not None and running.is_alive():
        return running
    directory.mkdir(parents=True, exist_ok=True)
    command = [*prefix, "nice", "-n", str(nice), *(os.fspath(word) for word in argv)]
    pid = _spawn(command, {**os.environ, **(env or {}), MARKER: str(directory)}, log_path(name, directory))
    process = Process(name, directory, pid, _read_stat(pid)[0])
    _write_atomically(process.pid_file, json.dumps({"pid": pid, "started": process.started}))
    return process


def load(name: str, directory: pathlib.Path) -> Process | None:
    """The process that the pid file names, alive or not; None without a readable pid file."""
    try:
        record = json.loads(_pid_path(name, directory).read_text())
        return Process(name, directory, int(record["pid"]), str(record["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load_all(directory: pathlib.Path) -> list[Process]:
    """Every process that has a pid file in `directory` itself."""
    found = (load(path.stem, directory) for path in sorted(directory.glob("*.pid")))
    return [process for process in found if process is not None]


def find_marked(directory: pathlib.Path) -> list[Process]:
    """Live processes that were started for `directory` or a folder below it, pid file or not."""
    marked = []
    for pid, home in _read_markers():
        if home == directory or directory in home.parents:
            marked.append(Process(f"pid-{pid}", home, pid, _identity(pid)))
    return [process for process in marked if process.started and process.pid != os.getpid()]


def log_path(name: str, directory: pathlib.Path) -> pathlib.Path:
    return directory / f"{name}.log"


def tail(path: pathlib.Path, lines: int) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _pid_path(name: str, directory: pathlib.Path) -> pathlib.Path:
    return directory / f"{name}.pid"


def _spawn(command: Sequence[str], env: Mapping[str, str], log: pathlib.Path) -> int:
    program = shutil.which(command[0])
    if program is None:
        raise StartError(f"{command[0]} is not in PATH")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Not subprocess: its objects complain when a child outlives them, and these daemons all do.
    return os.posix_spawn(
        program,
        list(command),
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGINT],
        setsigmask=[],
    )


def _identity(pid: int) -> str:
    """What tells this process from all others that had or will have its pid; empty when there is none."""
    started, is_zombie = _read_stat(pid)
    return "" if is_zombie else started


def _read_stat(pid: int) -> tuple[str, bool]:
    """(boot id and start time in ticks since boot, whether it has ended); ("", False) without process."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "", False
    # The command name may hold blanks and parentheses: fields are counted after the last one.
    fields = stat.rpartition(")")[2].split()
    return f"{boot}:{fields[19]}", fields[0] in ("Z", "X")


def _has_threads(pid: int) -> bool:
    """Whether others outlive the main thread: files and ports are held until the last has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def _reap(pid: int) -> None:
    # Somebody else's child cannot be waited for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _read_markers() -> Iterator[tuple[int, pathlib.Path]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            home = process.environ().get(MARKER)
            if home:
                yield process.pid, pathlib.Path(home)


def _write_atomically(path: pathlib.Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)
