"""What the ranks do in the tests of distributed training; also a small stage: `python -m … NAME FOLDER PROCESSES`."""

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from ganlib.config import RunConfig
from ganlib.errors import ProcessesFailed, TrainingInterrupted, UserError
from ganlib.losses import critic_loss, generator_loss
from ganlib.networks.dcgan import DcganCritic, DcganGenerator
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.distributed import Ranks, join, synchronise_batch_norm
from ganlib.training.graph import GraphedIteration
from ganlib.training.ingredients import Ingredients
from ganlib.training.iteration import Iteration, take_mean_figures
from ganlib.training.launch import inside_worker, launch
from ganlib.training.loop import train
from ganlib.training.recipe import Recipe
from ganlib.training.showing import Measure
from ganlib.training.state import initial_state
from tests.ganlib.training.tape import TapeRecorder
from tests.scaled_presets import NoiseFeed, image_of, scaled

BATCH = 12
TIMEOUT_S = 60.0
MISTAKE = "train.nothing=1: found in a test, expected nothing; remove it"


def numbers(folder: Path) -> None:
    """Write what this rank finds on its part of the batch, then make a user's mistake."""
    torch.set_num_threads(1)
    with join(torch.device("cpu"), timeout_s=TIMEOUT_S) as ranks:
        found = {
            "total": ranks.total(torch.tensor([1.0, 10.0 * ranks.rank])),
            "any": torch.tensor([ranks.any(ranks.rank == 1), ranks.any(False)]),
            "first": torch.tensor(ranks.from_first(ranks.rank + 0.1), dtype=torch.float64),
            "agree": torch.tensor([ranks.agree(b"both"), ranks.agree(bytes([7, ranks.rank]))]),
            **{f"norm {name}": value for name, value in norm_figures(ranks).items()},
            **{f"gan {name}": value for name, value in gan_gradients(ranks).items()},
            "eager": weights_after(ranks, Iteration),
            "graphed": weights_after(ranks, partial(GraphedIteration, recorder=TapeRecorder)),
        }
        (folder / f"drifted-{ranks.rank}").write_text(drifted(folder, ranks))
        ranks.wait("the end")
    torch.save(found, folder / f"{ranks.rank}.pt")
    raise UserError(MISTAKE)


