"""The figures of an iteration, by objective."""

from ganlib.config import GanOptions, LossOptions

CRITIC_FIGURES = ("loss/critic", "loss/penalty", "logits/real", "logits/fake", "gradient_norm/critic")
GENERATOR_FIGURES = ("loss/generator", "gradient_norm/generator")
# Nats for each value of a pixel: the bound is the likelihood less the divergence.
VAE_FIGURES = (
    "evidence/bound", "evidence/log_likelihood", "evidence/divergence", "gradient_norm/encoder",
    "gradient_norm/generator",
)  # fmt: skip


def figures_of(loss: LossOptions) -> tuple[str, ...]:
    """What is told of each iteration."""
    return CRITIC_FIGURES + GENERATOR_FIGURES if isinstance(loss, GanOptions) else VAE_FIGURES
