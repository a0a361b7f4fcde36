"""From a folder of images to a registered generator: DVC stages, Prefect flows, MLflow tracking."""

import atexit
import gc
import os
import sys

# OpenMP's threads wait for each other by spinning, which on a busy machine takes the cores from those
# that are waited for; threads that sleep at once make small steps slower (docs/log.md). The runtime reads this
# once, when torch is imported; trials that foretell how long a stage takes are to wait alike.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _end_soon() -> None:
    """Spare the interpreter its search of all objects for garbage at its end, a second or more after MLflow or Prefect.

    Triton, which torch brings, prints a line for each of its objects that no search has taken away.
    """
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


atexit.register(_end_soon)
