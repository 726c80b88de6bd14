"""Serving: a TritonService becomes Deployments, Services and the list of wanted models."""
