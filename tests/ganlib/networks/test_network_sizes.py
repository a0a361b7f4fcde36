"""Every family at every size and number of channels, and what is refused."""

from itertools import product

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from ganlib.config import NetworkOptions
from ganlib.errors import UserError
from ganlib.networks import build_critic, build_generator
from tests.ganlib.networks.families import BATCH, FAMILIES, VARIANTS, build, image_spec, inputs, of

CASES = [*product(FAMILIES, (16, 32, 64), (1, 3, 4), (False, True)), *product(["mlp"], [28], [1], (False, True))]


@pytest.mark.parametrize(("family", "size", "channels", "conditional"), CASES)
def test_shapes_ranges_and_finite_gradients(family, size, channels, conditional):
    options = of(family, size, conditional=conditional)
    spec = image_spec(size, channels)
    generator, critic = build(options, spec)
    latents, _, labels = inputs(options, spec)
    images = generator(latents, labels)
    logits = critic(images, labels)
    logits.sum().backward()
    assert generator.latent_dim == options.latent_dim
    assert images.shape == (BATCH, channels, size, size)
    assert images.dtype == torch.float32
    assert logits.shape == (BATCH,)
    if family != "r3gan":  # published without tanh
        assert images.abs().max() <= 1
    for parameter in [*generator.parameters(), *critic.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize(
    ("family", "size", "channels", "conditional"), [*product(FAMILIES, (128, 256), (3,), (False, True))]
)
def test_shapes_of_large_images(family, size, channels, conditional):
    options = of(family, size, conditional=conditional)
    spec = image_spec(size, channels)
    with torch.device("meta"):
        generator, critic = build_generator(options, spec), build_critic(options, spec)
        labels = torch.zeros(BATCH, dtype=torch.int64) if conditional else None
        images = generator(torch.randn(BATCH, options.latent_dim), labels)
        logits = critic(images, labels)
    assert images.shape == (BATCH, channels, size, size)
    assert logits.shape == (BATCH,)


@pytest.mark.parametrize("family", FAMILIES)
def test_conditional_networks_need_classes(family):
    for build_one in (build_generator, build_critic):
        with pytest.raises(UserError, match=r"^network\.conditional=true needs labelled data, found none: .* false$"):
            build_one(of(family), image_spec(classes=()))


@pytest.mark.parametrize(
    ("family", "size", "changes", "message"),
    [
        *((family, 28, {}, rf"data\.image_size=28: network\.family={family} makes") for family in FAMILIES[1:]),
        ("r3gan", 4, {}, r"data\.image_size=4: network\.family=r3gan makes"),
        ("r3gan", 32, {}, r"network\.widths has 3 entries, expected 4: one per resolution from 4 to .*=32"),
        ("resnet", 32, {}, r"network\.generator_widths has 3 entries, expected 4: one per resolution"),
        (
            "resnet",
            16,
            {"critic_widths": (4,) * 5, "critic_halvings": 5},
            r"network\.critic_halvings=5 leaves nothing of data\.image_size=16; lower it",
        ),
        ("biggan", 16, {"attention_size": 16}, r"network\.attention_size=16: no .*=16; expected 8 or null$"),
        ("biggan", 16, {"attention_size": 4}, r"network\.attention_size=4: no .*; expected 8 or null$"),
        (
            "biggan",
            16,
            {"attention_size": 8, "critic_halvings": 0},
            r"network\.attention_size=8: no .*; expected 16 or null$",
        ),
    ],
)
def test_options_that_do_not_fit_the_images_are_refused(family, size, changes, message):
    options = of(family, 16, **changes)
    with pytest.raises(ValueError, match=message):
        options.check_size(size)
    for build_one in (build_generator, build_critic):
        with pytest.raises(UserError, match=message) as caught:
            build_one(options, image_spec(size))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("resnet", {"critic_halvings": 4}, r"critic_halvings=4 is more than the 3 blocks of critic_widths"),
        ("biggan", {"latent_dim": 10}, r"latent_dim=10 must be divisible by the 3 resolutions .* 12 is"),
        ("r3gan", {"group_width": 3}, r"group_width=3 must divide width x expansion = 16"),
        ("mlp", {"critic_dropout": 1.0}, r"critic_dropout"),
        ("mlp", {"generator_widths": ()}, r"generator_widths"),
        ("dcgan", {"critic_convolutions": 3}, r"critic_convolutions"),
    ],
)
def test_options_that_contradict_each_other_are_refused(family, changes, message):
    with pytest.raises(ValidationError, match=message):
        of(family, **changes)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_options_survive_json(options):
    adapter: TypeAdapter[NetworkOptions] = TypeAdapter(NetworkOptions)
    assert adapter.validate_json(options.model_dump_json()) == options
