"""Reads: informers, our own kinds, and what model agents say, joined into one consistent view."""
