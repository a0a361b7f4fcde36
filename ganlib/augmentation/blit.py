"""Moves of whole pixels: flips, quarter turns, integer translations. Exact, by one gather."""

from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.augmentation.base import gather_pixels

DRAW_DIM = 7
MAX_TRANSLATION = 1 / 8


class Moves(NamedTuple):
    """What happens to each image, in this order."""

    flip: Tensor  # [N] bool: horizontally
    turns: Tensor  # [N] int64: quarter turns counter-clockwise, 0 to 3
    shift: Tensor  # [N, 2] int64: whole pixels down and to the right


def draw_moves(draws: Tensor, probability: Tensor, side: int) -> Moves:
    """Karras et al. 2020 (ADA), appendix B, algorithm 1, "pixel blitting": [N, 7], [] -> moves.

    When chosen, the flip and the number of turns are uniform, "none"
    included; shifts are uniform within an eighth of the side.
    """
    flip_chosen, flip, turn_chosen, turn, shift_chosen, down, right = draws.unbind(dim=1)
    turns = (4 * turn).to(torch.int64).clamp(max=3)
    shift = ((2 * torch.stack([down, right], dim=1) - 1) * MAX_TRANSLATION * side).round().to(torch.int64)
    return Moves(
        flip=(flip_chosen < probability) & (flip < 0.5),
        turns=torch.where(turn_chosen < probability, turns, 0),
        shift=torch.where((shift_chosen < probability)[:, None], shift, 0),
    )


def apply_moves(images: Tensor, moves: Moves) -> Tensor:
    """Flip, then turn, then shift square images, reflecting beyond the borders: [N, C, S, S] -> [N, C, S, S]."""
    assert images.shape[2] == images.shape[3], "quarter turns need square images"
    side = images.shape[2]
    steps = torch.arange(side, device=images.device)
    # Where each output row and column comes from, going back from the last move to the first. Every turn maps
    # rows to rows or to columns, so that the place of a pixel is a function of its row plus one of its column.
    rows = _reflect(steps - moves.shift[:, :1], side)
    columns = _reflect(steps - moves.shift[:, 1:], side)
    turns, flip = moves.turns[:, None], moves.flip[:, None]
    transposed = turns % 2 == 1
    rows_reversed = ((turns == 1) | (turns == 2)) ^ (flip & transposed)
    columns_reversed = (turns >= 2) ^ (flip & ~transposed)
    rows = torch.where(rows_reversed, side - 1 - rows, rows)
    columns = torch.where(columns_reversed, side - 1 - columns, columns)
    row_stride = torch.where(transposed, 1, side)
    column_stride = torch.where(transposed, side, 1)
    index = (rows * row_stride)[:, :, None] + (columns * column_stride)[:, None, :]
    return gather_pixels(images, index.flatten(1)).view(images.shape)


def _reflect(places: Tensor, side: int) -> Tensor:
    """Places beyond the border pixels mirrored at them, which are not repeated."""
    last = side - 1
    return last - (places.remainder(2 * last) - last).abs()
