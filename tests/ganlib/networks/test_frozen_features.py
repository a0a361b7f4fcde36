"""What a critic with frozen features sees, learns and keeps."""

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from pydantic import ValidationError

from ganlib.config import RunConfig
from ganlib.errors import UserError
from ganlib.evaluation.rejection import critic_logits
from ganlib.metrics.classifier import to_input
from ganlib.networks import FrozenFeaturesCritic, build_critic
from ganlib.networks.base import of_each_image
from ganlib.networks.frozen_features import FEATURE_SIZE, HEAD_WIDTH
from ganlib.pretrained import weights
from ganlib.training.distributed import ALONE
from ganlib.training.gan.objective import GanObjective
from ganlib.training.gan.penalties import Due, Penalties
from ganlib.training.inputs import Inputs, RealBatch
from ganlib.training.iteration import Iteration
from ganlib.training.recipe import Recipe
from ganlib.training.requirements import check_shares
from ganlib.training.state import TrainState, initial_state
from tests.configs import changed, tiny_config, tiny_values
from tests.extractors import pictures
from tests.frozen import NAME, with_weights
from tests.ganlib.networks.families import dcgan, image_spec
from tests.toy_training import IMAGE, ToyFeed

CPU = torch.device("cpu")
FROZEN = {"network.critic_pretrained": NAME}


def critic(size: int = 16, channels: int = 3, **changes: object) -> FrozenFeaturesCritic:
    torch.manual_seed(0)
    made = with_weights(build_critic(dcgan(critic_pretrained=NAME, **changes), image_spec(size, channels)))
    assert isinstance(made, FrozenFeaturesCritic)
    return made


def state_of(config: RunConfig) -> TrainState:
    return initial_state(config, IMAGE, CPU)


def test_features_are_those_of_the_packages_code() -> None:
    theirs = EfficientNet.from_name(NAME)
    theirs.load_state_dict(torch.load(weights._packaged(NAME), weights_only=True))
    theirs.eval()
    levels = torch.from_numpy(pictures(2, 64, 3)).permute(0, 3, 1, 2).float()
    expected = []
    with torch.inference_mode():
        maps = torch.nn.functional.relu6(theirs._bn0(theirs._conv_stem((levels - 127) / 128)))
        for place, block in enumerate(theirs._blocks):
            maps = block(maps)
            if place in (2, 4, 10):
                expected.append(maps / FEATURE_SIZE)
        found = list(critic(64)._look(levels / 127.5 - 1))
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() < 1e-5 * other.norm()


def test_photographs_have_features_of_size_one_and_keep_their_order() -> None:
    images = torch.from_numpy(pictures(64, 32, 3)).permute(0, 3, 1, 2) / 127.5 - 1
    made = critic(32)
    for maps in made._look(images):
        assert 0.4 < maps.square().mean().sqrt() < 2
    labels = torch.zeros(64, dtype=torch.int64)
    torch.testing.assert_close(made.eval()(images, labels)[:3], made(images[:3], labels[:3]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("conditional", [False, True])
def test_parameters_are_those_of_the_layers(conditional: bool) -> None:
    made = critic(32, conditional=conditional)
    pixels = build_critic(dcgan(32, conditional=conditional), image_spec(32, 3))
    assert count(made.pixels) == count(pixels)
    expected = 0
    for channels in (24, 40, 112):
        expected += HEAD_WIDTH * (9 * channels + 1) + HEAD_WIDTH + 1 + (3 if conditional else 1) * HEAD_WIDTH
    assert count(made.heads) == expected
    # Of the 4,652,008 of the whole network.
    assert count(made.frozen) == 15_184 + 38_864 + 638_640


def count(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_without_weights_it_does_not_look() -> None:
    made = build_critic(dcgan(critic_pretrained=NAME), image_spec())
    with pytest.raises(AssertionError, match="weights first"):
        made(torch.zeros(1, 1, 16, 16), torch.zeros(1, dtype=torch.int64))


def test_training_leaves_the_frozen_network_as_it_was() -> None:
    config = tiny_config(FROZEN)
    state = state_of(config)
    made = state.critic
    assert isinstance(made, FrozenFeaturesCritic)
    before = {name: each.clone() for name, each in made.state_dict().items()}
    for _ in range(3):
        Iteration(state, Recipe.of(config, IMAGE), ToyFeed(config), ALONE).run()
    moved = {name.split(".")[0] for name, each in made.state_dict().items() if not torch.equal(each, before[name])}
    assert moved == {"pixels", "heads"}
    learnt = {id(each) for each in state.partner_learner.parameters}
    assert learnt.isdisjoint(id(each) for each in made.frozen.parameters())


@pytest.mark.parametrize("changes", [{"loss.r1.weight": 0.1}, {"network.conditional": False}])
def test_the_state_goes_on_as_it_would_have(changes: dict[str, object]) -> None:
    config = tiny_config({**FROZEN, **changes})
    whole, half = state_of(config), state_of(config)
    run(config, whole, 4)
    run(config, half, 2)
    saved = half.state_dict()
    other = state_of(changed_seed(config))
    other.load_state_dict(saved)
    run(config, other, 2)
    assert whole.weights_digest() == other.weights_digest()


def run(config: RunConfig, state: TrainState, iterations: int) -> None:
    for _ in range(iterations):
        Iteration(state, Recipe.of(config, IMAGE), ToyFeed(config), ALONE).run()


def changed_seed(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": 9})})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train.extractor": NAME}, rf"train\.extractor={NAME}: the critic learns from the same features"),
        (
            {"evaluate.extractor": NAME, "register.metric": f"{NAME}/kid"},
            rf"evaluate\.extractor={NAME}: the critic learns from the same features",
        ),
    ],
)
def test_no_score_by_the_features_that_the_critic_sees(changes: dict[str, str], named: str) -> None:
    RunConfig.model_validate(changed(tiny_values({}), changes))
    with pytest.raises(ValidationError, match=named):
        RunConfig.model_validate(changed(tiny_values({}), {**changes, **FROZEN}))


