"""Thin shells, one per DVC stage and of the same name."""
