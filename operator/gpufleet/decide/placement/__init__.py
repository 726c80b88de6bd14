"""Placement: which resource, which pool and how many, for every object of the fleet."""
