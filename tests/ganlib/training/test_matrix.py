"""Every legal combination of family, loss, penalty, conditioning and channels trains; every illegal one is refused."""

from itertools import product

import pytest
import torch
from pydantic import ValidationError

from ganlib.config import COMPARED_IMAGES, ImageSpec, RunConfig
from ganlib.training.distributed import ALONE
from ganlib.training.inputs import RealBatch
from ganlib.training.iteration import Iteration, take_mean_figures
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from tests.configs import NETWORKS, VAE, changed, tiny_values
from tests.toy_training import WholeFeed

pytestmark = pytest.mark.thorough

FAMILIES = ("mlp", "dcgan", "dcgan with batch norm", "dcgan with frozen features", "resnet", "biggan", "r3gan")
OPTIONS_OF = {
    "dcgan with batch norm": {"network.critic_norm": "batch"},
    "dcgan with frozen features": {"network.critic_pretrained": "efficientnet-lite0"},
}
LOSSES = ("minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic")
PENALTIES = ((), ("r1",), ("r2",), ("gradient_penalty",), ("r1", "r2", "gradient_penalty"))
BATCH_SIZE = 2
FROZEN = "dcgan with frozen features"  # which are compared where there are no labels


class NoiseFeed(WholeFeed):
    def __init__(self, image: ImageSpec, images: int, *, conditional: bool) -> None:
        self.image, self.images, self.conditional = image, images, conditional

    def batch(self, seen_images: int) -> RealBatch:
        draw = torch.Generator().manual_seed(seen_images)
        shape = (self.images, self.image.channels, self.image.size, self.image.size)
        labels = torch.randint(0, self.image.num_classes, (self.images,), generator=draw)
        return RealBatch(torch.rand(shape, generator=draw) * 2 - 1, labels if self.conditional else None)


def values(family: str, adversarial: str, penalties: tuple[str, ...], conditional: bool, channels: int) -> dict:
    name = family.split()[0]
    changes = OPTIONS_OF.get(family, {})
    return changed(
        tiny_values({"network": name} if name in NETWORKS else {}),
        {
            **changes,
            **{f"loss.{each}.weight": 0.5 for each in penalties},
            "loss.adversarial": adversarial,
            "network.conditional": conditional,
            "data.channels": channels,
            "train.batch_size": COMPARED_IMAGES if family == FROZEN and not conditional else BATCH_SIZE,
        },
    )


def trains(config: RunConfig) -> bool:
    image = ImageSpec(size=16, channels=config.data.channels, classes=("a", "b"))
    state = initial_state(config, image, torch.device("cpu"))
    before = [each.detach().clone() for each in (*state.generator.parameters(), *state.partner.parameters())]
    feed = NoiseFeed(image, config.train.batch_size, conditional=config.network.conditional)
    for _ in range(3):
        Iteration(state, Recipe.of(config, image), feed, ALONE).run()
    after = [*state.generator.parameters(), *state.partner.parameters()]
    moved = [not torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    finite = all(bool(torch.isfinite(each).all()) for each in after)
    return finite and any(moved) and bool(torch.isfinite(take_mean_figures(state, ALONE)).all())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adversarial", LOSSES)
def test_every_combination(family: str, adversarial: str) -> None:
    for penalties, conditional, channels in product(PENALTIES, (False, True), (1, 3, 4)):
        content = values(family, adversarial, penalties, conditional, channels)
        couples = family.endswith("batch norm") or (family == FROZEN and not conditional)
        if penalties and couples:
            with pytest.raises(ValidationError, match=r"loss\.r1, loss\.r2 and loss\.gradient_penalty need a critic"):
                RunConfig.model_validate(content)
        else:
            config = RunConfig.model_validate(content)
            assert trains(config), (family, adversarial, penalties, conditional, channels)


@pytest.mark.parametrize("adversarial", LOSSES)
def test_label_smoothing_is_refused_where_there_are_no_labels(adversarial: str) -> None:
    content = changed(values("dcgan", adversarial, (), False, 1), {"loss.label_smoothing": 0.1})
    if adversarial in ("minimax", "non_saturating", "least_squares"):
        assert trains(RunConfig.model_validate(content))
    else:
        with pytest.raises(ValidationError, match=f"no meaning for adversarial={adversarial}"):
            RunConfig.model_validate(content)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_as_a_variational_autoencoder(family: str) -> None:
    for conditional, channels in product((False, True), (1, 3, 4)):
        content = values(family, "hinge", (), conditional, channels)
        names = {name: value for name, value in VAE.items() if not name.startswith("network.")}
        content = changed(content, names)
        if family == FROZEN:
            with pytest.raises(ValidationError, match=r"not with loss\.objective=vae, which has no critic"):
                RunConfig.model_validate(content)
        else:
            assert trains(RunConfig.model_validate(content)), (family, conditional, channels)
