"""Whether the project's generator has made pictures that say nothing: a search, held against held-out images."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ganlib.inversion
import ganlib.networks
import ganlib.packaging
import ganlib.sampling
from ganlib.config import DataOptions, RunConfig
from ganlib.datasets.packed.reading import Split, open_packed
from ganlib.inversion.recognition import Search, rank_of_threshold
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic, load_encoder
from ganlib.source_digest import source_digest
from pipelines import paths
from pipelines.image_files import read_images
from pipelines.stages.extraction import prepare_evaluation
from pipelines.stages.shell import write_bytes

# Real images that are searched for, once for each generator. A threshold for 1 % of them is the second highest PSNR.
MOST_HELD_OUT = 200


@dataclass(frozen=True)
class Nearness:
    """How near the generator comes to a picture.

    Attributes:
        psnr_db: of the picture and the nearest image that was found.
        threshold_db: a picture above it is recognised.
        false_positive_rate: at most this share of real images are above it.
        held_out: real images that the threshold was measured on.
    """

    psnr_db: float
    threshold_db: float
    false_positive_rate: float
    held_out: int

    @property
    def recognised(self) -> bool:
        """Whether the generator comes nearer than to real images."""
        return self.psnr_db > self.threshold_db


def search_files(
    files: Sequence[Path],
    *,
    folder: Path,
    config: RunConfig,
    false_positive_rate: float,
    notify: Callable[[str], None],
) -> dict[Path, Nearness | str]:
    """Search for the latents of picture files; a text says why there was no search.

    Args:
        files: in any format that the data may have; what is not of the data's size and channels is converted.
        folder: of the generator.
        config: of the project.
        false_positive_rate: share of real images that may be taken for the generator's own.
        notify: hears of progress.

    Raises:
        UserError: the held-out images are damaged, or too few for this rate.
    """
    device, options = prepare_evaluation(config.evaluate), config.evaluate.reconstruction
    generator = ImageGenerator.load(folder, str(device))
    if (why := _why_not(generator, config)) is not None:
        return dict.fromkeys(files, why)
    held_out = open_packed(paths.PROCESSED).test
    count = min(len(held_out), MOST_HELD_OUT)
    rank = rank_of_threshold(count, false_positive_rate)
    search = Search(
        generator,
        options,
        critic=load_critic(folder, str(device)) if options.feature_weight else None,
        encoder=load_encoder(folder, str(device)),
        notify=notify,
    )
    pixels, found = _read(files, config.data)
    if pixels:
        threshold_db = float(_of_held_out(search, generator_sha256(folder), held_out, count)[-rank])
        near = search.psnr_db(np.stack(list(pixels.values())))
        for file, psnr_db in zip(pixels, near.tolist(), strict=True):
            found[file] = Nearness(psnr_db, threshold_db, false_positive_rate, count)
    return found


def _why_not(generator: ImageGenerator, config: RunConfig) -> str | None:
    if generator.inputs is not None:
        return "a translator's images are not drawn from latents alone"
    made, wanted = (generator.image.size, generator.image.channels), (config.data.image_size, config.data.channels)
    if made != wanted:
        return (
            f"the generator's images have size {made[0]} and {made[1]} channels, those of {paths.PARAMS} "
            f"have {wanted[0]} and {wanted[1]}"
        )
    if not paths.PROCESSED.is_dir():
        return f"{paths.PROCESSED}, which has the held-out images, is missing; run the preprocess stage"
    return None


def _read(
    files: Sequence[Path], options: DataOptions
) -> tuple[dict[Path, NDArray[np.uint8]], dict[Path, Nearness | str]]:
    """Pixels [H, W, C] of the files that can be used, and what is wrong with the others."""
    pixels: dict[Path, NDArray[np.uint8]] = {}
    troubled: dict[Path, Nearness | str] = {}
    if options.fit == "tile":  # a picture is one image, whatever those of the data are
        options = options.model_copy(update={"fit": "crop"})
    for file in files:
        read, troubles = read_images([file], options)
        if troubles:
            troubled[file] = troubles[0]
        else:
            pixels[file] = read[0].pixels
    return pixels, troubled


def _of_held_out(search: Search, sha256: str, held_out: Split, count: int) -> NDArray[np.float64]:
    """The PSNR of held-out images in rising order; known from the second time on."""
    address = {
        "generator": sha256,
        "held_out": held_out.digest,
        "count": count,
        "options": search.options.model_dump(mode="json", exclude={"images"}),
        "source": source_digest(ganlib.inversion, ganlib.networks, ganlib.packaging, ganlib.sampling),
    }
    digest = hashlib.sha256(json.dumps(address, sort_keys=True).encode()).hexdigest()
    file = paths.RECOGNITION / f"{digest[:32]}.json"
    if not file.exists():
        search.notify(f"verify: searching for {count} held-out images too, once for this generator")
        rows = np.linspace(0, len(held_out) - 1, count).round().astype(np.int64)  # splits are sorted by class
        found = np.sort(search.psnr_db(held_out.take(rows)))
        write_bytes(file, json.dumps({**address, "psnr_db": found.tolist()}).encode())
    return np.array(json.loads(file.read_bytes())["psnr_db"])