def norm_figures(ranks: Ranks) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of norms in one and two dimensions."""
    generator = torch.Generator().manual_seed(1)
    plane = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False, momentum=None)).double()
    line = nn.Sequential(nn.BatchNorm1d(3)).double()
    found = {}
    for norm, shape in ((plane, (BATCH, 3, 4, 5)), (line, (BATCH, 3))):
        name = f"{len(shape)}d "
        values = torch.randn(*shape, generator=generator, dtype=torch.float64) * 3 + 100
        pull = torch.randn(*shape, generator=generator, dtype=torch.float64)
        nn.init.normal_(norm[0].weight, generator=generator)
        synchronise_batch_norm(norm, ranks)
        mine = values[ranks.share(BATCH)].requires_grad_()
        outputs = norm(mine)
        (outputs * pull[ranks.share(BATCH)]).sum().backward()
        found |= {f"{name}outputs": outputs.detach(), f"{name}slope": mine.grad}
        found[f"{name}weight"] = ranks.total(norm[0].weight.grad).clone()
        found |= {name + key: value.clone() for key, value in norm.state_dict().items()}
        found[f"{name}evaluated"] = norm.eval()(values).detach()
        with torch.autocast("cpu", torch.bfloat16):
            found[f"{name}half"] = norm.train().float()(mine.detach().bfloat16())
    return found


def gan_gradients(ranks: Ranks) -> dict[str, Tensor]:
    """Averaged gradients of a DCGAN with batch norm in both networks, and its loss."""
    torch.manual_seed(2)
    generator = DcganGenerator(
        size=16,
        channels=1,
        latent_dim=8,
        width=8,
        num_classes=3,
        conditional_batch_norm=True,
        stem="normed",
        spectral=False,
        excitation=False,
        upsampling="transposed",
    ).double()
    critic = DcganCritic(
        size=16,
        channels=1,
        width=8,
        num_classes=3,
        norm="batch",
        projection=True,
        convolutions=1,
        pooling="none",
        dropout=0.0,
    ).double()
    images, latents = torch.randn(BATCH, 1, 16, 16).double().tanh(), torch.randn(BATCH, 8).double()
    labels = torch.arange(BATCH) % 3
    for network in (generator, critic):
        synchronise_batch_norm(network, ranks)
    part = ranks.share(BATCH)
    fake = generator(latents[part], labels[part])
    real_logits, fake_logits = critic(images[part], labels[part]), critic(fake.detach(), labels[part])
    critic_loss("non_saturating", real_logits, fake_logits, label_smoothing=0.0).mean().backward()
    ranks.average_gradients(list(critic.parameters()))
    found = {f"critic {name}": each.grad.clone() for name, each in critic.named_parameters()}
    critic.requires_grad_(False)
    generator_loss("non_saturating", None, critic(fake, labels[part])).mean().backward()
    ranks.average_gradients(list(generator.parameters()))
    return found | {f"generator {name}": each.grad for name, each in generator.named_parameters()}


def weights_after(ranks: Ranks, kind: Callable[..., Iteration]) -> Tensor:
    """All weights and sums after some iterations of a generator with batch norm, R1 at every second step, and ADA."""
    config = scaled("photos-256", total_iterations=8)
    values = config.model_dump(mode="json", by_alias=True)
    values["network"] = scaled("digits").network.model_dump(mode="json") | {"conditional": False, "projection": False}
    values["loss"]["r1"]["every_steps"] = 2
    values["train"] |= {"device": "auto", "precision": "fp32", "cuda_graph": True}
    config = RunConfig.model_validate(values)
    image = image_of(config)
    state = initial_state(config, image, torch.device("cpu"), ranks=ranks)
    iteration = kind(state, Recipe.of(config, image), NoiseFeed(config, ranks), ranks)
    for _ in range(8):
        iteration.run()
    networks = (state.generator, state.critic, state.ema)
    values_of = [tensor for network in networks for tensor in network.state_dict().values()]
    return torch.cat([each.flatten().double() for each in (*values_of, state.sums, state.augmentation.probability)])


def compiled_and_eager(folder: Path) -> None:
    """Mean figures of compiled and of eager networks with batch norm over both ranks."""
    torch.set_num_threads(1)
    with join(torch.device("cpu"), timeout_s=10 * TIMEOUT_S) as ranks:
        found = []
        for compiled in (False, True):
            config = scaled("digits")
            options = config.train.model_copy(update={"compile": compiled})
            config = config.model_copy(update={"train": options})
            image = image_of(config)
            state = initial_state(config, image, torch.device("cpu"), ranks=ranks)
            iteration = Iteration(state, Recipe.of(config, image), NoiseFeed(config, ranks), ranks)
            for _ in range(3):
                iteration.run()
            found.append(take_mean_figures(state, ranks))
        torch.save(found, folder / f"{ranks.rank}.pt")


def drifted(folder: Path, ranks: Ranks) -> str:
    """What is said at the first checkpoint, before any iteration, when the ranks do not start from equal weights."""
    config = scaled("mnist-mlp")
    image = image_of(config)
    state = initial_state(config, image, torch.device("cpu"), ranks=ranks)
    if ranks.rank == 1:
        with torch.no_grad():
            next(state.critic.parameters()).view(-1)[0] += 2**-10
    store = CheckpointStore(folder / "drifted", Ingredients.of(config, image, torch.device("cpu"), {}), config.train)
    measure = Measure("domain/fid", lambda _images: 0.0, (1,) * image.num_classes)
    try:
        train(state, Recipe.of(config, image), NoiseFeed(config, ranks), measure, store, ranks=ranks)
    except UserError as error:
        return str(error)
    return "nothing"


def greet(folder: Path) -> None:
    """Meet the others and write the sum of their numbers, from 1."""
    with join(torch.device("cpu"), timeout_s=TIMEOUT_S) as ranks:
        (folder / f"greeting-{ranks.rank}").write_text(f"{ranks.size} {ranks.total(torch.tensor(ranks.rank + 1))}")


def train_for_ever(folder: Path) -> None:
    """Go on until a rank is asked to stop; the folder holds the process ids."""
    asked = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGTERM, note)
    with join(torch.device("cpu"), timeout_s=TIMEOUT_S) as ranks:
        (folder / f"pid-{ranks.rank}").write_text(str(os.getpid()))
        while not ranks.any(bool(asked)):
            time.sleep(0.02)
        ranks.wait("the checkpoint")
        time.sleep(0.3)
        assert len(asked) <= 1, "a second signal means: at once"
        raise TrainingInterrupted("asked to stop")


def kill_rank_1(folder: Path) -> None:
    """Rank 1 dies without a word; the folder holds when."""
    with join(torch.device("cpu"), timeout_s=TIMEOUT_S) as ranks:
        if ranks.rank == 1:
            (folder / "died").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait("rank 1")


def shout(text: str) -> None:
    """Fail as only a mistake in the program does."""
    raise ZeroDivisionError(f"{text} is handed over as it is")


def main() -> None:
    entrypoint = {"greet": greet, "train_for_ever": train_for_ever}[sys.argv[1]]
    folder, processes = Path(sys.argv[2]), int(sys.argv[3])
    try:
        if inside_worker():
            entrypoint(folder)
        else:
            launch(entrypoint, folder, processes=processes)
    except TrainingInterrupted:
        sys.exit(75)
    except ProcessesFailed as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
