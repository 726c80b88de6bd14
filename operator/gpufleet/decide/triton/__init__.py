"""Triton: typed model configuration as Triton reads it."""
