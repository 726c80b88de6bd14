"""Decisions: (spec, snapshot, now) → what is to exist. Pure; nothing here reads a clock or a cluster."""
