"""Why a node is changed, waits, or is left alone. Constants, because people and alerts match on them."""

from __future__ import annotations

# A node that is not changed.
SETTLED = "Settled"
NOT_MIG_CAPABLE = "NotMigCapable"
UNKNOWN_DEVICE = "UnknownDevice"
STRATEGY_NOT_MIXED = "StrategyNotMixed"
SLICES_BY_CLAIM = "SlicesByClaim"
POOLS_CONTRADICT = "PoolsContradict"
DEVICE_MAP_MISSING = "DeviceMapMissing"
DEVICE_MAP_STALE = "DeviceMapStale"
NODE_NOT_READY = "NodeNotReady"
NODE_CORDONED = "NodeCordoned"
HELD = "Held"
ADVISORY = "Advisory"
WINDOW_CLOSED = "WindowClosed"
NODES_IN_FLIGHT = "NodesInFlight"
DISRUPTION_BUDGET = "DisruptionBudget"
CONFIG_MAP_FULL = "ConfigMapFull"
CONFIG_MAP_UNREADABLE = "ConfigMapUnreadable"

# A node on its way.
FENCED = "Fenced"
AWAITING_PODS = "AwaitingPods"
DRAINING = "Draining"
EVICTION_REFUSED = "EvictionRefused"
AWAITING_AGENT = "AwaitingAgent"
AWAITING_CONFIG = "AwaitingConfig"
LABELLED = "Labelled"
PENDING = "Pending"
VERIFYING = "Verifying"
ROLLING_BACK = "RollingBack"

# How a change ends.
REPARTITIONED = "Repartitioned"
ROLLED_BACK = "RolledBack"
RECOVERED = "Recovered"
NO_LONGER_WANTED = "NoLongerWanted"
PODS_DO_NOT_LEAVE = "PodsDoNotLeave"
FENCE_REMOVED = "FenceRemoved"
LABEL_EDITED = "LabelEdited"
NODE_REBOOTED = "NodeRebooted"
GPUS_CHANGED = "GpusChanged"
NODE_GONE = "NodeGone"
RECORD_UNREADABLE = "RecordUnreadable"
FENCE_ORPHANED = "FenceOrphaned"

# Why it goes back, or to a person.
STUCK_PENDING = "StuckPending"
CONFIGURATION_FAILED = "ConfigurationFailed"
ROLLBACK_FAILED = "RollbackFailed"
LAYOUT_DIFFERS = "LayoutDiffers"
NOT_ADVERTISED = "NotAdvertised"
DEPLOY_PAUSED = "DeployPaused"
HANDED_OVER = "HandedOver"

# Of a pool.
LAYOUT_IMPOSSIBLE = "LayoutImpossible"
IN_PLACE = "InPlace"
STATIC_LAYOUT = "StaticLayout"

# Of the ConfigMap.
CONFIG_MAP_DELETED = "ConfigMapDeleted"
CONFIG_MAP_EDITED = "ConfigMapEdited"

TROUBLES = frozenset(
    {
        POOLS_CONTRADICT, CONFIG_MAP_FULL, CONFIG_MAP_UNREADABLE, PODS_DO_NOT_LEAVE, FENCE_REMOVED,
        LABEL_EDITED, GPUS_CHANGED, NODE_GONE, RECORD_UNREADABLE, FENCE_ORPHANED, STUCK_PENDING,
        CONFIGURATION_FAILED, ROLLBACK_FAILED, LAYOUT_DIFFERS, NOT_ADVERTISED, DEPLOY_PAUSED,
        HANDED_OVER, LAYOUT_IMPOSSIBLE, CONFIG_MAP_DELETED, CONFIG_MAP_EDITED, ROLLED_BACK,
        NODE_REBOOTED,
    }
)  # fmt: skip
"""Those that are worth a warning."""
