"""One consistent view of the fleet; every decision of a pass reads this value and nothing else."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from gpufleet.api import gpu_pool, model_profile, training_job, triton_service
from gpufleet.state import fleet


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """The fleet at one moment; tuples are sorted, so that equal fleets give equal decisions."""

    nodes: tuple[fleet.Node, ...] = ()
    pods: tuple[fleet.Pod, ...] = ()
    pools: tuple[gpu_pool.GPUPool, ...] = ()
    services: tuple[triton_service.TritonService, ...] = ()
    jobs: tuple[training_job.TrainingJob, ...] = ()
    live_replicas: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Replicas that a service's Deployments ask for, by the service's UID: seeds a lost assignment."""
    live_workers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Parallelism of the newest Job of a training job, by its UID."""
    left_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """In how many seconds training jobs end by their own reports, by UID; of few that is known."""
    priorities: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Values of the PriorityClasses by name; that of the cluster's default under the empty name."""

    profiles: Mapping[str, Sequence[model_profile.ModelProfileSpec]] = dataclasses.field(default_factory=dict)
    """How long models take for a batch, by the UID of their service; of a model one for each hardware."""

    def nodes_of(self, pool: gpu_pool.GPUPool) -> tuple[fleet.Node, ...]:
        """Nodes that carry every label of the pool's selector."""
        wanted = pool.spec.node_selector.items()
        return tuple(node for node in self.nodes if wanted <= dict(node.labels).items())

    def used_on_nodes(self) -> Mapping[str, Counter[str]]:
        """Extended resources that pods hold, by node; a terminating pod holds until it has ended."""
        used: dict[str, Counter[str]] = {node.name: Counter() for node in self.nodes}
        for pod in self.pods:
            if pod.node in used and not pod.is_terminal:
                used[pod.node].update(pod.requests)
        return used

    def free_on(self, node: fleet.Node, used: Mapping[str, Counter[str]]) -> Counter[str]:
        """Extended resources that a new pod could have on this node; nothing on an unusable one."""
        if not node.is_usable:
            return Counter()
        return Counter({name: count - used[node.name][name] for name, count in node.allocatable.items()})
