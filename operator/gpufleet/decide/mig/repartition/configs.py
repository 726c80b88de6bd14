"""mig-manager's configurations: named by their content, kept as long as a node names them.

The file belongs to one writer as far as our names go. What people have put beside them stays, word for word.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import reasons
from gpufleet.state import mig, names

KEY = "config.yaml"
LIMIT_BYTES = 1_000_000
"""Of the file: an object of etcd has 1 MiB at most, and the ConfigMap has some metadata."""
_HASH_LENGTH = 12
_HEADER = "version: v1\nmig-configs:\n"
_OURS = re.compile(rf"^ +({re.escape(names.MIG_CONFIG_PREFIX)}[0-9a-f]{{{_HASH_LENGTH}}}): (\[.*\])$")
_ROOT = re.compile(r"^mig-configs:\s*(\{\s*\})?\s*$")


class ConfigFileError(ValueError):
    """What people have written cannot be read, so that nothing may be written beside it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Needs:
    """Layouts by configuration name, and names that some node's label has though nobody knows the layout."""

    layouts: Mapping[str, mig.Layout] = dataclasses.field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    labelled: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """The file as it should be. `text` is None where it is so already, `published` are our names in it now.

    `lost` are names that a node already follows and that are gone, or say something else now.
    """

    text: str | None
    published: frozenset[str]
    lost: frozenset[str] = frozenset()
    size: int = 0


def render(layout: mig.Layout) -> str:
    """A configuration in mig-parted's schema, one item per distinct layout of a GPU."""
    alike: dict[mig.Counts | None, list[int]] = {}
    for index, slices in layout.gpus:
        alike.setdefault(slices, []).append(index)
    entries: list[dict[str, Any]] = []
    for slices, indices in sorted(alike.items(), key=lambda item: item[1]):
        entry: dict[str, Any] = {"devices": indices, "mig-enabled": slices is not None}
        entries.append(entry if slices is None else entry | {"mig-devices": dict(slices)})
    return json.dumps(entries, separators=(",", ":"))


def choose_name(layout: mig.Layout, taken: Collection[str]) -> str:
    """Named by its content, and salted where the name is taken: mig-manager acts on another value only."""
    salt = 0
    while (name := _name(layout, salt)) in taken:
        salt += 1
    return name


def _name(layout: mig.Layout, salt: int) -> str:
    text = render(layout) + (f"#{salt}" if salt else "")
    return names.MIG_CONFIG_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


def find_needs(nodes: Iterable[reading.Facts]) -> Needs:
    """What nodes are, are to be, or may go back to."""
    layouts: dict[str, mig.Layout] = {}
    labels: set[str] = set()
    for node in nodes:
        if node.wanted and _is_ours(node.wanted.config):
            layouts[node.wanted.config] = node.wanted.layout
        if change := node.change:
            layouts[change.config] = change.to
            if change.back is not None and _is_ours(change.back_config):
                layouts[change.back_config] = change.back
        if _is_ours(node.label):
            labels.add(node.label)
    return Needs(layouts, frozenset(labels - layouts.keys()), frozenset(labels))


def plan_file(live: str | None, needs: Needs) -> File:
    """The file that holds what is needed and what is not ours. Raises ConfigFileError."""
    foreign, ours = _split(live or _HEADER)
    wanted = {name: render(layout) for name, layout in needs.layouts.items()}
    wanted |= {name: ours[name] for name in needs.kept if name in ours}
    text = _join(foreign, wanted)
    right = {name for name in wanted if ours.get(name) == wanted[name]}
    is_same = live is not None and ours == wanted
    return File(
        text=None if is_same or (live is None and not wanted) else text,
        published=frozenset(right),
        lost=frozenset(needs.labelled & (wanted.keys() - right)),
        size=len(text.encode()),
    )


def plan_write(live: str | None, labels: Mapping[str, str], needs: Needs) -> str | None:
    """What is to be written now, None where nothing is. Raises ConfigFileError.

    A file that is right is written once more where its object lacks our label, without which the watch does
    not show it.
    """
    wanted = plan_file(live, needs).text
    is_seen = labels.get(names.MANAGED_BY) == names.MANAGER
    return live if wanted is None and not is_seen else wanted


def measure(layout: mig.Layout) -> int:
    """Bytes that a configuration takes in the file."""
    return len(render(layout)) + len(names.MIG_CONFIG_PREFIX) + _HASH_LENGTH + 8


def explain_full(size: int) -> reading.Trouble:
    """Nothing begins while the file has no room for two more configurations."""
    return (
        reasons.CONFIG_MAP_FULL,
        f"mig-manager's ConfigMap would have {size} bytes of {LIMIT_BYTES}: give more nodes the same layout, "
        "by fewer allowedProfiles or mode Static",
    )


def _is_ours(name: str) -> bool:
    return name.startswith(names.MIG_CONFIG_PREFIX)


def _split(text: str) -> tuple[list[str], dict[str, str]]:
    """(lines that are not ours, our configurations). Raises ConfigFileError."""
    ours: dict[str, str] = {}
    foreign: list[str] = []
    for line in text.splitlines():
        if found := _OURS.match(line):
            ours[found[1]] = found[2]
        else:
            foreign.append(line)
    _check("\n".join(foreign))
    return foreign, ours


@functools.lru_cache(maxsize=8)
def _check(text: str) -> None:
    """Whether what is not ours leaves room for what is; it hardly ever changes. Raises ConfigFileError."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigFileError(f"{KEY} is no YAML: {error}") from error
    if not isinstance(document, dict) or document.get("version") != "v1":
        raise ConfigFileError(f"{KEY} has no version: v1")
    if not isinstance(document.get("mig-configs") or {}, dict) or not any(
        map(_ROOT.match, text.splitlines())
    ):
        raise ConfigFileError(f"{KEY} has no line mig-configs: with configurations below it")


def _join(foreign: Iterable[str], ours: Mapping[str, str]) -> str:
    lines: list[str] = []
    theirs = list(foreign)
    for position, line in enumerate(theirs):
        if not _ROOT.match(line):
            lines.append(line)
            continue
        indent = _find_indent(theirs[position + 1 :])
        lines.append("mig-configs:" if ours or indent else "mig-configs: {}")
        lines += [f"{indent or '  '}{name}: {ours[name]}" for name in sorted(ours)]
    return "\n".join(lines) + "\n"


def _find_indent(following: Iterable[str]) -> str:
    """As people have indented their own; nothing where there are none."""
    for line in following:
        if line.strip() and not line.lstrip().startswith("#"):
            return line[: len(line) - len(line.lstrip())]
    return ""
