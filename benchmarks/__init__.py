"""Ratios measured in one run; `results/` keeps the figures with machine and versions."""
