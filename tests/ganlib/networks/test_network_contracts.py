"""What every generator and critic promises, whatever its family."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.func import functional_call

from ganlib.config import NetworkOptions
from ganlib.networks import Critic, build_critic, build_generator
from tests.ganlib.networks.families import (
    BATCH,
    CLASSES,
    FAMILIES,
    VARIANTS,
    build,
    dcgan,
    image_spec,
    inputs,
    mlp,
    of,
)

each_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
CONDITIONAL = {name: options for name, options in VARIANTS.items() if options.conditional}
INDEPENDENT = {name: options for name, options in VARIANTS.items() if not options.couples_samples}
HEADS = {"head", "std", "pool", "projected", "embedding", "label_plane", "heads", "frozen"}


def learning(*networks: nn.Module) -> list[nn.Parameter]:
    """All parameters but those of frozen networks."""
    return [each for network in networks for each in network.parameters() if each.requires_grad]


@pytest.mark.parametrize("options", CONDITIONAL.values(), ids=CONDITIONAL)
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


@each_variant
def test_couples_samples_tells_the_truth(options):
    spec = image_spec()
    _, critic = build(options, spec)
    _, images, labels = inputs(options, spec)
    images.requires_grad_()
    (gradients,) = torch.autograd.grad(critic(images, labels)[0].sum(), images)
    from_neighbours = gradients[1:].abs().max() > 0
    assert gradients[0].abs().max() > 0
    assert bool(from_neighbours) == critic.couples_samples == options.couples_samples


@pytest.mark.parametrize("images", [3, 8])
@each_variant
def test_two_kinds_share_a_pass_where_neither_changes_the_other(options, images):
    spec = image_spec()
    _, critic = build(options, spec)
    if not critic.can_share_a_pass(images):
        assert critic.couples_samples
        return
    kinds = torch.rand(2, images, spec.channels, spec.size, spec.size) * 2 - 1
    labels = torch.arange(images) % len(CLASSES) if options.conditional else None
    both = critic(kinds.flatten(0, 1), None if labels is None else torch.cat([labels, labels]))
    alone = torch.cat([critic(kind, labels) for kind in kinds])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-4)


@each_variant
def test_same_seed_same_bits(options):
    spec = image_spec()
    latents, images, labels = inputs(options, spec)
    results = []
    for _ in range(2):
        generator, critic = build(options, spec, seed=3)
        results.append((generator(latents, labels), critic(images, labels)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@each_variant
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


@each_variant
def test_networks_are_whole_from_their_weights_alone(options):
    spec = image_spec()
    latents, images, labels = inputs(options, spec)
    generator, critic = (network.eval() for network in build(options, spec))
    with torch.device("meta"):
        rebuilt = build_generator(options, spec), build_critic(options, spec)
    for original, copied in zip((generator, critic), rebuilt, strict=True):
        copied.load_state_dict(original.state_dict(), assign=True)
        copied.eval()
    assert torch.equal(generator(latents, labels), rebuilt[0](latents, labels))
    assert torch.equal(critic(images, labels), rebuilt[1](images, labels))


@each_variant
def test_channels_last_gives_the_same_result(options):
    spec = image_spec(channels=3)
    latents, images, labels = inputs(options, spec)
    networks = [network.double() for network in build(options, spec)]
    relaid = [copy.deepcopy(network).to(memory_format=torch.channels_last) for network in networks]
    for generator, critic, layout in [(*networks, torch.contiguous_format), (*relaid, torch.channels_last)]:
        made = generator(latents.double(), labels)
        # An mlp's pixels are a plain vector.
        assert options.family == "mlp" or made.is_contiguous(memory_format=layout)
        logits = critic(images.double().contiguous(memory_format=layout), labels)
        if layout is torch.contiguous_format:
            expected = made, logits
    torch.testing.assert_close(made, expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits, expected[1], rtol=1e-9, atol=1e-9)


@each_variant
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


@pytest.mark.gpu
@each_variant
def test_fp16_autocast_on_a_gpu_returns_float32_near_the_exact_result(options):
    spec = image_spec()
    latents, images, labels = (each if each is None else each.cuda() for each in inputs(options, spec))
    generator, critic = (network.cuda() for network in build(options, spec))
    exact = copy.deepcopy(generator)(latents, labels), copy.deepcopy(critic)(images, labels)
    with torch.autocast("cuda", torch.float16):
        rounded = generator(latents, labels), critic(images, labels)
    for found, expected in zip(rounded, exact, strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("options", INDEPENDENT.values(), ids=INDEPENDENT)
def test_critics_are_twice_differentiable(options):
    """The derivative of a squared image gradient along a random change of the weights, against a central difference."""
    spec = image_spec()
    critic = build(options, spec)[1].double().eval()  # in training mode power iterations move the function
    _, images, labels = inputs(options, spec)
    pixels = images.double().requires_grad_()
    weights = {name: each.detach().requires_grad_() for name, each in critic.named_parameters()}
    direction = {name: torch.randn_like(each) for name, each in weights.items()}

    def penalty(step: float) -> torch.Tensor:
        moved = {name: each + step * direction[name] for name, each in weights.items()}
        logits = functional_call(critic, moved, (pixels, labels))
        (gradient,) = torch.autograd.grad(logits.sum(), pixels, create_graph=True)
        return gradient.square().sum()

    derivatives = torch.autograd.grad(penalty(0), list(weights.values()), allow_unused=True)
    found = sum((d * direction[name]).sum() for name, d in zip(weights, derivatives, strict=True) if d is not None)
    expected = (penalty(1e-7) - penalty(-1e-7)) / 2e-7
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-8)


@each_variant
def test_in_place_activations_leave_two_passes_and_double_backward_alone(options):
    """In training mode: two critic passes, one backward through both and through a gradient."""
    spec = image_spec()
    generator, critic = build(options, spec)
    latents, images, labels = inputs(options, spec)
    fake = generator(latents, labels)
    images.requires_grad_()
    real_logits, fake_logits = critic(images, labels), critic(fake, labels)
    (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    (real_logits.sum() - fake_logits.sum() + gradient.square().sum()).backward()
    for parameter in learning(generator, critic):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


COMPILED = ("mlp-conditional", "resnet-conditional")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # Dynamo's own
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in COMPILED else pytest.mark.slow) for name in VARIANTS]
)
def test_compiled_networks_give_the_same_gradients_and_state(name):
    torch.compiler.reset()
    options, spec = VARIANTS[name], image_spec()
    latents, images, labels = inputs(options, spec)
    results = []
    for compiled in (False, True):
        networks = [network.double() for network in build(options, spec)]
        calls = [torch.compile(each, backend="aot_eager", fullgraph=True) if compiled else each for each in networks]
        both = torch.cat([images.double(), calls[0](latents.double(), labels)])
        logits = calls[1](both, None if labels is None else labels.repeat(2))
        logits.square().sum().backward()
        parameters = learning(*networks)
        buffers = [buffer for network in networks for buffer in network.buffers()]
        results.append([both.detach(), logits.detach(), *(parameter.grad for parameter in parameters), *buffers])
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


@each_variant
def test_lower_layers_are_all_but_the_head_from_the_image_inwards(options):
    spec = image_spec(channels=3)
    _, critic = build(options, spec)
    _, images, labels = inputs(options, spec)
    layers = critic.lower_layers()
    owners = {parameter: index for index, layer in enumerate(layers) for parameter in layer.parameters()}
    assert len(owners) == sum(len(list(layer.parameters())) for layer in layers)
    others = {
        name.removeprefix("pixels.").split(".")[0]
        for name, parameter in critic.named_parameters()
        if parameter not in owners
    }
    assert others <= HEADS
    calls = _calls_in_order(critic, images, labels)
    first_input = calls[0][1].flatten(1)[:, : images[0].numel()]
    assert torch.equal(first_input, images.flatten(1))
    order = [owners[module.bias] for module, _ in calls if getattr(module, "bias", None) in owners]
    assert order == sorted(order)
    assert owners[next(calls[0][0].parameters())] == 0


def _calls_in_order(critic: Critic, images: torch.Tensor, labels: torch.Tensor | None):
    calls: list[tuple[nn.Module, torch.Tensor]] = []
    for module in critic.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(lambda module, arguments: calls.append((module, arguments[0].clone())))
    critic(images, labels)
    return calls


@pytest.mark.parametrize("options", [mlp(critic_dropout=0.5), dcgan(critic_dropout=0.5)], ids=["mlp", "dcgan"])
def test_dropout_only_while_training(options: NetworkOptions):
    spec = image_spec()
    _, critic = build(options, spec)
    _, images, labels = inputs(options, spec)
    assert not torch.equal(critic(images, labels), critic(images, labels))
    critic.eval()
    assert torch.equal(critic(images, labels), critic(images, labels))


@pytest.mark.parametrize("family", FAMILIES)
def test_unconditional_networks_ignore_the_classes_of_the_data(family):
    options = of(family, conditional=False)
    labelled, bare = image_spec(), image_spec(classes=())
    for build_one in (build_generator, build_critic):
        assert list(build_one(options, labelled).state_dict()) == list(build_one(options, bare).state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_must_come_exactly_when_conditional(family):
    spec = image_spec()
    for conditional, reason in [(True, "needs labels"), (False, "takes no labels")]:
        options = of(family, conditional=conditional)
        generator, critic = build(options, spec)
        latents, images, _ = inputs(options, spec)
        wrong = None if conditional else torch.zeros(BATCH, dtype=torch.int64)
        with pytest.raises(AssertionError, match=reason):
            generator(latents, wrong)
        with pytest.raises(AssertionError, match=reason):
            critic(images, wrong)
