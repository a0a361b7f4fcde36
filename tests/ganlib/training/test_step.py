"""One step against the same mathematics written out by hand."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ganlib.config import ImageSpec
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.ema import decay_at, update_ema
from ganlib.training.gan.objective import GanObjective, loss_of
from ganlib.training.gan.penalties import Due, Penalties, penalty_factors
from ganlib.training.gan.step import critic_step, generator_step, objective_of
from ganlib.training.inputs import Inputs, RealBatch
from ganlib.training.iteration import Iteration
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from tests.configs import PAIRED, STYLES, tiny_config
from tests.toy_training import ToyFeed

IMAGE = ImageSpec(size=16, channels=1, classes=("a", "b", "c"))


def penalties_of(recipe: Recipe, seen_images: int) -> Penalties:
    factors = penalty_factors(loss_of(recipe), recipe.options, seen_images)
    return Penalties(*factors, Due(*(each > 0 for each in factors)))


def setup(changes: dict):
    config = tiny_config(changes)
    state = initial_state(config, IMAGE, torch.device("cpu"))
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(8, 1, 16, 16, generator=draw) * 2 - 1
    labels = torch.arange(8) % 3
    latents = torch.randn(8, config.network.latent_dim, generator=draw)
    inputs = Inputs(RealBatch(images, labels), latents, None, None, torch.rand(8, generator=draw))
    return state, Recipe.of(config, IMAGE), inputs


def gradients_agree(mine: torch.nn.Module, theirs: torch.nn.Module) -> None:
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def slope(critic: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = images.clone().requires_grad_()
    logits = critic(inputs, labels)
    (gradients,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return logits, gradients.square().sum(dim=(1, 2, 3))


def test_critic_step_with_zero_centred_penalties_equals_the_formula() -> None:
    changes = {
        "network.critic_norm": "none",
        "loss.adversarial": "relativistic",
        "loss.r1": {"weight": 0.25, "every_steps": 2},  # lazy: due at the first step, and then counts twice
        "loss.r2.weight": 2.0,
    }
    state, recipe, inputs = setup(changes)
    twin = copy.deepcopy(state.critic)
    fake = copy.deepcopy(state.generator)(inputs.latents, inputs.real.condition).detach()

    critic_step(state, recipe, inputs, ALONE, penalties_of(recipe, 0))

    real_logits, r1 = slope(twin, inputs.real.images, inputs.real.condition)
    fake_logits, r2 = slope(twin, fake, inputs.real.condition)
    penalty = 0.5 / 2 * r1.mean() + 2.0 / 2 * r2.mean()
    (F.softplus(-(real_logits - fake_logits)).mean() + penalty).backward()
    gradients_agree(state.critic, twin)


def test_critic_step_with_gradient_penalty_equals_the_formula() -> None:
    changes = {
        "network.critic_norm": "none",
        "loss.adversarial": "wasserstein",
        "loss.gradient_penalty.weight": 10.0,
    }
    state, recipe, inputs = setup(changes)
    twin = copy.deepcopy(state.critic)
    fake = copy.deepcopy(state.generator)(inputs.latents, inputs.real.condition).detach()

    critic_step(state, recipe, inputs, ALONE, penalties_of(recipe, 0))

    share = inputs.mixing[:, None, None, None]
    _, squared = slope(twin, (1 - share) * inputs.real.images + share * fake, inputs.real.condition)
    logits = twin(fake, inputs.real.condition) - twin(inputs.real.images, inputs.real.condition)
    (logits.mean() + 10.0 * (squared.sqrt() - 1).square().mean()).backward()
    gradients_agree(state.critic, twin)


@pytest.mark.parametrize("penalty", ["r1", "gradient_penalty"])
def test_penalties_in_fp16_are_those_of_fp32_at_the_first_loss_scale(penalty: str) -> None:
    """The critic's head computes in full precision, and must be differentiated so: 65,536 is no half number."""
    changes = {
        "network.critic_norm": "none",
        "loss.adversarial": "non_saturating",
        f"loss.{penalty}.weight": 1.0,
        "train.device": "auto",
    }
    found = []
    for precision in ("fp32", "fp16"):
        state, recipe, inputs = setup({**changes, "train.precision": precision})
        found.append(critic_step(state, recipe, inputs, ALONE, penalties_of(recipe, 0))[0])
    assert state.partner_learner.scaler.get_scale() == 2.0**16  # no step was skipped
    assert float(found[0][1]) > 0
    torch.testing.assert_close(found[1], found[0], rtol=5e-3, atol=1e-4)


