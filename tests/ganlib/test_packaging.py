"""A saved generator: same bytes, same pictures, and refusals in one line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ganlib import sampling
from ganlib.config import ImageSpec, NetworkOptions
from ganlib.errors import UserError
from ganlib.networks import build_critic, build_generator
from ganlib.networks.base import Critic
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic, read_description
from ganlib.tensor_files import save_tensors
from tests.configs import NETWORKS, TRANSLATORS, tiny_config

IMAGE = ImageSpec(size=16, channels=3, classes=("ant", "bee", "cat"))


DCGAN = tiny_config({}).network
UNCONDITIONAL = tiny_config({"network.conditional": False}).network
BATCH_NORM = tiny_config({"network.critic_norm": "batch"}).network
R3GAN = tiny_config({"network": "r3gan"}).network


def make(network: NetworkOptions = DCGAN, image: ImageSpec = IMAGE) -> ImageGenerator:
    torch.manual_seed(0)
    return ImageGenerator(build_generator(network, image), network, image, {"seen_images": 1})


def make_critic(network: NetworkOptions = DCGAN, seed: int = 1) -> Critic:
    torch.manual_seed(seed)
    return build_critic(network, IMAGE)


@pytest.mark.parametrize("network", [DCGAN, UNCONDITIONAL, R3GAN])
def test_round_trip_keeps_bytes_and_pictures(network: NetworkOptions, tmp_path: Path) -> None:
    made = make(network)
    made.save(tmp_path / "one")
    loaded = ImageGenerator.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    assert generator_sha256(tmp_path / "one") == generator_sha256(tmp_path / "two")
    images = loaded.sample(seed=3, count=5)
    assert images.dtype == np.uint8
    assert images.shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(images, made.sample(seed=3, count=5))
    assert (images != loaded.sample(seed=4, count=5)).any()


def test_labels_choose_classes_and_truncation_narrows(tmp_path: Path) -> None:
    made = make()
    turns, chosen = made.sample(seed=0, count=6), made.sample(seed=0, labels=[0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(turns, chosen)
    wide, narrow = made.sample(seed=0, labels=[0] * 64), made.sample(seed=0, labels=[0] * 64, truncation=0.05)
    assert narrow.std(axis=0).mean() < wide.std(axis=0).mean() / 2


@pytest.mark.parametrize("network", sorted(NETWORKS.keys() - {*TRANSLATORS}))
def test_an_image_does_not_depend_on_what_is_made_beside_it(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit before rounding: of a longer draw, of a shorter one, and alone with its label."""
    monkeypatch.setattr(sampling, "to_uint8", lambda images: images.numpy())
    config = tiny_config({"network": network})
    classes = tuple("abcdefgh") if config.network.conditional else ()
    made = make(config.network, ImageSpec(size=config.data.image_size, channels=1, classes=classes))
    labels = [index % 8 for index in range(21)] if classes else None
    longer = made.sample(seed=7, count=None if labels else 21, labels=labels)
    shorter = made.sample(seed=7, count=None if labels else 3, labels=labels and labels[:3])
    np.testing.assert_array_equal(longer[:3], shorter)
    one = sampling.render_rows(made.generator, made.latents(21, seed=7)[20:], labels and torch.tensor(labels[20:]))
    np.testing.assert_array_equal(longer[20:], one)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({}, "either count or labels"),
        ({"count": 1, "labels": [0]}, "either count or labels"),
        ({"count": 0}, "found 0 images"),
        ({"labels": [3]}, "labels: found 3, expected 0 to 2"),
        ({"count": 1, "truncation": 0.0}, "truncation: found 0.0"),
        ({"count": 1, "truncation": 1.1}, "truncation: found 1.1"),
    ],
)
def test_impossible_requests(request_: dict, line: str) -> None:
    with pytest.raises(UserError, match=line):
        make().sample(seed=0, **request_)


