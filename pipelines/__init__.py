"""From a folder of images to a registered generator: DVC stages, Prefect flows, MLflow tracking."""

import atexit
import gc
import sys


def _end_soon() -> None:
    """Spare the interpreter its search of all objects for garbage at its end, a second or more after MLflow or Prefect.

    Triton, which torch brings, prints a line for each of its objects that no search has taken away.
    """
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


atexit.register(_end_soon)
