"""From a plan to cut GPUs: what happens to each node next (design 0006). Pure."""
