"""What every generator and critic promises, whatever its family."""

import copy
from itertools import pairwise, product

import pytest
import torch

from ganlib.config import DcganOptions, ImageSpec, NetworkOptions, R3ganOptions
from ganlib.errors import UserError
from ganlib.networks import Critic, Generator, build_critic, build_generator

CLASSES = ("ant", "bee", "cow")
LATENT_DIM = 6
BATCH = 5


def dcgan(*, conditional=True, norm="spectral", by_norm=True, projection=True) -> DcganOptions:
    return DcganOptions(
        family="dcgan",
        conditional=conditional,
        latent_dim=LATENT_DIM,
        generator_width=4,
        critic_width=4,
        critic_norm=norm,
        conditional_batch_norm=by_norm,
        projection=projection,
    )


def r3gan(*, conditional=True, widths=(8, 8, 8)) -> R3ganOptions:
    return R3ganOptions(
        family="r3gan",
        conditional=conditional,
        latent_dim=LATENT_DIM,
        widths=widths,
        blocks_per_stage=1,
        group_width=4,
        expansion=2,
        embedding_dim=3,
    )


def image_spec(size=16, channels=1, classes=CLASSES) -> ImageSpec:
    return ImageSpec(size=size, channels=channels, classes=classes)


def build(options: NetworkOptions, spec: ImageSpec, seed: int = 0) -> tuple[Generator, Critic]:
    """Networks with every zero-initialised weight made to matter."""
    torch.manual_seed(seed)
    networks = build_generator(options, spec), build_critic(options, spec)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.3)
    return networks


def inputs(options: NetworkOptions, spec: ImageSpec) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    torch.manual_seed(1)
    images = torch.rand(BATCH, spec.channels, spec.size, spec.size) * 2 - 1
    labels = torch.arange(BATCH) % len(CLASSES) if options.conditional else None
    return torch.randn(BATCH, LATENT_DIM), images, labels


VARIANTS = [
    *(
        dcgan(conditional=conditional, norm=norm, by_norm=by_norm, projection=projection)
        for norm in ("spectral", "batch", "none")
        for conditional, by_norm, projection in [(False, True, True), (True, True, True), (True, False, False)]
    ),
    r3gan(conditional=False),
    r3gan(conditional=True),
    r3gan(conditional=True, widths=(16, 8, 4)),
]
CONDITIONAL = [options for options in VARIANTS if options.conditional]


def name(options: NetworkOptions) -> str:
    conditional = "conditional" if options.conditional else "plain"
    detail = options.critic_norm if isinstance(options, DcganOptions) else "-".join(map(str, options.widths))
    return f"{options.family}-{detail}-{conditional}"


