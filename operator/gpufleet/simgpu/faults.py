"""Faults on command: what a node's annotation `gpufleet.dev/simgpu-fault` asks for, while it stands.

Items, separated by commas: `mig-failed` (changes of the layout fail), `mig-stuck` (they stay pending),
`unhealthy=<gpu>`, `xid=<gpu>:<code>`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

ANNOTATION = "gpufleet.dev/simgpu-fault"

APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""XIDs that the NVIDIA device plugin puts down to the application: the device stays healthy."""


@dataclasses.dataclass(frozen=True, slots=True)
class Faults:
    """What is to go wrong now; GPUs by index."""

    mig_failed: bool = False
    mig_stuck: bool = False
    unhealthy: frozenset[int] = frozenset()
    xids: Mapping[int, int] = dataclasses.field(default_factory=dict)

    @property
    def unhealthy_gpus(self) -> frozenset[int]:
        """GPUs that the device plugin reports Unhealthy: told so, or after an XID of the hardware."""
        return self.unhealthy | {gpu for gpu, xid in self.xids.items() if xid not in APPLICATION_XIDS}


def parse(annotation: str | None) -> Faults:
    """Faults of an annotation; an item that cannot be read is logged and left out."""
    flags: set[str] = set()
    unhealthy: set[int] = set()
    xids: dict[int, int] = {}
    for item in filter(None, (part.strip() for part in (annotation or "").split(","))):
        name, _, value = item.partition("=")
        try:
            if name == "unhealthy":
                unhealthy.add(int(value))
            elif name == "xid":
                gpu, _, code = value.partition(":")
                xids[int(gpu)] = int(code)
            elif item in ("mig-failed", "mig-stuck"):
                flags.add(item)
            else:
                log.error(
                    "%s: %r is none of mig-failed, mig-stuck, unhealthy=<gpu>, xid=<gpu>:<code>",
                    ANNOTATION,
                    item,
                )
        except ValueError:
            log.error("%s: %r lacks a number: unhealthy=<gpu>, xid=<gpu>:<code>", ANNOTATION, item)
    return Faults("mig-failed" in flags, "mig-stuck" in flags, frozenset(unhealthy), xids)
