"""The artifacts of one run, read and added to."""

import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from ganlib.errors import UserError
from pipelines.tracking.store import reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_Found = TypeVar("_Found")


class Unusable(UserError):
    """A run has no such artifact, or a damaged one."""


class RunArtifacts:
    """The artifacts of a run; every method raises a UserError where the store does not answer."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._listed: dict[str, set[str]] = {}

    def read(self, artifact: PurePosixPath, read: Callable[[Path], _Found]) -> _Found:
        """Fetch an artifact, and what `read` makes of the file.

        Raises:
            Unusable: the run has none, or `read` raises a UserError of it.
        """
        with reachable(), tempfile.TemporaryDirectory() as folder:
            if str(artifact) not in self._names(str(artifact.parent)):
                raise Unusable(f"no {artifact}")
            file = Path(self._client.download_artifacts(self._run_id, str(artifact), folder))
            try:
                return read(file)
            except UserError as error:
                raise Unusable(str(error).replace(str(file), str(artifact))) from None

    def log(self, path: Path, folder: str) -> None:
        """Add a file to a folder of the artifacts."""
        with reachable():
            self._client.log_artifact(self._run_id, str(path), folder)

    def _names(self, folder: str) -> set[str]:
        if folder not in self._listed:
            self._listed[folder] = {each.path for each in self._client.list_artifacts(self._run_id, folder)}
        return self._listed[folder]
