"""What people are shown: half and half, of the same classes, and files that tell nothing."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator
from pipelines import paths
from pipelines.quiz.deck import Card, Deck


@pytest.fixture(scope="module")
def data(quiz_template: Path) -> PackedData:
    return open_packed(quiz_template / paths.PROCESSED)


@pytest.fixture(scope="module")
def generator(quiz_template: Path) -> ImageGenerator:
    return ImageGenerator.load(quiz_template / paths.GENERATOR)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def told(cards: tuple[Card, ...]) -> list[tuple[bool, int, int | None]]:
    return [(card.generated, card.index, card.label) for card in cards]


def test_half_of_the_cards_are_generated_and_each_person_gets_others(
    data: PackedData, generator: ImageGenerator
) -> None:
    deck = Deck(generator, data.test, count=41, seed=3)
    first, second = deck.deal(1), deck.deal(2)
    for cards in (first, second):
        assert sum(card.generated for card in cards) == 20
        assert len({card.address for card in cards}) == 41
        assert len({(card.generated, card.index) for card in cards}) == 41
    assert told(first) != told(second)
    assert [card.generated for card in first] != sorted(card.generated for card in first)


def test_a_seed_decides_the_images_but_not_their_addresses(data: PackedData, generator: ImageGenerator) -> None:
    one, again, other = (Deck(generator, data.test, count=20, seed=seed).deal(1) for seed in (3, 3, 4))
    assert told(one) == told(again) != told(other)
    assert not {card.address for card in one} & {card.address for card in again}


def test_files_show_the_image_and_all_have_one_length(data: PackedData, generator: ImageGenerator) -> None:
    deck = Deck(generator, data.test, count=30, seed=0)
    cards = deck.deal(1)
    files = [deck.png(card) for card in cards]
    assert len({len(file) for file in files}) == 1
    for card, file in zip(cards, files, strict=True):
        assert card.label is not None
        if card.generated:
            expected = generator.sample(seed=card.index, labels=[card.label])[0]
        else:
            expected = data.test.take(np.array([card.index]))[0]
            assert data.test.labels is not None
            assert data.test.labels[card.index] == card.label
        assert (pixels(file) == expected[:, :, 0]).all()


def test_generated_images_have_the_classes_of_held_out_ones(data: PackedData, generator: ImageGenerator) -> None:
    cards = [card for person in range(10) for card in Deck(generator, data.test, count=400, seed=0).deal(person)]
    shares = [
        np.bincount([card.label or 0 for card in cards if card.generated is kind], minlength=10) / 2000
        for kind in (False, True)
    ]
    assert np.abs(shares[0] - shares[1]).max() < 0.03


def test_more_cards_than_there_are_images(data: PackedData, generator: ImageGenerator) -> None:
    most = 2 * len(data.test)
    assert len(Deck(generator, data.test, count=most, seed=0).deal(1)) == most
    with pytest.raises(UserError, match=rf"--count {most + 2}: .* ask for at most {most}$"):
        Deck(generator, data.test, count=most + 2, seed=0)
