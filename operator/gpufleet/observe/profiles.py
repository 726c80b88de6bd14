"""The ModelProfiles of each service, parsed once per change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pydantic

from gpufleet.api import model_profile
from gpufleet.observe import store


class Profiles:
    """Keeps what was parsed until the object has another resourceVersion."""

    def __init__(self, held: store.Store[store.Raw]) -> None:
        self._held = held
        self._known: dict[str, tuple[str, model_profile.ModelProfileSpec | None]] = {}

    def read(self, owners: Iterable[str]) -> Mapping[str, Sequence[model_profile.ModelProfileSpec]]:
        """By the owner's UID, in the order of their names; one that does not parse is left out."""
        known: dict[str, tuple[str, model_profile.ModelProfileSpec | None]] = {}
        found: dict[str, list[model_profile.ModelProfileSpec]] = {}
        for owner in owners:
            for raw in sorted(self._held.group(owner), key=lambda one: str(one["metadata"]["name"])):
                uid, version = raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]
                before = self._known.get(uid)
                spec = before[1] if before and before[0] == version else _parse(raw)
                known[uid] = (version, spec)
                if spec is not None:
                    found.setdefault(owner, []).append(spec)
        self._known = known
        return found


def _parse(raw: store.Raw) -> model_profile.ModelProfileSpec | None:
    try:
        return model_profile.ModelProfileSpec.model_validate(raw["spec"])
    except (KeyError, pydantic.ValidationError):
        return None