def test_accumulated_parts_are_the_whole_batch() -> None:
    """For networks that do not couple the images of a batch; R3GAN is one."""
    changes = {"network": "r3gan", "loss.adversarial": "relativistic", "loss.r1.weight": 1.0}
    whole, recipe, inputs = setup(changes)
    parts, accumulating, _ = setup({**changes, "train.accumulation": 4})
    for state, its_recipe in ((whole, recipe), (parts, accumulating)):
        critic_figures = critic_step(state, its_recipe, inputs, ALONE, penalties_of(recipe, 0))[0]
        generator_figures = generator_step(state, its_recipe, inputs, ALONE)
        assert torch.isfinite(critic_figures).all()
        assert torch.isfinite(generator_figures).all()
    gradients_agree(whole.critic, parts.critic)
    gradients_agree(whole.generator, parts.generator)


def test_lazy_penalties_fall_due_on_the_clock() -> None:
    recipe = Recipe.of(tiny_config({"loss.r1": {"weight": 3.0, "every_steps": 4}}), IMAGE)
    factors = [penalties_of(recipe, seen_images).r1 for seen_images in range(0, 80, 8)]
    assert factors == [6.0, 0, 0, 0, 6.0, 0, 0, 0, 6.0, 0]


def test_clipping_bounds_the_norm_of_what_is_applied() -> None:
    state, recipe, inputs = setup({"train.critic_optimizer.max_gradient_norm": 1e-3})
    figures = critic_step(state, recipe, inputs, ALONE, penalties_of(recipe, 0))[0]
    applied = torch.nn.utils.get_total_norm([each.grad for each in state.critic.parameters()])
    assert float(figures[-1]) > 1e-3
    assert float(applied) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    "adversarial", ["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"]
)
def test_generator_step_moves_the_generator_only(adversarial: str) -> None:
    state, recipe, inputs = setup({"loss.adversarial": adversarial, "network.critic_norm": "none"})
    critic_before = copy.deepcopy(state.critic.state_dict())
    generator_before = copy.deepcopy(state.generator.state_dict())
    generator_step(state, recipe, inputs, ALONE)
    for name, value in state.critic.state_dict().items():
        assert torch.equal(value, critic_before[name])
    assert any(not torch.equal(v, generator_before[n]) for n, v in state.generator.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in state.critic.parameters())


def test_each_step_lowers_its_own_loss_on_the_same_batch() -> None:
    slow = {f"train.{network}_optimizer.learning_rate": 1e-4 for network in ("generator", "critic")}
    changes = {**slow, "network.critic_norm": "none", "loss.adversarial": "non_saturating"}
    state, recipe, inputs = setup(changes)
    for learner in (state.partner_learner, state.generator_learner):
        learner.configure(torch.tensor(1e-4), (0.5, 0.999))
    critic_losses = [float(critic_step(state, recipe, inputs, ALONE, penalties_of(recipe, 0))[0][0]) for _ in range(12)]
    assert critic_losses[-1] < critic_losses[0]
    generator_losses = [float(generator_step(state, recipe, inputs, ALONE)[0]) for _ in range(12)]
    assert generator_losses[-1] < generator_losses[0]


