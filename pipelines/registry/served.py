"""Versions of a registered model, loaded to be used: with the code and the files that they were registered with."""

import re
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganlib.errors import UserError
from pipelines.registry.versions import load_version, quiet_pyfunc
from pipelines.tracking.delivery import GENERATOR_SHA256
from pipelines.tracking.store import connect_to_read, reachable

with quiet_pyfunc():
    from pipelines.registry.model_code import (
        MOST_REJECTED,
        SampleRequest,
        Samples,
        TranslateRequest,
        Translations,
    )

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "MOST_REJECTED",
    "LoadedVersion",
    "ModelAddress",
    "SampleRequest",
    "Samples",
    "TranslateRequest",
    "Translations",
    "find_number",
    "load",
]

_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d{1,9}))")


@dataclass(frozen=True)
class ModelAddress:
    """Which version of a model is meant: the one that has an alias, or a number."""

    name: str
    alias: str | None
    version: str | None

    @classmethod
    def parse(cls, text: str) -> "ModelAddress":
        """Read `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

        Raises:
            UserError: it is neither.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise UserError(f"{text}: no address of a model; expected models:/NAME@ALIAS or models:/NAME/VERSION")
        return cls(found["name"], found["alias"], found["version"])

    def __str__(self) -> str:
        return f"models:/{self.name}" + (f"@{self.alias}" if self.alias else f"/{self.version}")


@dataclass(frozen=True)
class LoadedVersion:
    """A version that can be asked.

    Attributes:
        name: of the model.
        number: of the version.
        generator_sha256: of its generator.
        model: a `Sampler` or `Translator` of the version's own code.
    """

    name: str
    number: str
    generator_sha256: str
    model: Any

    @property
    def translates(self) -> bool:
        """Whether it is given images."""
        return not hasattr(self.model, "rows")

    def rows(self, request: SampleRequest) -> "tuple[torch.Tensor, torch.Tensor | None, list[int] | None]":
        """What the generator is given for a request: latents [N, Z] and class indices [N], if it takes classes.

        With a rejection, at which attempt each row was found follows; it has to be searched for, which takes time.

        Raises:
            UserError: classes that there are not, or a rejection of which the version knows nothing.
        """
        from mlflow.exceptions import MlflowException

        try:
            if not request.rejection:
                return (*self.model.rows(request), None)
            if not hasattr(self.model, "chosen_rows"):
                raise UserError(f"rejection: version {self.number} has code that knows of none; register it anew")
            latents, labels, attempts = self.model.chosen_rows(request)
        except MlflowException as error:
            raise UserError(error.message) from None
        return latents, labels, attempts

    def translations(self, requests: Sequence[TranslateRequest]) -> list[Translations]:
        """What a translator answers.

        Raises:
            UserError: what is sent is no image, or there is no such kind to make.
        """
        from mlflow.exceptions import MlflowException

        try:
            answers = self.model.predict([each.model_dump() for each in requests])
        except MlflowException as error:
            raise UserError(error.message) from None
        return [Translations.model_validate(each) for each in answers]


def find_number(address: ModelAddress) -> str:
    """The number of the version that is meant now.

    Raises:
        UserError: there is none, or the store does not answer.
    """
    with reachable():
        return str(_find(connect_to_read(), address).version)


def load(address: ModelAddress) -> LoadedVersion:
    """Load the version that is meant now, and see that it is as it was registered.

    Raises:
        UserError: there is none, it is not as registered or cannot be loaded, or the store does not answer.
    """
    with reachable(), quiet_pyfunc():
        client = connect_to_read()
        version = _find(client, address)
        # Modules may be read late: the files stay for as long as the version does.
        files = tempfile.mkdtemp(prefix="ganlib-served-")
        try:
            model = load_version(client, version, Path(files), mend="choose another version (gan history)")
        except BaseException:
            shutil.rmtree(files, ignore_errors=True)
            raise
        digest = version.tags.get(GENERATOR_SHA256, "")
        loaded = LoadedVersion(version.name, str(version.version), digest, model.unwrap_python_model())
        weakref.finalize(loaded, shutil.rmtree, files, ignore_errors=True)
        return loaded


def _find(client: "MlflowClient", address: ModelAddress) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        if address.alias is not None:
            return client.get_model_version_by_alias(address.name, address.alias)
        return client.get_model_version(address.name, str(address.version))
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        raise UserError(f"{address}: there is no such version; gan history shows what there is") from None