def test_weights_of_another_hash_are_refused() -> None:
    config = tiny_config({**FROZEN, "extractor.weights_sha256": {NAME: "00000000"}})
    with pytest.raises(UserError, match=r"SHA-256 is 57934424.* expected 00000000"):
        state_of(config)


def test_without_labels_critics_of_features_see_how_much_images_differ() -> None:
    one = torch.from_numpy(pictures(16, 32, 3)).permute(0, 3, 1, 2) / 127.5 - 1
    same, different = one[:1].expand(8, -1, -1, -1), torch.cat([one[:1], one[9:]])
    made = critic(32, conditional=False)
    alone = made.eval()(same, None)[0]
    torch.testing.assert_close(made(different, None)[0], alone, atol=1e-5, rtol=1e-4)
    among_same, among_others = (made.train()(images, None)[0] for images in (same, different))
    torch.testing.assert_close(among_same, alone, atol=0.01, rtol=0.01)
    moved = (among_others - among_same).abs()
    assert moved[0] < 1e-5, "the critic of the pixels compares nothing"
    assert (moved[1:] > 0.1).all()


def test_others_ask_for_one_logit_an_image() -> None:
    images, labels = pictures(6, 16, 3), torch.arange(6) % 3
    made = critic().eval()
    expected = made(to_input(images, CPU), labels).mean(dim=1)
    found = critic_logits(made, [images[:4], images[4:]], labels)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for several in (found, found[:, None], found.view(6, 1, 1)):
        assert torch.equal(of_each_image(several), found)


def test_penalties_are_refused_where_images_are_compared() -> None:
    frozen = {**FROZEN, "loss.r1.weight": 0.1}
    tiny_config(frozen)
    with pytest.raises(ValidationError, match=r"network\.critic_pretrained to null if network\.conditional is false"):
        tiny_config({**frozen, "network.conditional": False})


def test_parts_of_a_batch_have_whole_groups() -> None:
    compared = {**FROZEN, "network.conditional": False, "train.batch_size": 32}
    tiny_config({**compared, "train.devices": 2, "train.accumulation": 2})
    config = tiny_config({**compared, "train.devices": "auto"})
    with pytest.raises(ValidationError, match=r"train\.batch_size=32: .* groups of 8, expected a multiple of 64"):
        tiny_config({**compared, "train.devices": 8})
    with pytest.raises(UserError, match=r"expected a multiple of 64 for train\.devices=8 and train\.accumulation=1"):
        check_shares(config, 8)


def test_a_penalty_is_of_the_mean_over_the_critics_as_the_loss_is() -> None:
    config = tiny_config({**FROZEN, "loss.r1.weight": 1.0})
    state, recipe = state_of(config), Recipe.of(config, IMAGE)
    images, labels = to_input(pictures(8, 16, 1), CPU), torch.arange(8) % 3
    inputs = Inputs(RealBatch(images, labels), torch.randn(8, config.network.latent_dim), None, None, None)
    fake = torch.zeros_like(images)
    found = GanObjective(state, recipe).critic(inputs, fake, Penalties(0.5, 0.0, 0.0, Due(True, False, False)))
    seen = images.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(state.critic(seen, labels).mean(dim=1).sum(), seen)
    expected = 0.5 * gradients.square().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(found.penalty.detach(), expected, rtol=1e-3, atol=1e-6)
