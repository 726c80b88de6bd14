"""Simulated GPUs of one node: what the kubelet, mig-manager's callers and Prometheus see of real ones."""
