"""Losses of 20 iterations a family, as they were when the file was written: nothing changes a recipe unnoticed.

`python -m tests.ganlib.training.test_golden` writes the file anew; do so only with a reason, and say it in the commit.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib.config import ImageSpec
from ganlib.training.distributed import ALONE
from ganlib.training.iteration import Iteration, take_mean_figures
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from tests.configs import NETWORKS, TRANSLATORS, tiny_config
from tests.toy_training import IMAGE, ToyFeed

FILE = Path(__file__).with_name("golden_losses.json")
FROZEN = "dcgan with frozen features"
FAMILIES = tuple(name for name in ("dcgan", FROZEN, *NETWORKS) if name not in TRANSLATORS)
ITERATIONS = 20
# Another memory format, which changes only the order of sums, moves them by less than 1e-5.
RELATIVE, ABSOLUTE = 1e-3, 5e-4


def losses(family: str, **more: Any) -> list[dict[str, float]]:
    changes = {"network": family} if family in NETWORKS else {}
    if family == FROZEN:
        more = {**more, "network.critic_pretrained": "efficientnet-lite0"}
    config = tiny_config({**changes, **more, "train.total_images": 8 * ITERATIONS})
    image: ImageSpec = IMAGE
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        state, recipe, feed = (
            initial_state(config, image, torch.device("cpu")),
            Recipe.of(config, image),
            ToyFeed(config),
        )
        rows = []
        for _ in range(ITERATIONS):
            Iteration(state, recipe, feed, ALONE).run()
            rows.append(dict(zip(state.figures, take_mean_figures(state, ALONE).tolist(), strict=True)))
    finally:
        torch.set_num_threads(threads)
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_those_of_the_file(family: str) -> None:
    golden = json.loads(FILE.read_text(encoding="utf-8"))[family]
    found = losses(family)
    assert len(found) == len(golden) == ITERATIONS
    for iteration, (row, expected) in enumerate(zip(found, golden, strict=True)):
        for name in ("loss/critic", "loss/generator"):
            assert row[name] == pytest.approx(expected[name], rel=RELATIVE, abs=ABSOLUTE), (family, iteration, name)


@pytest.mark.parametrize(("name", "value"), [("train.critic_optimizer.beta2", 0.99), ("train.seed", 1)])
def test_the_file_notices_another_recipe(name: str, value: float) -> None:
    golden = json.loads(FILE.read_text(encoding="utf-8"))["r3gan"]
    found = losses("r3gan", **{name: value})
    pairs = [(row["loss/critic"], expected["loss/critic"]) for row, expected in zip(found, golden, strict=True)]
    assert any(one != pytest.approx(other, rel=RELATIVE, abs=ABSOLUTE) for one, other in pairs)


if __name__ == "__main__":
    written = {
        family: [{name: round(row[name], 5) for name in ("loss/critic", "loss/generator")} for row in losses(family)]
        for family in FAMILIES
    }
    FILE.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