def test_labels_of_an_unconditional_generator() -> None:
    with pytest.raises(UserError, match="unconditional"):
        make(UNCONDITIONAL).sample(seed=0, labels=[1])


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "rubbish"])
def test_damaged_files_are_one_line(name: str, damage: str, tmp_path: Path) -> None:
    make().save(tmp_path)
    path = tmp_path / name
    match damage:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:50])
        case _:
            path.write_bytes(b"\xff\xfe rubbish")
    with pytest.raises(UserError) as caught:
        ImageGenerator.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_the_machine_refuses_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "generator.json").mkdir()
    for read in (ImageGenerator.load, generator_sha256):
        with pytest.raises(IsADirectoryError):
            read(tmp_path)


@pytest.mark.parametrize("network", [DCGAN, UNCONDITIONAL, R3GAN, BATCH_NORM])
def test_the_critic_comes_back(network: NetworkOptions, tmp_path: Path) -> None:
    critic = make_critic(network)
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0]) if network.conditional else None
    critic(images, labels)  # moves what batch norm and spectral norm keep
    make(network).save(tmp_path / "one", critic=critic)
    loaded = load_critic(tmp_path / "one")
    assert loaded.state_dict().keys() == critic.state_dict().keys()
    assert all(torch.equal(value, critic.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert torch.equal(loaded.eval()(images, labels), critic.eval()(images, labels))
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    make(network).save(tmp_path / "two", critic=loaded)
    assert generator_sha256(tmp_path / "one") == generator_sha256(tmp_path / "two")


def test_the_address_covers_the_critic_but_serving_does_not_read_it(tmp_path: Path) -> None:
    addresses = set()
    for name, critic in (("none", None), ("one", make_critic(seed=1)), ("two", make_critic(seed=2))):
        make().save(tmp_path / name, critic=critic)
        addresses.add(generator_sha256(tmp_path / name))
    assert len(addresses) == 3
    address = generator_sha256(tmp_path / "one")
    (tmp_path / "one/critic.safetensors").unlink()
    assert generator_sha256(tmp_path / "one") == address
    np.testing.assert_array_equal(
        ImageGenerator.load(tmp_path / "one").sample(seed=0, count=3), make().sample(seed=0, count=3)
    )
    with pytest.raises(UserError, match=r"critic\.safetensors: missing"):
        load_critic(tmp_path / "one")


def test_a_generator_saved_without_its_critic_leaves_none_behind(tmp_path: Path) -> None:
    make().save(tmp_path, critic=make_critic())
    assert read_description(tmp_path).critic_sha256 is not None
    make().save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generator.json", "generator.safetensors"]
    with pytest.raises(UserError, match="without its critic; choose one"):
        load_critic(tmp_path)


def test_another_or_a_damaged_critic_is_one_line(tmp_path: Path) -> None:
    make().save(tmp_path / "one", critic=make_critic(seed=1))
    make().save(tmp_path / "two", critic=make_critic(seed=2))
    foreign = (tmp_path / "two/critic.safetensors").read_bytes()
    for content in (foreign, foreign[:100], b""):
        (tmp_path / "one/critic.safetensors").write_bytes(content)
        with pytest.raises(
            UserError, match=r"critic\.safetensors: SHA-256 is .*, expected .* as generator\.json"
        ) as caught:
            load_critic(tmp_path / "one")
        assert "\n" not in str(caught.value)


def test_a_generator_needs_neither_metric_libraries_nor_the_compiler() -> None:
    """What a served model imports, also where its networks are made without weights: each takes seconds."""
    program = (
        "import sys, torch, ganlib.packaging\n"
        "from ganlib.networks.spectral import spectral_norm\n"
        "from ganlib.weightless import weightless\n"
        "with weightless():\n"
        "    torch.nn.Embedding(4, 4), spectral_norm(torch.nn.Conv2d(3, 4, 3)), torch.nn.BatchNorm2d(4)\n"
        "heavy = ('torchvision', 'torch_fidelity', 'mlflow', 'torch._dynamo', 'sympy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_weights_get_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    """Somebody else, such as a server's user, reads them, too."""
    before = os.umask(0o027)
    try:
        (tmp_path / "usual").touch()
        for _ in range(2):  # anew, and in the place of another
            save_tensors({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert load_file(tmp_path / "weights.safetensors")["a"].shape == (1,)
