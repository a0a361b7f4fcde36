"""Where packing runs: on processes of this machine, or on a Dask cluster."""

import os
from contextlib import AbstractContextManager

from ganlib.config import PreprocessOptions
from ganlib.datasets.packing.dask_executor import open_dask
from ganlib.datasets.packing.executor import Executor
from ganlib.datasets.packing.process_executor import ProcessExecutor


def open_executor(options: PreprocessOptions) -> AbstractContextManager[Executor]:
    """The executor that the parameters ask for.

    Raises:
        UserError: Dask is not installed, or no scheduler answers at the address.
    """
    workers = (os.cpu_count() or 1) if options.workers == "auto" else options.workers
    if options.executor == "processes":
        return ProcessExecutor(workers)
    return open_dask(options.dask_address, workers)
