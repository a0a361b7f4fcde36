"""Packed images: the manifest, memory-mapped reading and the order: all that training imports."""
