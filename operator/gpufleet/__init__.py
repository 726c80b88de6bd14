"""gpufleet: a Kubernetes operator for GPU inference and training fleets."""

__version__ = "0.1.0"
