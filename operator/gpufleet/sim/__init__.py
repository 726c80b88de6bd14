"""Simulations on a virtual clock: what a decision would do, without a cluster."""
