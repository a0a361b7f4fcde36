"""What a training costs on this machine: some seconds of real steps on the real pictures."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import ExtractorName, ImageSpec, RunConfig
from ganlib.datasets.packed.reading import Split
from ganlib.evaluation.rejection import critic_logits
from ganlib.metrics.classifier import Classifier, train_classifier
from ganlib.metrics.distances import nearest
from ganlib.metrics.extractors import DomainExtractor, Extractor, load_extractor
from ganlib.sampling import Images, balanced_labels, render, seeded_latents
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.graph import iteration_of
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state
from pipelines import paths
from pipelines.advice.machine import GIB, Machine
from pipelines.advice.planning import Costs

TRIAL_PICTURES = 512
STEPS_S, OTHERS_S = 5.0, 1.0
WARM_UP_ITERATIONS = 2
MOST_THREADS = 16
_RENDERED = 250
_COMPARED = (1024, 512)
STAGE = "pipelines.stages.evaluate"


def measure_costs(
    config: RunConfig, pictures: Images, classes: tuple[str, ...], machine: Machine, *, note: Callable[[str], None]
) -> Costs:
    """Train for some seconds with each number of threads, then time what else there is to do.

    Args:
        config: whose training, extractors and evaluation are tried; whole but for its lengths.
        pictures: uint8 [N, H, W, C]; some hundreds.
        classes: their names; their shares do not matter here.
        machine: whose cores are tried; on a GPU one thread feeds it.
        note: hears what is timed from now on.
    """
    image = ImageSpec(size=config.data.image_size, channels=config.data.channels, classes=classes)
    labels = np.arange(len(pictures)) % len(classes) if classes else None
    split = Split("train", "", labels, [pictures], np.array([0, len(pictures)]))
    tried = {}
    for threads in _thread_counts(machine):
        note(f"trial: steps of the training with {threads} thread{'' if threads == 1 else 's'}")
        tried[threads] = _iterate(config, image, split, threads)
    threads, (train_s, state) = min(tried.items(), key=lambda each: each[1][0])
    note("trial: making and looking at images")
    device = torch.device("cuda" if machine.gpu else "cpu")
    torch.set_num_threads(threads)
    asked = balanced_labels(_RENDERED, len(classes)) if config.network.conditional else None
    latents = seeded_latents(_RENDERED, state.ema.latent_dim, 0)
    made = render(state.ema, latents, asked, batch_size=_RENDERED)
    generate_s = _seconds(lambda: len(render(state.ema, latents, asked, batch_size=_RENDERED)))
    judge_s = _seconds(lambda: len(critic_logits(state.critic, [made], asked)))
    looks = {
        name: _look_s(name, config, image, pictures, device)
        for name in {config.train.extractor, config.evaluate.extractor}
    }
    classify_s, compare_s = 0.0, _seconds(_compare)
    if len(classes) > 1:
        note("trial: steps of the classifier")
        classify_s = _classify_s(config, image, split, device)
    note("trial: starting a stage")
    return Costs(
        threads=threads,
        train=train_s,
        generate=generate_s,
        watch=looks[config.train.extractor],
        evaluate=looks[config.evaluate.extractor],
        judge=judge_s,
        classify=classify_s,
        compare=compare_s,
        start=_start_s(),
        memory_gib=_peak_gib(),
    )


def _thread_counts(machine: Machine) -> list[int]:
    if machine.gpu:
        return [1]
    return [2**power for power in range(min(machine.cores, MOST_THREADS).bit_length())]


def _iterate(config: RunConfig, image: ImageSpec, split: Split, threads: int) -> tuple[float, TrainState]:
    """Seconds an image of the training, and what it trains."""
    options = config.train.model_copy(update={"threads": threads})
    config = config.model_copy(update={"train": options})
    device = prepare_device(options)
    state, recipe = initial_state(config, image, device), Recipe.of(config, image)
    iteration = iteration_of(state, recipe, SplitFeed(split, recipe, ALONE, device), ALONE)
    for _ in range(WARM_UP_ITERATIONS):
        iteration.run()

    def run() -> int:
        iteration.run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return options.images_per_iteration

    return _seconds(run, least_s=STEPS_S), state


def _look_s(name: ExtractorName, config: RunConfig, image: ImageSpec, pictures: Images, device: torch.device) -> float:
    """Seconds an image."""
    extractor: Extractor
    if name == "domain":
        options = config.extractor
        network = Classifier(image=image, width=options.width, feature_dim=options.feature_dim).eval()
        extractor = DomainExtractor(network, "", device)
    else:
        extractor = load_extractor(
            name, config.extractor, folder=paths.EXTRACTOR, weights_cache=paths.WEIGHTS, device=device
        )
    some = pictures[: extractor.pass_images]
    return _seconds(lambda: len(extractor.extract(some)))


def _classify_s(config: RunConfig, image: ImageSpec, split: Split, device: torch.device) -> float:
    """Seconds an image that the domain classifier learns from."""
    options = config.extractor.model_copy(update={"total_images": 4 * config.extractor.batch_size})
    labels, rows = split.labels, np.arange(options.batch_size) % len(split)
    assert labels is not None
    some: tuple[Images, NDArray[np.int64]] = split.take(rows), labels[rows]

    def run() -> int:
        train_classifier(options, image, lambda _seen_images: some, device)
        return options.total_images

    return _seconds(run)


def _compare() -> int:
    """Distances between some random vectors; how many pairs and features there were."""
    vectors = torch.rand(*_COMPARED, generator=torch.Generator().manual_seed(0))
    nearest(vectors, vectors, 1, own=True)
    return len(vectors) * vectors.numel()


def _start_s() -> float:
    """Seconds that Python takes to start with the libraries of a stage."""
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {STAGE}"], check=True, capture_output=True)
    return time.perf_counter() - began_s


def _seconds(run: Callable[[], int], *, least_s: float = OTHERS_S) -> float:
    """Seconds an image; `run` tells of how many it was. The first time does not count, where others fit in."""
    run()
    images, started_s = 0, time.perf_counter()
    while (spent_s := time.perf_counter() - started_s) < least_s or images == 0:
        images += run()
    return spent_s / images


def _peak_gib() -> float:
    """Of this process's memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
