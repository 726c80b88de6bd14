"""The MIG planner: (GPUs, demand, policy) → a layout per GPU. Pure; design 0004 tells how."""