@pytest.mark.parametrize(("size", "channels"), list(product([16, 32, 64], [1, 3])))
@pytest.mark.parametrize("options", VARIANTS, ids=name)
def test_shapes_ranges_and_finite_gradients(options, size, channels):
    if isinstance(options, R3ganOptions):
        stages = size.bit_length() - 2
        options = options.model_copy(update={"widths": (options.widths * 2)[:stages]})
    spec = image_spec(size, channels)
    generator, critic = build(options, spec)
    latents, _, labels = inputs(options, spec)
    images = generator(latents, labels)
    logits = critic(images, labels)
    logits.sum().backward()
    assert generator.latent_dim == LATENT_DIM
    assert images.shape == (BATCH, channels, size, size)
    assert images.dtype == torch.float32
    assert logits.shape == (BATCH,)
    if isinstance(options, DcganOptions):
        assert images.abs().max() <= 1
    for parameter in [*generator.parameters(), *critic.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("options", CONDITIONAL, ids=name)
def test_labels_change_images_and_logits(options):
    spec = image_spec()
    generator, critic = build(options, spec)
    generator.eval()
    critic.eval()
    latents, images, _ = inputs(options, spec)
    by_class = [
        (generator(latents, torch.full((BATCH,), k)), critic(images, torch.full((BATCH,), k)))
        for k in range(len(CLASSES))
    ]
    for (images_a, logits_a), (images_b, logits_b) in pairwise(by_class):
        assert ((images_a - images_b).flatten(1).abs().max(dim=1).values > 1e-4).all()
        assert ((logits_a - logits_b).abs() > 1e-4).all()


@pytest.mark.parametrize("options", VARIANTS, ids=name)
def test_couples_samples_tells_the_truth(options):
    spec = image_spec()
    _, critic = build(options, spec)
    _, images, labels = inputs(options, spec)
    images.requires_grad_()
    (gradients,) = torch.autograd.grad(critic(images, labels)[0], images)
    from_neighbours = gradients[1:].abs().max() > 0
    assert gradients[0].abs().max() > 0
    assert bool(from_neighbours) == critic.couples_samples
    expected = isinstance(options, DcganOptions) and options.critic_norm == "batch"
    assert critic.couples_samples == expected


@pytest.mark.parametrize("options", VARIANTS, ids=name)
def test_same_seed_same_bits(options):
    spec = image_spec()
    latents, images, labels = inputs(options, spec)
    results = []
    for _ in range(2):
        generator, critic = build(options, spec, seed=3)
        results.append((generator(latents, labels), critic(images, labels)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("options", VARIANTS, ids=name)
def test_state_dict_round_trip(options):
    spec = image_spec()
    latents, images, labels = inputs(options, spec)
    generator, critic = build(options, spec)
    generator(latents, labels)  # batch statistics and power iterations are state too
    critic(images, labels)
    copies = build(options, spec, seed=99)
    for original, rebuilt in zip((generator, critic), copies, strict=True):
        rebuilt.load_state_dict(original.state_dict(), strict=True)
        original.eval()
        rebuilt.eval()
    assert torch.equal(generator(latents, labels), copies[0](latents, labels))
    assert torch.equal(critic(images, labels), copies[1](images, labels))


@pytest.mark.parametrize("options", VARIANTS, ids=name)
def test_generator_is_whole_from_its_weights_alone(options):
    spec = image_spec()
    latents, _, labels = inputs(options, spec)
    generator = build(options, spec)[0].eval()
    with torch.device("meta"):
        rebuilt = build_generator(options, spec)
    rebuilt.load_state_dict(generator.state_dict(), assign=True)
    assert torch.equal(generator(latents, labels), rebuilt.eval()(latents, labels))


@pytest.mark.parametrize("options", VARIANTS, ids=name)
def test_channels_last_gives_the_same_result(options):
    spec = image_spec()
    latents, images, labels = inputs(options, spec)
    networks = [network.double() for network in build(options, spec)]
    relaid = [copy.deepcopy(network).to(memory_format=torch.channels_last) for network in networks]
    for generator, critic, layout in [(*networks, torch.contiguous_format), (*relaid, torch.channels_last)]:
        made = generator(latents.double(), labels)
        assert made.is_contiguous(memory_format=layout)
        logits = critic(images.double().contiguous(memory_format=layout), labels)
        if layout is torch.contiguous_format:
            expected = made, logits
    torch.testing.assert_close(made, expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits, expected[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", VARIANTS, ids=name)
def test_bf16_autocast_returns_float32_near_the_exact_result(options):
    spec = image_spec()
    latents, images, labels = inputs(options, spec)
    generator, critic = build(options, spec)
    exact = copy.deepcopy(generator)(latents, labels), copy.deepcopy(critic)(images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = generator(latents, labels), critic(images, labels)
    for found, expected in zip(rounded, exact, strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 0.05 * expected.norm()


def test_unconditional_networks_ignore_the_classes_of_the_data():
    options = dcgan(conditional=False)
    labelled, bare = image_spec(), image_spec(classes=())
    for build_one in (build_generator, build_critic):
        assert list(build_one(options, labelled).state_dict()) == list(build_one(options, bare).state_dict())


@pytest.mark.parametrize("build_one", [build_generator, build_critic])
@pytest.mark.parametrize(
    ("options", "spec", "message"),
    [
        (dcgan(), image_spec(classes=()), r"network\.conditional=true needs labelled data, found none: .* false"),
        (dcgan(), image_spec(size=24), r"data\.image_size=24: expected 4 times a power of two"),
        (r3gan(), image_spec(size=4), r"data\.image_size=4: expected"),
        (r3gan(), image_spec(size=32), r"network\.widths has 3 entries, expected 4: one per resolution"),
    ],
)
def test_options_that_do_not_fit_the_images_are_refused(build_one, options, spec, message):
    with pytest.raises(UserError, match=message) as caught:
        build_one(options, spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [dcgan, r3gan])
def test_labels_must_come_exactly_when_conditional(make):
    spec = image_spec()
    for conditional, reason in [(True, "needs labels"), (False, "takes no labels")]:
        generator, critic = build(make(conditional=conditional), spec)
        latents, images, _ = inputs(make(), spec)
        wrong = None if conditional else torch.zeros(BATCH, dtype=torch.int64)
        with pytest.raises(AssertionError, match=reason):
            generator(latents, wrong)
        with pytest.raises(AssertionError, match=reason):
            critic(images, wrong)
