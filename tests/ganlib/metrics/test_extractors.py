"""Extractors: learning, saving, caching, and weights that are not to be had."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ganlib.config import ImageSpec
from ganlib.errors import UserError
from ganlib.metrics import inception
from ganlib.metrics.cache import cached_features
from ganlib.metrics.classifier import Classifier, train_classifier
from ganlib.metrics.extractors import (
    DomainExtractor,
    load_domain_extractor,
    load_extractor,
    on_white,
    save_extractor,
)
from tests.configs import tiny_config

IMAGE = ImageSpec(size=16, channels=1, classes=("dark", "light"))
OPTIONS = tiny_config({}).extractor


def batches(seen_images: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seen_images)
    labels = draw.integers(0, 2, 16)
    images = draw.integers(0, 100, (16, 16, 16, 1)) + 120 * labels[:, None, None, None]
    return images.astype(np.uint8), labels.astype(np.int64)


def trained() -> Classifier:
    return train_classifier(OPTIONS.model_copy(update={"total_images": 640, "batch_size": 16}), IMAGE, batches)


def test_the_classifier_learns_deterministically_and_survives_saving(tmp_path: Path) -> None:
    one, other = trained(), trained()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    save_extractor(tmp_path, one, IMAGE)
    loaded = load_domain_extractor(tmp_path, torch.device("cpu"))
    images, labels = batches(10**6)
    found = loaded.extract(images)
    assert (found.logits.argmax(dim=1).numpy() == labels).mean() > 0.9
    assert found.values.shape == (16, OPTIONS.feature_dim)
    assert torch.equal(found.values, DomainExtractor(one, "", torch.device("cpu")).extract(images).values)


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (28, 4), (64, 3), (256, 4), (19, 3)])
def test_a_classifier_of_any_size(size: int, channels: int, tmp_path: Path) -> None:
    image = ImageSpec.model_construct(size=size, channels=channels, classes=("a", "b", "c"))
    classifier = Classifier(image=image, width=4, feature_dim=8).eval()
    save_extractor(tmp_path, classifier, image)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, channels), dtype=np.uint8)
    found = load_domain_extractor(tmp_path, torch.device("cpu")).extract(images)
    assert found.values.shape == (2, 8)
    assert found.logits.shape == (2, 3)
    assert torch.equal(found.values, DomainExtractor(classifier, "", torch.device("cpu")).extract(images).values)
    # The last row and column count, at odd sizes too.
    changed = images.copy()
    changed[:, -1, -1] ^= 255
    assert not torch.equal(found.values, DomainExtractor(classifier, "", torch.device("cpu")).extract(changed).values)


@pytest.mark.parametrize(
    ("size", "widths"), [(16, [16, 32, 64]), (32, [16, 32, 64, 128]), (256, [16, 32, 64, 128, 128, 128, 128])]
)
def test_widths_double_up_to_a_limit(size: int, widths: list[int]) -> None:
    image = ImageSpec(size=size, channels=3, classes=("a", "b"))
    trunk = Classifier(image=image, width=16, feature_dim=64).trunk
    convolutions = [layer for layer in trunk if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == widths
    assert trunk[-1].in_features == widths[-1] * 4 * 4


def test_missing_damaged_and_unlabelled_extractors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the extractor stage"):
        load_domain_extractor(tmp_path / "absent", torch.device("cpu"))
    save_extractor(tmp_path, trained(), IMAGE)
    (tmp_path / "classifier.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="run the extractor stage"):
        load_domain_extractor(tmp_path, torch.device("cpu"))
    save_extractor(tmp_path, None, IMAGE)
    with pytest.raises(UserError, match="need labelled data"):
        load_domain_extractor(tmp_path, torch.device("cpu"))


def test_real_features_are_extracted_once_by_content_and_damage_is_mended(tmp_path: Path) -> None:
    extractor = DomainExtractor(Classifier(image=IMAGE, width=2, feature_dim=4).eval(), "weights", torch.device("cpu"))
    calls: list[str] = []

    notices: list[str] = []

    def features(tag: str, digest: str, count: int = 16):
        def take(indices: np.ndarray) -> np.ndarray:
            calls.append(tag)
            return batches(0)[0][indices]

        return cached_features(extractor, digest=digest, count=count, take=take, folder=tmp_path, notify=notices.append)

    first = features("a", "digest")
    assert torch.equal(first.values, features("b", "digest").values)
    features("c", "other")
    assert calls == ["a", "c"]
    for path in tmp_path.iterdir():
        path.write_bytes(b"rubbish")
    assert torch.equal(first.values, features("d", "digest").values)
    assert calls[-1] == "d"
    assert len(notices) == 1
    assert len(features("e", "digest", count=8)) == 8
    assert "holds 16 features, expected 8" in notices[-1]


def load_inception(weights: str | None, sha256: str, cache: Path):
    options = OPTIONS.model_copy(update={"inception_weights": weights, "inception_sha256": sha256})
    return load_extractor(
        "inception", options, folder=cache, weights_cache=cache / "weights", device=torch.device("cpu")
    )


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of the official layout with random weights."""
    import hashlib

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_args: object, **_kwargs: object) -> None:
            """Keep the random start."""

    empty = tmp_path_factory.mktemp("inception") / "empty.pth"
    torch.save({}, empty)
    torch.manual_seed(0)
    model = Untrained("untrained", ["2048"], feature_extractor_weights_path=str(empty))
    path = empty.with_name("weights.pth")
    torch.save(model.state_dict(), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_inception_from_a_local_file_takes_grey_and_colour(random_inception: tuple[Path, str], tmp_path: Path) -> None:
    path, digest = random_inception
    extractor = load_inception(str(path), digest[:8], tmp_path)
    assert extractor.weights_sha256 == digest
    grey = batches(0)[0][:2]
    found = extractor.extract(grey)
    assert found.values.shape == (2, 2048)
    assert found.logits.shape == (2, 1008)
    torch.testing.assert_close(found.values, extractor.extract(np.repeat(grey, 3, axis=3)).values)


def test_inception_sees_rgba_on_white(random_inception: tuple[Path, str], tmp_path: Path) -> None:
    path, digest = random_inception
    extractor = load_inception(str(path), digest[:8], tmp_path)
    assert "on_white" in extractor.identity
    rgba = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 4), dtype=np.uint8)
    alpha = rgba[..., 3:] / 255
    rgb = np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    np.testing.assert_array_equal(on_white(torch.from_numpy(rgba).permute(0, 3, 1, 2)).permute(0, 2, 3, 1), rgb)
    assert torch.equal(extractor.extract(rgba).values, extractor.extract(rgb).values)


