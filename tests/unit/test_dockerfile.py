"""The image that an engine makes of the Dockerfile is the one that the sandbox makes without."""

from __future__ import annotations

import ast
import fnmatch
import inspect
import json
import pathlib
import re
import tomllib
from typing import Any

import pytest

from gpufleet_sandbox.images import recipes, rootfs

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()


def read_stages() -> list[list[tuple[str, str]]]:
    """Instructions of each stage; what comes before the first FROM is stage 0."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    stages: list[list[tuple[str, str]]] = [[]]
    for line in joined:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


def find(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for one, rest in stage if one == word]


def read_recipe() -> dict[str, Any]:
    """The arguments of archive.Config in build_gpufleet."""
    tree = ast.parse(inspect.getsource(recipes.build_gpufleet))
    [call] = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and "Config" in ast.unparse(node.func)
    ]
    return {
        keyword.arg or "": getattr(recipes, keyword.value.id)
        if isinstance(keyword.value, ast.Name)
        else ast.literal_eval(keyword.value)
        for keyword in call.keywords
    }


def test_both_run_the_same_program_as_the_same_user() -> None:
    *_, final = read_stages()
    recipe = read_recipe()
    assert [json.loads(one) for one in find(final, "ENTRYPOINT")] == [recipe["entrypoint"]]
    assert find(final, "USER") == [recipe["user"]]
    assert int(recipe["user"]) > 0, "the kubelet cannot tell from a name that it is not root"


def test_every_variable_of_the_recipe_is_set() -> None:
    *_, final = read_stages()
    given = dict(pair.split("=", 1) for rest in find(final, "ENV") for pair in rest.split())
    assert read_recipe()["environment"].items() <= given.items()


def test_both_stand_on_the_same_base() -> None:
    before, *stages = read_stages()
    [(name, default)] = [one.split("=") for one in find(before, "ARG")]
    assert default == f"python:{rootfs.PYTHON_VERSION}-slim-{rootfs.SUITE}"
    assert {find(stage, "FROM")[0].split()[0] for stage in stages} == {f"${{{name}}}"}


def test_packages_are_those_of_the_lock() -> None:
    installs = [run for stage in read_stages() for run in find(stage, "RUN") if "pip install" in run]
    assert len(installs) == 1
    assert {"--require-hashes", "--no-deps", "-r"} <= set(installs[0].split())
    assert "requirements.txt" in inspect.getsource(recipes.build_gpufleet)


def test_the_image_says_under_which_licence_it_is() -> None:
    *_, final = read_stages()
    [labels] = find(final, "LABEL")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"org.opencontainers.image.licenses={project['license']}" in labels
    assert f'org.opencontainers.image.description="{project["description"]}"' in labels


def test_nothing_but_the_result_reaches_the_image() -> None:
    *_, final = read_stages()
    assert not find(final, "RUN")
    assert all(copy.startswith("--from=build ") for copy in find(final, "COPY"))


@pytest.mark.parametrize(
    "source", [copy.split()[0] for copy in find(read_stages()[1], "COPY")], ids=lambda source: source
)
def test_what_is_copied_exists_and_is_sent_to_the_engine(source: str) -> None:
    assert (ROOT / source).exists()
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert any(fnmatch.fnmatch(source, rule[1:]) for rule in rules if rule.startswith("!"))
