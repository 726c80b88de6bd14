"""What every manifest must be like for the comparison with the live object to find only real changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpufleet.decide.resources import quantity

# Without emptyDir: {} there would be no volume.
MAY_BE_EMPTY = {"emptyDir"}


def find_unstable(value: Any, path: str = "") -> Iterator[str]:
    """Fields that the API server would drop or write in another way."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            here = f"{path}.{key}"
            if one is None or (one in ([], {}, "") and key not in MAY_BE_EMPTY):
                yield f"{here} is {one!r}"
            if key in ("requests", "limits"):
                yield from (
                    f"{here}.{name} is {amount}"
                    for name, amount in one.items()
                    if quantity.canonical(amount) != amount
                )
            if key == "sizeLimit" and quantity.canonical(one) != one:
                yield f"{here} is {one}"
            yield from find_unstable(one, here)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from find_unstable(one, f"{path}[{index}]")


def find_repeated(pod: Mapping[str, Any]) -> list[str]:
    """Names that a list of the pod has twice, which the API server refuses."""
    lists: list[list[str]] = [[volume["name"] for volume in pod.get("volumes", [])]]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        lists.append([variable["name"] for variable in container.get("env", [])])
        lists.append([mount["mountPath"] for mount in container.get("volumeMounts", [])])
    return sorted(name for names in lists for name in set(names) if names.count(name) > 1)
