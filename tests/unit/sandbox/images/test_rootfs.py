"""Wheels are those for the image's Python and C library, not the host's; failures say what a program said."""

from __future__ import annotations

import pathlib
import re

import pytest

from gpufleet_sandbox import progress
from gpufleet_sandbox.images import rootfs

IMAGES = pathlib.Path(rootfs.__file__).parent
LOCKS = [*sorted(IMAGES.glob("*.txt")), pathlib.Path(__file__).parents[4] / "requirements.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_pinned_by_hash_and_without_address(lock):
    text = lock.read_text()
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text))[1:]

    assert entries
    assert [entry for entry in entries if not re.match(r"[\w.\-]+(\[\w+\])?==\S+", entry)] == []
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "--index-url" not in "\n".join(line for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize(
    ("tag", "offered"),
    [
        pytest.param("manylinux_2_36_x86_64", True, id="the suite's glibc"),
        pytest.param("manylinux_2_17_x86_64", True, id="older"),
        pytest.param("manylinux2014_x86_64", True, id="older, by its former name"),
        pytest.param("manylinux_2_39_x86_64", False, id="newer than the suite's glibc"),
        pytest.param("manylinux_2_28_aarch64", False, id="another machine"),
        pytest.param("musllinux_1_2_x86_64", False, id="another C library"),
    ],
)
def test_platform_tags(tag, offered):
    assert (tag in rootfs.build_platform_tags("x86_64")) is offered


def test_newest_platform_comes_first():
    assert rootfs.build_platform_tags("aarch64")[0] == "manylinux_2_36_aarch64"


def test_failing_program_is_named_with_its_last_words():
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; echo no such suite >&2; exit 3"

    with pytest.raises(rootfs.ImageError, match="no such suite") as caught:
        rootfs.run(["/bin/sh", "-c", script])

    assert str(caught.value).startswith("sh: ")
    assert "line 2\n" not in str(caught.value)


def test_every_line_advances_the_step():
    step = progress.Step("a program")

    rootfs.run(["/bin/sh", "-c", "echo a; echo b >&2; echo c"], step)

    assert step.done == 3


def test_what_differs_between_machines_is_trimmed(tmp_path):
    kept = ["numpy/__init__.py", "numpy/core/bin/tool", "numpy-2.dist-info/METADATA"]
    trimmed = [
        "bin/f2py",
        "numpy-2.dist-info/RECORD",
        "numpy/tests/tests/test_a.py",
        "numpy/__pycache__/a.pyc",
    ]
    for name in (*kept, *trimmed):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    rootfs.trim_wheels(tmp_path)

    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)
    assert not (tmp_path / "numpy/tests").exists()
