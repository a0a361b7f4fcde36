"""The images: where they are, what is done about unusual ones, and what they are made into."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ganlib.config.base import Options, PositiveInt, Share
from ganlib.config.translation import InputsOptions, PairsOptions

Action = Literal["keep", "fix", "drop", "fail"]
Byte = Annotated[int, Field(ge=0, le=255, strict=True)]


class Policy(Options):
    """What is done about each kind of unusual file; only what makes sense for a kind is accepted.

    `keep` uses the image as it is, `fix` repairs it, `drop` leaves it out and
    `fail` ends the stage. Every case is listed in `quarantine.csv`.
    """

    unsafe_name: Literal["drop", "fail"]
    not_an_image: Literal["drop", "fail"]
    empty: Literal["drop", "fail"]
    damaged: Literal["drop", "fail"]
    truncated: Literal["fix", "drop", "fail"]
    too_large: Literal["drop", "fail"]
    too_slow: Literal["drop", "fail"]
    wrong_extension: Literal["keep", "drop", "fail"]
    animation: Literal["fix", "drop", "fail"]
    cmyk: Literal["fix", "drop", "fail"]
    palette: Literal["fix", "drop", "fail"]
    sixteen_bit: Literal["fix", "drop", "fail"]
    alpha: Literal["fix", "drop", "fail"]
    orientation: Literal["keep", "fix", "drop", "fail"]
    colour_profile: Literal["keep", "fix", "drop", "fail"]
    greyscale: Literal["keep", "drop", "fail"]
    extreme_aspect: Literal["keep", "drop", "fail"]
    near_constant: Literal["keep", "drop", "fail"]
    exact_duplicate: Literal["keep", "drop", "fail"]
    near_duplicate: Literal["keep", "drop", "fail"]
    split_overlap: Literal["keep", "drop", "fail"]

    def action(self, kind: str) -> Action:
        """What is done about a kind."""
        action: Action = getattr(self, kind)
        return action


KINDS = tuple(Policy.model_fields)


class LimitOptions(Options):
    """What one file may cost to decode, and how many files a source may hold."""

    max_file_bytes: PositiveInt
    max_pixels: PositiveInt
    max_decode_s: Annotated[float, Field(gt=0)]
    max_files: PositiveInt


class CleaningOptions(Options):
    """When an image counts as unusual, and what is done about it.

    `max_aspect` is the longer side over the shorter one, `min_std` the standard
    deviation of grey values in [0, 255] below which an image is near-constant.
    Two images are near duplicates when at most `near_duplicate_bits` of the
    256 bits of their difference hashes differ.
    """

    policy: Policy
    max_dropped_share: Share
    max_aspect: Annotated[float, Field(ge=1)]
    min_std: Annotated[float, Field(ge=0)]
    near_duplicate_bits: Annotated[int, Field(ge=0, le=15, strict=True)]


class DataOptions(Options):
    """Where the images are and what they are made into.

    `labels` is `auto` (what the source offers: class folders, label columns,
    arrays or files), `none`, or the name of a `.csv` or `.json` file inside
    the source. `split` is `source` (train and test parts of the source's own,
    where it has them, else by hash) or `hash`. `inputs` is what a translator
    is given, made from each image or read with it; null: nothing is translated.
    """

    source: Annotated[str, Field(min_length=1)]
    labels: Annotated[str, Field(pattern=r"^(auto|none|[^/\\].*\.(csv|json))$")]
    split: Literal["source", "hash"]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    image_size: Literal[16, 28, 32, 64, 128, 256]
    channels: Literal[1, 3, 4]
    fit: Literal["crop", "pad", "tile"]
    background: tuple[Byte, Byte, Byte]
    resizer: Literal["box", "bilinear", "bicubic", "lanczos"]
    shard_images: PositiveInt
    inputs: InputsOptions | None
    limits: LimitOptions
    cleaning: CleaningOptions

    @property
    def paired(self) -> bool:
        """Whether images are read with the inputs that belong to them."""
        return isinstance(self.inputs, PairsOptions)

    @property
    def packed_shape(self) -> tuple[int, int, int]:
        """[H, W, C] of an image as it is packed; what a pair's translator is given lies on the right."""
        return self.image_size, self.image_size * (2 if self.paired else 1), self.channels

    @model_validator(mode="after")
    def _pairs_stay_whole(self) -> Self:
        if self.paired and self.fit == "tile":
            raise ValueError("fit=tile: not with pairs (data.inputs), which stay whole; set it to crop or pad")
        return self


class PreprocessOptions(Options):
    """How the work of packing is spread; changes no result.

    `workers` are processes of this machine, or, for `dask`, how many to start
    where `dask_address` is null; `auto` is one a core.
    """

    executor: Literal["processes", "dask"]
    workers: PositiveInt | Literal["auto"]
    dask_address: str | None
    keep_parts: bool

    @model_validator(mode="after")
    def _address_needs_dask(self) -> Self:
        if self.dask_address is not None and self.executor != "dask":
            raise ValueError(
                f"dask_address={self.dask_address} needs executor=dask, found executor={self.executor}; set one of them"
            )
        return self
