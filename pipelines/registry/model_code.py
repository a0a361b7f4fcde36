"""The registered model, as code: MLflow stores this file and runs it wherever the model is loaded.

It needs mlflow and the model's own requirements, nothing else: the ganlib that the model was logged with is one of its
artifacts, and is imported under a name of its own. Models with different code, and an installed ganlib, work beside
each other in one process.
"""

import ast
import base64
import hashlib
import importlib
import io
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Self

import mlflow
import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import ModelConfig
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_IMAGES = 256
MAX_TRANSLATED = 16
MOST_REJECTED = 0.9


class SampleRequest(BaseModel):
    """What to draw: `count` images, or one per class in `labels`."""

    model_config = ConfigDict(extra="forbid")

    # MLflow's signature calls optional what may be None, whatever its default.
    count: int | None = Field(None, ge=1, le=MAX_IMAGES, description="1 when neither count nor labels is given")
    labels: list[str] | None = Field(
        None, min_length=1, max_length=MAX_IMAGES, description="a class name or, where no class has that name, an index"
    )
    seed: int | None = Field(None, ge=0, lt=2**32, description="0 when not given")
    truncation: float | None = Field(
        None, gt=0, le=1, description="scales latents; 1 when not given; lower is less varied"
    )
    toward_seed: int | None = Field(None, ge=0, lt=2**32, description="another seed, to go towards; with mix")
    mix: float | None = Field(None, ge=0, le=1, description="how far towards toward_seed: 0 to 1")
    rejection: float | None = Field(
        None, ge=0, le=MOST_REJECTED, description="share of samples that the critic refuses; 0 when not given"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.count is not None and self.labels is not None:
            raise ValueError("give either count or labels, not both")
        if (self.toward_seed is None) != (self.mix is None):
            raise ValueError("give toward_seed and mix together")
        return self


class Samples(BaseModel):
    """The answer: class names (none when the generator is unconditional) and PNG files in base64."""

    seed: int
    labels: list[str]
    images: list[str]


class Sampler(PythonModel):
    """Draws images; the same request gives the same bytes, alone or drawn beside others."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the generator from the model's artifacts, with the code that lies beside it."""
        package = Path(context.artifacts["ganlib"])
        packaging = import_package(package, "packaging")
        self.generator = packaging.ImageGenerator.load(Path(context.artifacts["generator"]))
        self._generator_sha256 = packaging.generator_sha256(Path(context.artifacts["generator"]))
        self._marking = import_package(package, "marking")
        self._refusing = import_package(package, "refusing").Refusing(
            self.generator, lambda: packaging.load_critic(Path(context.artifacts["generator"]))
        )
        self._mistake = import_package(package, "errors").UserError

    def predict(  # type: ignore[override]  # MLflow accepts a signature without the context
        self, model_input: list[SampleRequest], params: dict[str, Any] | None = None
    ) -> list[Samples]:
        """Answer each request with a dict of the fields of `Samples`, in Python as over HTTP."""
        # MLflow describes the answer by the annotation, and hands out what is returned.
        return [self._answer(request).model_dump() for request in model_input]  # type: ignore[misc]

    def rows(self, request: SampleRequest) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the generator is given for a request: latents [N, Z] and class indices [N], if it takes classes.

        Raises:
            MlflowException: classes that there are not.
        """
        labels = self._labels(request)
        count = (request.count or 1) if labels is None else len(labels)
        return self._latents(request, count, 0), None if labels is None else torch.tensor(labels)

    def chosen_rows(self, request: SampleRequest) -> tuple[torch.Tensor, torch.Tensor | None, list[int] | None]:
        """As `rows`, but for the samples that the critic refuses; at which attempt each was found, with a rejection.

        Raises:
            MlflowException: classes that there are not, or a rejection without a critic.
        """
        latents, labels = self.rows(request)
        if not request.rejection:
            return latents, labels, None
        count = len(latents)
        try:
            chosen, attempts = self._refusing.choose(
                lambda attempt: self._latents(request, count, attempt), labels, share=request.rejection
            )
        except self._mistake as error:
            raise _refused(f"rejection: {error}") from None
        return chosen, labels, attempts.tolist()

    def draw(self, latents: torch.Tensor, labels: torch.Tensor | None) -> NDArray[np.uint8]:
        """Images [N, H, W, C] of rows; those of several requests may be drawn together."""
        drawn: NDArray[np.uint8] = self.generator.draw(latents, labels)
        return drawn

    def origins(
        self, request: SampleRequest, labels: torch.Tensor | None, attempts: Sequence[int] | None = None
    ) -> list[Any]:
        """What the file of each image of a request says of where it is from: `ganlib.marking.Origin`."""
        names = self._names(labels)
        asked: dict[str, Any] = {
            "seed": request.seed or 0,
            "truncation": 1.0 if request.truncation is None else request.truncation,
        }
        if request.toward_seed is not None:
            asked |= {"toward_seed": request.toward_seed, "mix": request.mix}
        count = len(names) or request.count or 1
        made = [{**asked, "index": index, "label": names[index] if names else None} for index in range(count)]
        if attempts is not None:
            made = [{**each, "attempts": [attempt]} for each, attempt in zip(made, attempts, strict=True)]
        return [self._marking.Origin(self._generator_sha256, each) for each in made]

    def _answer(self, request: SampleRequest) -> Samples:
        latents, labels, attempts = self.chosen_rows(request)
        drawn = zip(self.draw(latents, labels), self.origins(request, labels, attempts), strict=True)
        files = [self._marking.marked_png(image, origin) for image, origin in drawn]
        images = [base64.b64encode(file).decode("ascii") for file in files]
        return Samples(seed=request.seed or 0, labels=self._names(labels), images=images)

    def _latents(self, request: SampleRequest, count: int, attempt: int) -> torch.Tensor:
        latents: torch.Tensor = self.generator.latents(
            count,
            seed=request.seed or 0,
            truncation=1.0 if request.truncation is None else request.truncation,
            toward_seed=request.toward_seed,
            mix=request.mix,
            attempt=attempt,
        )
        return latents

    def _names(self, labels: torch.Tensor | None) -> list[str]:
        return [] if labels is None else [self.generator.image.classes[index] for index in labels.tolist()]

    def _labels(self, request: SampleRequest) -> list[int] | None:
        names = self.generator.image.classes
        if not self.generator.conditional:
            if request.labels is not None:
                raise _refused("labels: this generator is unconditional; ask for a count instead")
            return None
        if request.labels is None:
            return [index % len(names) for index in range(request.count or 1)]
        return [self._index(label) for label in request.labels]

    def _index(self, label: str) -> int:
        names = self.generator.image.classes
        if label in names:
            return int(names.index(label))
        if label.isascii() and label.isdecimal() and int(label) < len(names):
            return int(label)
        raise _refused(f"labels: no class {label!r}; expected some of {', '.join(names)}")


class TranslateRequest(BaseModel):
    """Images to translate."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field(min_length=1, max_length=MAX_TRANSLATED, description="PNG files in base64")
    seed: int | None = Field(None, ge=0, lt=2**32, description="0 when not given; another one gives other images")
    to: str | None = Field(None, description="the kind of images to make, of a translator that goes both ways")


class Translations(BaseModel):
    """The answer: PNG files in base64."""

    seed: int
    images: list[str]


class Translator(PythonModel):
    """Translates images; the same request gives the same bytes."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the translator from the model's artifacts, with the code that lies beside it."""
        package = Path(context.artifacts["ganlib"])
        packaging = import_package(package, "packaging")
        self.generator = packaging.ImageGenerator.load(Path(context.artifacts["generator"]))
        self._generator_sha256 = packaging.generator_sha256(Path(context.artifacts["generator"]))
        self._marking = import_package(package, "marking")
        self.translating = import_package(package, "translating")
        self.refusal = import_package(package, "errors").UserError
        self._background = tuple(context.model_config["background"])

    def predict(  # type: ignore[override]  # MLflow accepts a signature without the context
        self, model_input: list[TranslateRequest], params: dict[str, Any] | None = None
    ) -> list[Translations]:
        """Answer each request with a dict of the fields of `Translations`, in Python as over HTTP."""
        return [self._translate(request).model_dump() for request in model_input]  # type: ignore[misc]

    def _translate(self, request: TranslateRequest) -> Translations:
        seed, channels = request.seed or 0, self.generator.image.channels
        images = [self._pixels(image, channels) for image in request.images]
        try:
            way = self.translating.way_to(self.generator, request.to)
        except self.refusal as error:
            raise _refused(str(error)) from None
        made = [self.translating.translate_image(self.generator, pixels, seed=seed, to=request.to) for pixels in images]
        origin = self._marking.Origin(self._generator_sha256, {"translated": True, "seed": seed, "way": way})
        files = [self._marking.marked_png(image, origin) for image in made]
        return Translations(seed=seed, images=[base64.b64encode(file).decode("ascii") for file in files])

    def _pixels(self, text: str, channels: int) -> NDArray[np.uint8]:
        """A file in base64 as a uint8 image [H, W, C]."""
        try:
            with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as opened:
                pixels: NDArray[np.uint8] = self.translating.pixels_of(opened, channels, self._background)
        except (OSError, SyntaxError, ValueError) as error:
            raise _refused(f"images: expected image files in base64 ({error})") from None
        return pixels


def _refused(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


def import_package(folder: Path, module: str) -> ModuleType:
    """Import a module of the package in a folder, under a name that follows from the package's content.

    Two folders of the same content share their modules; nothing else of that name is seen, used or replaced.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    name = f"{folder.name}_{digest.hexdigest()[:16]}"
    if name not in sys.modules:
        sys.meta_path.insert(0, _Finder(name, folder))  # before that of a try that failed
    for loaded, package in list(sys.modules.items()):
        if f"{loaded}.".startswith(f"{name}.") and hasattr(package, "__path__"):
            # What is yet to be imported comes from here: the folder of an earlier model may be gone.
            package.__path__ = [str(folder.joinpath(*loaded.split(".")[1:]))]
    return importlib.import_module(f"{name}.{module}")


class _Finder(MetaPathFinder):
    """Finds a package and what is below it in its folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self._name:
            file = str(self._folder / "__init__.py")
            return spec_from_file_location(fullname, file, loader=_Loader(fullname, file))
        if path and fullname.startswith(f"{self._name}."):
            return FileFinder(path[0], (_Loader, [".py"])).find_spec(fullname)
        return None


class _Loader(SourceFileLoader):
    """Reads source that calls its package by its public name; no byte code, which is kept for that name, is used."""

    def get_code(self, fullname: str) -> CodeType:
        path = Path(self.path)
        private = fullname.partition(".")[0]
        public = private.rpartition("_")[0]
        tree = ast.parse(path.read_bytes(), str(path))

        def renamed(name: str) -> str:
            root, dot, rest = name.partition(".")
            return f"{private}{dot}{rest}" if root == public else name

        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module=str(module), level=0):
                    node.module = renamed(module)
                case ast.Import(names=aliases):
                    for alias in aliases:
                        alias.name = renamed(alias.name)
                case ast.Name(id=name):
                    node.id = renamed(name)
        return compile(tree, str(path), "exec")


translates = ModelConfig(development_config={"translates": False}).get("translates")
mlflow.models.set_model(Translator() if translates else Sampler())