@pytest.mark.parametrize(("adversarial", "logit"), [("least_squares", 0.4), ("hinge", -0.1)])
def test_adaptive_augmentation_counts_from_where_the_critic_is_undecided(adversarial: str, logit: float) -> None:
    """Logits on the generated side of the boundary: nothing to augment against."""
    control = {"kind": "adaptive", "target": 0.0, "full_range_images": 100, "every_images": 10}
    pipe = {"policy": "ada", "control": control, **dict.fromkeys(("blit", "geometry", "colour", "noise", "cutout"), 1)}
    state, _, _ = setup({"augmentation.critic": pipe, "loss.adversarial": adversarial})
    for side, expected in ((logit, 0.0), (logit + 0.2, 0.1)):
        state.augmentation.observe(torch.full((8,), side))
        state.augmentation.adjust(0, 10, ALONE.total)
        assert float(state.augmentation.probability) == pytest.approx(expected)


def test_ema_is_the_closed_form_for_weights_and_buffers() -> None:
    average, current = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        current.weight.fill_(3.0)
        current.running_mean.fill_(7.0)
        current.num_batches_tracked.fill_(5)
    update_ema(average, current, torch.tensor(0.1))
    np.testing.assert_allclose(average.weight.detach(), 0.9 * 1 + 0.1 * 3, rtol=1e-6)
    np.testing.assert_allclose(average.running_mean, 0.1 * 7, rtol=1e-6)
    assert int(average.num_batches_tracked) == 5


def test_ema_decay_is_a_half_life_in_images_with_ramp() -> None:
    steps = decay_at(10**9, images=50, half_life_images=1000, ramp=0.05) ** 20
    assert steps == pytest.approx(0.5)
    assert decay_at(2000, images=100, half_life_images=10**9, ramp=0.05) == pytest.approx(0.5)


def test_draws_are_functions_of_seed_and_clock_and_ranks_share_them() -> None:
    def draw(seed: int, seen_images: int, ranks: Ranks = ALONE) -> torch.Tensor:
        draws = Draws(tiny_config({"train.seed": seed}).train, ranks, torch.device("cpu"))
        torch.rand(1, generator=draws.generator)  # what was drawn before makes no difference
        draws.begin(seen_images)
        return torch.cat([draws.normal(4), draws.uniform()[:, None], draws.uniform(2)], dim=1)

    whole = draw(0, 64)
    assert whole.shape == (8, 7)
    assert torch.equal(whole, draw(0, 64))
    assert torch.equal(whole, torch.cat([draw(0, 64, Ranks(rank, 2, rank)) for rank in range(2)]))
    for other in ((1, 64), (0, 128)):
        assert not torch.equal(whole, draw(*other))


@pytest.mark.parametrize("game", [PAIRED, STYLES], ids=["paired", "styles"])
def test_kept_images_are_judged_by_what_they_were_made_from(game: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config({**game, "train.reuse_fakes": True, "train.critic_steps": 2})
    recipe, state = Recipe.of(config, IMAGE), initial_state(config, IMAGE, torch.device("cpu"))
    kind = type(objective_of(state, recipe))
    made: list[tuple[Inputs, torch.Tensor]] = []
    judged: list[tuple[Inputs, torch.Tensor]] = []
    generate, generator = kind.generate, kind.generator

    def generating(objective: GanObjective, inputs: Inputs) -> torch.Tensor:
        made.append((inputs, generate(objective, inputs)))
        return made[-1][1]

    def judging(objective: GanObjective, inputs: Inputs, fake: torch.Tensor) -> tuple[torch.Tensor, ...]:
        judged.append((inputs, fake))
        return generator(objective, inputs, fake)

    monkeypatch.setattr(kind, "generate", generating)
    monkeypatch.setattr(kind, "generator", judging)
    Iteration(state, recipe, ToyFeed(config), ALONE).run()
    assert [fake.requires_grad for _, fake in made] == [False, True]
    (shown, kept), ((inputs, fake),) = made[-1], judged
    assert fake is kept
    for name in ("latents", "targets"):
        one, other = getattr(inputs, name), getattr(shown, name)
        assert (one is None and other is None) or torch.equal(one, other), name
    assert torch.equal(inputs.real.images, shown.real.images)
