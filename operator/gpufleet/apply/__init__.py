"""Writes: what was decided becomes what exists, by server-side apply under our field managers."""
