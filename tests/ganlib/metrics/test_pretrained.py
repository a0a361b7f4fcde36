"""Networks with brought weights, or none: what they see, and files that are missing, wrong or malicious."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_clip import CLIPVisual
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from ganlib.config import PretrainedName
from ganlib.errors import UserError
from ganlib.metrics.extractors import Extractor, inception
from ganlib.metrics.inception_score import inception_score
from ganlib.pretrained.addresses import ADDRESSES
from ganlib.pretrained.colours import on_white
from tests.extractors import digest_of, load_weights, pictures

pytestmark = pytest.mark.thorough

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the official layout with random weights, of which features vary."""
    state = inception.untrained_network(0).state_dict()
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def inception_extractor(inception_file: Path) -> Extractor:
    return load_weights("inception", inception_file, digest_of(inception_file)[:8], inception_file.parent)


@pytest.mark.parametrize("size", [16, 333])
def test_inception_sees_what_torch_fidelity_sees(
    size: int, inception_extractor: Extractor, inception_file: Path
) -> None:
    theirs = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(inception_file)
    )
    images = pictures(2, size, 3)
    expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = inception_extractor.extract(images)
    for mine, their in zip((found.values, found.logits), expected, strict=True):
        assert (mine - their).norm() / their.norm() < 1e-4
        assert their.std(dim=0).mean() > 0.01 * their.abs().mean()


def test_inception_takes_grey_and_colour_and_what_lies_between_levels(inception_extractor: Extractor) -> None:
    grey = pictures(9, 16, 1)
    found = inception_extractor.extract(grey)
    assert found.values.shape == (9, 2048)
    assert found.logits.shape == (9, 1008)
    assert torch.equal(found.values, inception_extractor.extract(np.repeat(grey, 3, axis=3)).values)
    floats = torch.from_numpy(grey).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    assert torch.equal(inception_extractor.see(floats), found.values)


def test_rgba_is_seen_on_white(inception_extractor: Extractor) -> None:
    assert "on_white" in inception_extractor.identity
    rgba = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 4, 16, 16), dtype=np.uint8))
    colour, alpha = rgba[:, :3].double(), rgba[:, 3:].double() / 255
    expected = (colour * alpha + 255 * (1 - alpha)) / 127.5 - 1
    torch.testing.assert_close(on_white(rgba.float() / 127.5 - 1), expected.float(), atol=1e-6, rtol=0)
    images = pictures(1, 16, 4)
    images[..., 3] = 255
    opaque = images[..., :3].copy()
    assert torch.equal(inception_extractor.extract(images).values, inception_extractor.extract(opaque).values)


def test_an_untrained_inception_is_the_same_for_a_seed_and_sees_differences(
    inception_extractor: Extractor, tmp_path: Path
) -> None:
    found = load_weights("random", None, "", tmp_path)
    images = pictures(12, 16, 3)
    features = found.extract(images)
    assert features.values.shape == (12, 2048)
    assert bool((features.values.std(dim=0) > 0).all())
    # How many directions the features of 12 images span: 11 at most.
    spectrum = torch.linalg.svdvals(features.values.double() - features.values.double().mean(dim=0)).square()
    assert spectrum.sum() ** 2 / spectrum.square().sum() > 4
    noise = np.random.default_rng(0).normal(size=images.shape)
    moved = [
        (found.extract((images + scale * noise).clip(0, 255).astype(np.uint8)).values - features.values).norm()
        for scale in (4, 16, 64)
    ]
    assert moved == sorted(moved)
    assert torch.equal(features.values, inception_extractor.extract(images).values)
    assert found.weights_sha256 != inception.untrained_inception("random", 1, CPU).weights_sha256
    small = load_weights("random-96", None, "", tmp_path)
    assert small.weights_sha256 == found.weights_sha256
    assert small.name == "random-96"
    assert small.identity != found.identity
    seen = small.extract(images).values
    assert seen.shape == (12, 2048)
    assert not torch.equal(seen, features.values)
    with pytest.raises(UserError, match=r"^is: the extractor knows no classes"):
        inception_score(features.logits, splits=1, seed=0)


