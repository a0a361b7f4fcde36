"""The figures of an iteration, by objective."""

from ganlib.config import GanOptions, LossOptions, StylesOptions, UnpairedOptions

CRITIC_FIGURES = ("loss/critic", "loss/penalty", "logits/real", "logits/fake", "gradient_norm/critic")
GENERATOR_FIGURES = ("loss/generator", "gradient_norm/generator")
# What is added to the generator's game, without its weight.
CYCLE_FIGURES = ("loss/cycle", "loss/identity")
STYLE_FIGURES = ("loss/cycle", "loss/style")
# Nats for each value of a pixel: the bound is the likelihood less the divergence.
VAE_FIGURES = (
    "evidence/bound", "evidence/log_likelihood", "evidence/divergence", "gradient_norm/encoder",
    "gradient_norm/generator",
)  # fmt: skip


def figures_of(loss: LossOptions) -> tuple[str, ...]:
    """What is told of each iteration."""
    if not isinstance(loss, GanOptions):
        return VAE_FIGURES
    return CRITIC_FIGURES + GENERATOR_FIGURES + added_figures(loss)


def added_figures(loss: LossOptions) -> tuple[str, ...]:
    """What the generator's step tells beside its own figures."""
    match loss:
        case UnpairedOptions():
            return CYCLE_FIGURES
        case StylesOptions():
            return STYLE_FIGURES
        case _:
            return ()
