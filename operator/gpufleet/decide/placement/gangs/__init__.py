"""Gangs: who is next, where all of its workers fit, and what is given up for it."""
