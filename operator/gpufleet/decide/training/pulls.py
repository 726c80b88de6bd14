"""Images that do not come: a gang must not hold its devices for ever while a worker waits for one."""

from __future__ import annotations

import datetime

from gpufleet.decide.training import failure
from gpufleet.state import children, fleet, view

ONE_NODE_S = 120.0
"""How long one node may fail to pull what another has pulled."""
EVERYWHERE_S = 600.0
"""How long a registry may be away, or an image be missing."""
_PULL = frozenset({"ErrImagePull", "ImagePullBackOff"})
_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})


def find(
    view: view.JobView, newest: children.Child, now: datetime.datetime
) -> tuple[failure.Failure | None, float | None]:
    """(the failure, None) where it has waited long enough, else (None, seconds until then, if any)."""
    workers = failure.pods_of(view, newest)
    image = view.job.spec.template.image
    for one in workers:
        if any(state.waiting_reason in _HOPELESS for state in one.containers):
            message = f"{one.name} cannot use image {image}; correct template.image"
            return failure.Failure("UserError", message, one.name), None
    waiting = [one for one in workers if one.phase == "Pending" and _is_pulling(one) and one.started_at]
    if not waiting:
        return None, None
    first = min(waiting, key=lambda one: (one.started_at, one.name))
    elsewhere = any(one.phase != "Pending" and one.node != first.node for one in workers)
    limit_s = ONE_NODE_S if elsewhere else EVERYWHERE_S
    left_s = limit_s - (now - datetime.datetime.fromisoformat(first.started_at)).total_seconds()
    if left_s > 0:
        return None, left_s
    if elsewhere:
        message = f"{first.node} did not pull {image} within {limit_s:.0f} s, which others have"
        return failure.Failure("Infrastructure", message, first.name, first.node), None
    message = f"no node pulled {image} within {limit_s:.0f} s; correct template.image or imagePullSecrets"
    return failure.Failure("UserError", message, first.name), None


def _is_pulling(pod: fleet.Pod) -> bool:
    return any(state.waiting_reason in _PULL for state in pod.containers)
