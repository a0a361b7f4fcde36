"""From a folder of images to a registered generator: DVC stages, Prefect flows, MLflow tracking."""

import atexit
import gc

# At its end the interpreter searches all objects for garbage, a second or more after MLflow, Prefect and torch.
atexit.register(gc.freeze)
