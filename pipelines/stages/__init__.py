"""Thin shells, one per DVC stage and of the same name."""

import os

# OpenMP's threads wait for each other by spinning, which on a busy machine takes the cores from those
# that are waited for. A short spin costs an idle machine a few per cent (benchmarks/results). The
# runtime reads this once, when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
