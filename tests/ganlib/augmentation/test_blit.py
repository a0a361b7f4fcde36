import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.augmentation import mirror
from ganlib.augmentation.blit import DRAW_DIM, Moves, apply_moves, draw_moves

REACH = 6


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """The image moved over its own reflection."""
    side = image.shape[1]
    padded = np.pad(image.numpy(), ((0, 0), (REACH, REACH), (REACH, REACH)), mode="reflect")
    top, left = REACH - down, REACH - right
    return torch.from_numpy(padded[:, top : top + side, left : left + side].copy())


MOVES = st.tuples(st.booleans(), st.integers(0, 3), *[st.integers(-REACH, REACH)] * 2)


@given(side=st.integers(3, 9), chosen=st.lists(MOVES, min_size=1, max_size=4))
def test_moves_are_flip_then_turn_then_shift(side, chosen):
    images = torch.arange(len(chosen) * 2 * side**2, dtype=torch.float32).view(-1, 2, side, side)
    flip, turns, down, right = (torch.tensor(column) for column in zip(*chosen, strict=True))
    found = apply_moves(images, Moves(flip, turns, torch.stack([down, right], dim=1)))
    for image, move, result in zip(images, chosen, found, strict=True):
        expected = image.flip(2) if move[0] else image
        assert torch.equal(result, shifted(expected.rot90(move[1], (1, 2)), move[2], move[3]))


def test_moves_follow_their_draws():
    draws = torch.tensor(
        [
            # flip        turn        shift
            [0.3, 0.4, 0.3, 0.3, 0.3, 0.999, 0.0],
            [0.3, 0.6, 0.3, 0.9999, 0.3, 0.5, 0.75],
            [0.6, 0.4, 0.6, 0.3, 0.6, 0.999, 0.0],
        ]
    )
    moves = draw_moves(draws, torch.tensor(0.5), side=32)
    assert moves.flip.tolist() == [True, False, False]
    assert moves.turns.tolist() == [1, 3, 0]
    assert moves.shift.tolist() == [[4, -4], [0, 2], [0, 0]]


def test_moves_are_as_frequent_as_they_should_be():
    torch.manual_seed(0)
    count, probability = 20_000, 0.3
    moves = draw_moves(torch.rand(count, DRAW_DIM), torch.tensor(probability), side=64)
    tolerance = 4 * (0.25 / count) ** 0.5
    assert abs(moves.flip.float().mean() - probability / 2) < tolerance
    for turns in (1, 2, 3):
        assert abs((moves.turns == turns).float().mean() - probability / 4) < tolerance
    assert abs((moves.shift == 0).all(dim=1).float().mean() - (1 - probability)) < tolerance + probability / 16**2
    assert (moves.shift.amin(), moves.shift.amax()) == (-8, 8)


def test_mirror_flips_below_one_half():
    images = torch.randn(3, 3, 4, 4)
    found = mirror(images, torch.tensor([0.0, 0.5, 0.49]))
    assert torch.equal(found, torch.stack([images[0].flip(2), images[1], images[2].flip(2)]))
