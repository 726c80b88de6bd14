"""How GPUs are cut, and whether the slices are used."""

from __future__ import annotations

from tools.dashboards.board import Board, Panel, Row, by_profile, one

CUT = 'GPU_I_PROFILE!=""'
SLICES = 'resource=~".*mig-.*"'
NAMED = "{{modelName}} {{GPU_I_PROFILE}}"

UTILISATION = Row(
    "Utilisation and memory",
    (
        Panel(
            "Activity by profile",
            "GR_ENGINE_ACTIVE of the instances of a profile; GPU_UTIL does not exist on MIG.",
            "percentunit",
            one(f"profile:gpu_active:avg{{{CUT}}}", NAMED),
            width=12,
            top=1,
        ),
        Panel(
            "Memory in use by profile",
            "Full small slices beside empty large ones: models sit on the wrong size.",
            "percentunit",
            one(f"profile:gpu_memory_used:ratio{{{CUT}}}", NAMED),
            width=12,
            top=1,
        ),
    ),
)
LAYOUTS = Row(
    "Layouts",
    (
        Panel(
            "Instances by profile",
            "As DCGM sees them now.",
            "short",
            one(f"profile:gpu_devices:count{{{CUT}}}", NAMED),
            kind="stack",
        ),
        Panel(
            "Slices that pods hold",
            "Share of the offered slices of each resource.",
            "percentunit",
            one(
                by_profile(
                    f'fleet:gpufleet_devices:sum{{{SLICES},state="used"}}'
                    f" / on (resource) (sum by (resource) (fleet:gpufleet_devices:sum{{{SLICES}}}) > 0)"
                ),
                "{{profile}}",
            ),
            top=1,
        ),
        Panel(
            "Free slices",
            "Slices that a pod could have now.",
            "short",
            one(by_profile(f'fleet:gpufleet_devices:sum{{{SLICES},state="free"}}'), "{{profile}}"),
            kind="bars",
        ),
    ),
)
FRAGMENTATION = Row(
    "Fragmentation",
    (
        Panel(
            "Boards by how much of them gpufleet's pods hold",
            "Boards of which some slices are held can be neither cut anew nor given away whole.",
            "short",
            one("fleet:mig_boards:count", "{{held}}"),
            kind="stack",
            width=12,
        ),
        Panel(
            "Fullest boards that are not full",
            "Held slices of a board as a share of its slices; candidates to be filled first.",
            "percentunit",
            one("topk(10, board:mig_held:ratio < 1)", "{{Hostname}} GPU {{gpu}}"),
            kind="bars",
            width=12,
            top=1,
        ),
    ),
)

BOARD = Board(
    "mig",
    "gpufleet / MIG",
    "MIG: layouts, use of each profile, fragmentation.",
    (UTILISATION, LAYOUTS, FRAGMENTATION),
)
