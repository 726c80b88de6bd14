"""Daemons: found again by pid file, never confused with a stranger, stopped for sure."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time

import pytest

from gpufleet_sandbox import processes

SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(60)",
]


@pytest.fixture
def start(tmp_path):
    started = []

    def start_daemon(argv=SLEEPER, name="daemon", **options):
        process = processes.start(name, argv, tmp_path, **options)
        started.append(process)
        deadline = time.monotonic() + 10
        while argv in (SLEEPER, STUBBORN) and "ready" not in process.tail():
            assert time.monotonic() < deadline, f"{name} did not start: {process.tail()}"
            time.sleep(0.01)
        return process

    yield start_daemon
    for process in started:
        process.kill()


def test_started_daemon_is_alive_in_its_own_session(start):
    process = start()

    assert process.is_alive()
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_daemon_is_found_again_by_its_pid_file(start, tmp_path):
    process = start()

    assert processes.load("daemon", tmp_path) == process
    assert processes.load_all(tmp_path) == [process]


def test_second_start_returns_the_running_one(start):
    assert start() == start()


@pytest.mark.parametrize(
    "argv", [pytest.param(SLEEPER, id="obeys SIGTERM"), pytest.param(STUBBORN, id="ignores SIGTERM")]
)
def test_stop_ends_the_process_and_removes_its_pid_file(start, tmp_path, argv):
    process = start(argv)

    process.stop(timeout_s=0.3)

    assert not process.is_alive()
    assert processes.load("daemon", tmp_path) is None


def test_recycled_pid_is_neither_alive_nor_signalled(start, tmp_path):
    process = start()
    stranger = dataclasses.replace(process, name="stranger", started="another boot:1")

    stranger.stop(timeout_s=0.1)

    assert not stranger.is_alive()
    assert process.is_alive()


def test_environment_and_output_reach_the_daemon(start, tmp_path):
    program = "import os, sys; print(os.environ['COLOUR']); sys.stderr.write('and errors')"
    process = start([sys.executable, "-c", program], env={"COLOUR": "green"})
    deadline = time.monotonic() + 10
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert process.tail() == "green\nand errors"


def test_check_shows_the_log_of_a_daemon_that_ended(start):
    process = start([sys.executable, "-c", "raise SystemExit('no such flag')"])
    deadline = time.monotonic() + 10
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)

    with pytest.raises(processes.StartError, match="no such flag"):
        process.check()


def test_daemon_without_pid_file_is_found_by_its_mark(start, tmp_path):
    process = start()
    process.pid_file.unlink()

    assert [found.pid for found in processes.find_marked(tmp_path)] == [process.pid]
    assert [found.pid for found in processes.find_marked(tmp_path.parent)] == [process.pid]
    assert processes.find_marked(tmp_path / "elsewhere") == []


def test_missing_program_is_named(tmp_path):
    with pytest.raises(processes.StartError, match="no-such-program"):
        processes.start("x", ["x"], tmp_path, prefix=["no-such-program"])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("12", id="a bare number"),
        pytest.param("{}", id="no fields"),
        pytest.param(json.dumps({"pid": "x", "started": "y"}), id="pid is no number"),
    ],
)
def test_unreadable_pid_file_is_no_process(tmp_path, text):
    (tmp_path / "daemon.pid").write_text(text)

    assert processes.load("daemon", tmp_path) is None
