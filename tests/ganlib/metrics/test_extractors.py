"""The domain extractor: learning and saving; and the cache of features."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ganlib.config import ImageSpec
from ganlib.errors import UserError
from ganlib.metrics.cache import cached_features
from ganlib.metrics.classifier import Classifier, to_input, train_classifier
from ganlib.metrics.extractors import DomainExtractor, Features, load_domain_extractor, save_extractor
from tests.configs import tiny_config

IMAGE = ImageSpec(size=16, channels=1, classes=("dark", "light"))
OPTIONS = tiny_config({}).extractor


def batches(seen_images: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seen_images)
    labels = draw.integers(0, 2, 16)
    images = draw.integers(0, 100, (16, 16, 16, 1)) + 120 * labels[:, None, None, None]
    return images.astype(np.uint8), labels.astype(np.int64)


def trained() -> Classifier:
    return train_classifier(
        OPTIONS.model_copy(update={"total_images": 640, "batch_size": 16}), IMAGE, batches, torch.device("cpu")
    )


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
    for mine, plain in zip((found.values, found.logits), one(to_input(images, torch.device("cpu"))), strict=True):
        assert (mine - plain).norm() / plain.norm() < 1e-5, "folded, the layers compute what they did"
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


@pytest.mark.parametrize("channels", [1, 4])
def test_what_is_seen_between_levels_is_what_is_extracted_on_them(channels: int) -> None:
    image = ImageSpec(size=16, channels=channels, classes=("a", "b"))
    extractor = DomainExtractor(Classifier(image=image, width=4, feature_dim=8).eval(), "", torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, channels), dtype=np.uint8)
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    seen = extractor.see(floats)
    assert torch.equal(seen, extractor.extract(images).values)
    assert 0 < (extractor.see(floats + 1e-4) - seen).norm() / seen.norm() < 1e-2


def test_the_size_of_batches_and_passes_changes_nothing_to_speak_of() -> None:
    extractor = DomainExtractor(Classifier(image=IMAGE, width=4, feature_dim=8).eval(), "", torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), dtype=np.uint8)
    whole = extractor.extract(images)
    parts = extractor.extract_all([images[:3], images[3:]])
    extractor.pass_images = 7
    for other in (parts, extractor.extract(images)):
        torch.testing.assert_close(other.values, whole.values)
        torch.testing.assert_close(other.logits, whole.logits)


class Unclassed(DomainExtractor):
    """Knows no classes."""

    def look(self, images: torch.Tensor) -> Features:
        seen = super().look(images)
        return seen.with_logits(seen.logits[:, :0])


class Cached:
    """A cache and who fills it."""

    def __init__(self, folder: Path, kind: type[DomainExtractor] = DomainExtractor) -> None:
        self.extractor = kind(Classifier(image=IMAGE, width=2, feature_dim=4).eval(), "weights", torch.device("cpu"))
        self.folder = folder
        self.notices: list[str] = []
        self.extractions = 0

    def features(self, digest: str = "digest", count: int = 16) -> Features:
        def images() -> Iterator[np.ndarray]:
            self.extractions += 1
            yield batches(0)[0][: count // 2]
            yield batches(0)[0][count // 2 : count]

        return cached_features(
            self.extractor, digest=digest, count=count, batches=images(), folder=self.folder, notify=self.notices.append
        )


def test_features_are_extracted_once_by_content(tmp_path: Path) -> None:
    cached = Cached(tmp_path)
    first = cached.features()
    assert torch.equal(first.values, cached.features().values)
    assert cached.extractions == 1
    cached.features("other")
    cached.extractor.weights_sha256 = "others"
    cached.features()
    assert cached.extractions == 3
    assert not cached.notices


def test_as_many_threads_and_versions_as_decide_the_bits_are_in_the_address(tmp_path: Path) -> None:
    cached = Cached(tmp_path)
    before = cached.extractor.identity
    assert torch.__version__ in before
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert cached.extractor.identity != before
    finally:
        torch.set_num_threads(threads)
    assert cached.extractor.identity == before


def test_damaged_features_are_noticed_and_made_again(tmp_path: Path) -> None:
    cached = Cached(tmp_path)
    first = cached.features()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    inside = bytearray(whole)
    inside[-5] ^= 1
    tensors = load_file(path)
    for damage in (b"rubbish", whole[: len(whole) // 2], bytes(inside)):
        path.write_bytes(damage)
        assert torch.equal(first.values, cached.features().values)
    # A file as other programs write it, without the digest.
    save_file(tensors, path)
    cached.features()
    assert len(cached.notices) == 4
    assert all("damaged feature cache" in notice and "\n" not in notice for notice in cached.notices)
    assert "its content is not what was written" in cached.notices[2]
    assert len(cached.features(count=8)) == 8
    assert "holds 16 features, expected 8" in cached.notices[-1]


def test_what_was_not_used_for_longest_is_forgotten_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = Cached(tmp_path)
    for second, digest in enumerate("abc"):
        cached.features(digest)
        (newest,) = set(tmp_path.iterdir()) - {path for path in tmp_path.iterdir() if path.stat().st_mtime < 1000}
        os.utime(newest, (second, second))
    cached.features("a")
    room = sum(path.stat().st_size for path in tmp_path.iterdir())
    monkeypatch.setattr("ganlib.metrics.cache.LARGEST_CACHE_BYTES", room)
    cached.features("d")
    extractions = cached.extractions
    for digest in "acd":
        cached.features(digest)
    assert cached.extractions == extractions
    cached.features("b")
    assert cached.extractions == extractions + 1


def test_what_a_killed_run_has_left_unfinished_is_forgotten_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = Cached(tmp_path)
    left = tmp_path / "pixels-0.77.partial"
    left.write_bytes(bytes(100_000))
    os.utime(left, (1, 1))
    monkeypatch.setattr("ganlib.metrics.cache.LARGEST_CACHE_BYTES", 100_000)
    cached.features()
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_features_without_logits_are_kept_too(tmp_path: Path) -> None:
    cached = Cached(tmp_path, Unclassed)
    assert cached.features().logits.shape == (16, 0)
    assert cached.features().logits.shape == (16, 0)
    assert not cached.notices
