"""A critic refuses the samples that look least real to it, each by itself."""

from pathlib import Path

import pytest
import torch

from ganlib.errors import UserError
from ganlib.metrics.classifier import to_input
from ganlib.packaging import ImageGenerator, load_critic
from ganlib.refusing import MOST_ATTEMPTS, Refusing
from ganlib.sampling import inference
from tests.registered import make_generator


@pytest.mark.parametrize("conditional", [True, False])
def test_what_is_refused(conditional: bool, tmp_path: Path) -> None:
    folder = make_generator(tmp_path, 1, conditional=conditional, with_critic=True)
    generator, critic = ImageGenerator.load(folder), load_critic(folder)
    refusing = Refusing(generator, lambda: critic)
    count = 600
    labels = torch.arange(count) % 3 if conditional else None

    def latents_of(attempt: int) -> torch.Tensor:
        return generator.latents(count, seed=7, attempt=attempt)

    def logits(latents: torch.Tensor) -> torch.Tensor:
        with inference(critic):
            return critic(to_input(generator.draw(latents, labels), torch.device("cpu")), labels)

    before = latents_of(0)
    chosen, attempts = refusing.choose(latents_of, labels, share=0.25)
    # A quarter at the first attempt, a quarter of these at the second, and so on.
    assert (attempts > 0).float().mean() == pytest.approx(0.25, abs=0.06)
    assert (attempts > 1).float().mean() == pytest.approx(0.0625, abs=0.04)
    assert attempts.max() < MOST_ATTEMPTS
    torch.testing.assert_close(chosen[attempts == 0], before[attempts == 0], rtol=0, atol=0)
    assert bool((logits(chosen) >= logits(before) - 1e-6).all())
    for label in range(3 if conditional else 1):
        rows = torch.ones(count, dtype=torch.bool) if labels is None else labels == label
        least = logits(before)[rows].quantile(0.25)
        assert (logits(chosen)[rows] < least).float().mean() < 0.05
    part, part_attempts = refusing.choose(
        lambda attempt: latents_of(attempt)[90:101], None if labels is None else labels[90:101], share=0.25
    )
    torch.testing.assert_close(part, chosen[90:101], rtol=0, atol=0)
    assert part_attempts.tolist() == attempts[90:101].tolist()


def test_without_a_critic(tmp_path: Path) -> None:
    folder = make_generator(tmp_path, 1)
    generator = ImageGenerator.load(folder)
    with pytest.raises(UserError, match="without its critic"):
        Refusing(generator, lambda: load_critic(folder)).choose(
            lambda attempt: generator.latents(2, seed=1, attempt=attempt), torch.tensor([0, 1]), share=0.5
        )
