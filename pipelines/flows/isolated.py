"""A run in a worktree of its own, with its outcome in MLflow beside the branch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines import paths
from pipelines.graph import workspace
from pipelines.graph.workspace import Request, Say, Workspace
from pipelines.preflight import check_project
from pipelines.registry.verdict import Registration
from pipelines.tracking.runs import attach_run

ARTIFACTS = "outcome"


@contextmanager
def isolated_run(home: Path, request: Request, *, say: Say) -> Iterator[Workspace]:
    """As `workspace.isolated`, once parameters, data and machine are found to fit.

    Raises:
        UserError: they do not, or as `workspace.isolated`.
    """
    with workspace.isolated(home, request, say=say) as place:
        check_project(place.project)
        yield place
        if (place.project / paths.REGISTRATION).exists() and workspace.has_news(place):
            _log(place)


def _log(place: Workspace) -> None:
    """Keep what identifies the outcome with the generator's run: the branch may be deleted some day."""
    made = Registration.read(place.project / paths.REGISTRATION).generator_sha256
    tags = {"ganlib.branch": place.branch}
    with attach_run(experiment=place.config.tracking.experiment, generator_sha256=made, tags=tags) as log:
        for path in (paths.DVC_LOCK, paths.PARAMS):
            log.artifact(place.project / path, ARTIFACTS)
