"""What `gan data check` and `gan data show` share."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ganlib.config import DataOptions, PreprocessOptions
from ganlib.datasets.packing.survey import Survey, survey
from pipelines import paths
from pipelines.graph.locking import hold
from pipelines.preflight import check_source
from pipelines.stages.shell import ProgressDisplay, say

TABLE_WIDTH = 100


@contextmanager
def surveyed(project: Path, options: DataOptions, preprocess: PreprocessOptions) -> Iterator[Survey]:
    """All of a source read and judged, with progress; what is decoded is kept for the preprocess stage.

    Raises:
        UserError: as `survey`.
    """
    check_source(project, options.source)
    with hold(project / paths.PACKING_LOCK, on_wait=say), ExitStack() as stack:
        # Its bar ends before others print.
        with ProgressDisplay("data") as display:
            found = stack.enter_context(survey(options, preprocess, project / paths.PACKING, on_event=display))
        yield found