def test_inception_weights_that_are_wrong_or_not_to_be_had(
    random_inception: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = random_inception
    with pytest.raises(UserError, match=r"SHA-256 is .* expected 6726825d"):
        load_inception(str(path), "6726825d", tmp_path)
    with pytest.raises(UserError, match="no such file; download weights-inception-2015-12-05-6726825d"):
        load_inception(str(tmp_path / "absent.pth"), digest, tmp_path)
    tensor_file = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, tensor_file)
    import hashlib

    with pytest.raises(UserError, match="not Inception weights"):
        load_inception(str(tensor_file), hashlib.sha256(tensor_file.read_bytes()).hexdigest(), tmp_path)
    # A port of this machine on which nothing listens stands for the missing network.
    monkeypatch.setattr(inception, "URL_INCEPTION_V3", "http://127.0.0.1:9/weights-inception.pth")
    with pytest.raises(UserError, match=r"cannot be reached .*set extractor\.inception_weights") as caught:
        load_inception(None, "6726825d", tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "weights").iterdir())


def test_a_pickle_with_code_is_refused_not_run(tmp_path: Path) -> None:
    import hashlib
    import pickle

    class Malice:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "malice.pth"
    path.write_bytes(pickle.dumps(Malice()))
    with pytest.raises(UserError, match="not Inception weights"):
        load_inception(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), tmp_path)
    assert not (tmp_path / "executed").exists()