def test_weights_that_are_wrong_or_missing(inception_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"SHA-256 is .* expected 6726825d.*extractor\.weights_sha256\.inception"):
        load_weights("inception", inception_file, "6726825d", tmp_path)
    with pytest.raises(
        UserError, match=r"extractor\.weights_files\.inception=.*no such file; bring weights-inception-"
    ):
        load_weights("inception", tmp_path / "absent.pth", "6726825d", tmp_path)
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    for name in ("inception", "vgg16", "clip-rn50", "dinov2-vit-s-14"):
        with pytest.raises(UserError, match=f"no weights of {name}") as caught:
            load_weights(name, other, digest_of(other), tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["inception", "vgg16", "clip-vit-b-32", "dinov2-vit-b-14"])
def test_without_a_network_the_line_says_what_to_bring_and_where(
    name: PretrainedName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ADDRESSES[name].rsplit("/", 1)[1]
    # A port of this machine on which nothing listens stands for the missing network.
    monkeypatch.setitem(ADDRESSES, name, f"http://127.0.0.1:9/{file}")
    with pytest.raises(UserError, match="cannot be reached") as caught:
        load_weights(name, None, "6726825d", tmp_path)
    line = str(caught.value)
    for part in (f"bring {file} (SHA-256 6726825d…)", str(tmp_path / "weights" / file), f"weights_files.{name}"):
        assert part in line
    assert "\n" not in line
    assert not list((tmp_path / "weights").iterdir())


def test_a_file_from_the_address_is_checked_kept_and_found_again(
    inception_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ADDRESSES, "inception", inception_file.as_uri())
    with pytest.raises(UserError, match="SHA-256 is"):
        load_weights("inception", None, "6726825d", tmp_path)
    assert not list((tmp_path / "weights").iterdir())
    digest = digest_of(inception_file)
    assert load_weights("inception", None, digest, tmp_path).weights_sha256 == digest
    monkeypatch.setitem(ADDRESSES, "inception", f"http://127.0.0.1:9/{inception_file.name}")
    assert load_weights("inception", None, digest, tmp_path).weights_sha256 == digest


@pytest.mark.parametrize("name", ["inception", "vgg16", "clip-rn50", "dinov2-vit-s-14"])
def test_a_pickle_with_code_is_refused_not_run(name: PretrainedName, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "malice.pth"
    path.write_bytes(pickle.dumps(Malice()))
    with pytest.raises(UserError, match=f"no weights of {name}"):
        load_weights(name, path, digest_of(path), tmp_path)
    torch.save({"x": Malice()}, path)
    with pytest.raises(UserError, match=f"no weights of {name}"):
        load_weights(name, path, digest_of(path), tmp_path)
    assert not (tmp_path / "executed").exists()


class TinyClip(torch.nn.Module):
    """Of the layout that OpenAI publishes, with one narrow layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.visual = CLIPVisual(16, 64, 1, 64, 32).visual
        self.text_projection = torch.nn.Parameter(torch.zeros(8, 16))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.visual.conv1(images)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_clip_from_a_file_sees_what_torch_fidelity_sees(tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    torch.jit.trace(TinyClip(), torch.zeros(1, 3, 64, 64)).save(path)
    found = load_weights("clip-vit-b-32", path, digest_of(path), tmp_path)
    images = pictures(3, 16, 1)
    features = found.extract(images)
    theirs = FEATURE_EXTRACTORS_REGISTRY["clip-vit-b-32"](
        "clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(path)
    )
    rgb = torch.from_numpy(np.repeat(images, 3, axis=3)).permute(0, 3, 1, 2)
    torch.testing.assert_close(features.values, theirs(rgb)[0])
    assert features.logits.shape == (3, 0)
    assert "'torch-fidelity': '" in found.identity
    with pytest.raises(UserError, match=r"^extractor clip-vit-b-32: takes images of 256 levels"):
        found.see(torch.zeros(1, 1, 16, 16))
