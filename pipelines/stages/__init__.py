"""Thin shells, one per DVC stage and of the same name."""

import os

# OpenMP's threads wait for each other by spinning, which on a busy machine takes the cores from those
# that are waited for. The runtime reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
