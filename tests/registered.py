"""Generators registered as versions of a model, and what the registry then holds."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib.config import DcganOptions, GuardOptions, ImageSpec, RegisterOptions, RunConfig
from ganlib.evaluation.comparison import Compared, Comparison, Unseen
from ganlib.evaluation.record import FORMAT_VERSION, Conditions, Copying, Evaluation, Figure, Interval
from ganlib.metrics import estimates
from ganlib.networks import build_critic, build_generator
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines.registry.champion import Say, read
from pipelines.registry.register import Contest, register
from pipelines.registry.verdict import Registration
from pipelines.tracking import store
from tests.configs import tiny_values
from tests.toy_training import IMAGE

ADA = "Ada <ada@example.org>"
BACKGROUND = (200, 10, 60)
TAGS = {"git_commit": "c0ffee", "data_sha256": "d1", "params_sha256": "p1"}


def be_ada(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have git say who is at the keyboard."""
    file = folder / "gitconfig"
    file.write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))


def make_generator(folder: Path, seed: int, *, conditional: bool = True, with_critic: bool = False) -> Path:
    network = DcganOptions(
        family="dcgan", conditional=conditional, latent_dim=8, generator_width=4, generator_stem="normed",
        generator_spectral_norm=False, generator_excitation=False,
        upsampling="transposed", critic_width=4, critic_norm="none",
        critic_convolutions=1, critic_pooling="none", critic_dropout=0.0, critic_pretrained=None,
        conditional_batch_norm=conditional, projection=conditional,
    )  # fmt: skip
    image = ImageSpec(size=16, channels=1, classes=("zero", "one", "two") if conditional else ())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = build_generator(network, image)
        critic = build_critic(network, image) if with_critic else None
    ImageGenerator(generator, network, image, {"seen_images": seed}).save(folder, critic=critic)
    return folder


def make_translator(folder: Path, values: Mapping[str, Any]) -> Path:
    """Of a run of `tests.configs` with these values, with weights that change images."""
    config = RunConfig.model_validate(tiny_values(values))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_generator(config.network, IMAGE)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    ImageGenerator(network, config.network, IMAGE, {"seen_images": 1}, config.data.inputs).save(folder)
    return folder


def evaluation_of(
    folder: Path,
    score: float,
    *,
    measured_on: str = "ref1",
    copies: Interval | None = None,
    p_value: float = 0.5,
    near_duplicates: int = 0,
    metric: str = "domain/fid",
) -> Evaluation:
    """With a score and, if given, a share of near copies and how likely it is by chance."""
    conditions = Conditions(
        extractor="domain", weights_sha256="w", alpha=None, reference="test", reference_digest="r",
        reference_count=500, generated_count=5000, resizer="bicubic",
    )  # fmt: skip
    copying = None
    if copies is not None:
        none = Interval(estimate=0.5, low=0.4, high=0.6, level=0.95)
        copying = Copying(
            p_value=p_value, share=copies, authenticity=none, held_out_authenticity=0.5, copying=0.0,
            near_duplicates=near_duplicates, held_out=500, suspects=(),
        )  # fmt: skip
    return Evaluation(
        format_version=FORMAT_VERSION,
        generator_sha256=generator_sha256(folder),
        measured_on=measured_on,
        alarms=(),
        metrics={metric: Figure(value=score, interval=None, conditions=conditions)},
        skipped={},
        classes=(),
        memorisation={} if copying is None else {"features": copying},
        truncation=(),
        rejection=None,
        reconstruction=None,
        translation=None,
    )


def compared(challenger: float, champion: float, half: float = 0.1, of_class: str | None = None) -> Compared:
    apart = challenger - champion
    return Compared(challenger, champion, estimates.Interval(apart, apart - half, apart + half, 0.9), of_class)


def comparison(metric: Compared, **guards: Compared | Unseen) -> Comparison:
    """With guards that have nothing against it, but for those given."""
    harmless: dict[Any, Compared | Unseen] = {
        "coverage": compared(0.9, 0.9, 0.01),
        "label_fidelity": compared(0.99, 0.99, 0.001),
        "worst_class": compared(4.0, 4.0, 0.5, "two"),
    }
    return Comparison(metric, harmless | guards)


def gate_options(name: str = "digits", metric: str = "domain/fid", margin: float = 0.05) -> RegisterOptions:
    guards = GuardOptions(coverage_drop=0.03, label_fidelity_drop=0.01, worst_class_rise=1.0, memorised_share=0.01)
    return RegisterOptions(model_name=name, metric=metric, margin=margin, confidence=0.95, guards=guards)


# Of each generator submitted, by its digest: what a contest finds.
SCORES: dict[str, float] = {}


def submit(
    folder: Path,
    score: float,
    *,
    name: str = "digits",
    measured_on: str = "ref1",
    contest: Contest | None = None,
    options: RegisterOptions | None = None,
    say: Say = lambda _: None,
) -> Registration:
    """Register it; a contest finds the scores that were last submitted, and a difference that is sure to 0.1."""
    SCORES[generator_sha256(folder)] = score

    def write_card(version: str, folder: Path) -> Path:
        card = folder / "MODEL_CARD.md"
        card.write_text(f"# {name} {version}, {score:g}\n", encoding="utf-8")
        return card

    def meet(champion: Path) -> Comparison:
        return comparison(compared(score, SCORES[generator_sha256(champion)]))

    return register(
        options=options or gate_options(name),
        experiment=name,
        generator_folder=folder,
        background=BACKGROUND,
        write_card=write_card,
        evaluation=evaluation_of(folder, score, measured_on=measured_on),
        tags=TAGS,
        contest=contest or meet,
        describe=lambda found, _run_id: found.verdict.reason,
        say=say,
    )


def told_history(name: str) -> list[tuple[object, ...]]:
    """The transitions of a model, oldest first, without dates and tokens."""
    kept = ("action", "origin", "target", "who", "why")
    transitions = read(store.connect(), name).transitions
    return [tuple(asdict(each)[key] for key in kept) for each in transitions]


def state(name: str) -> dict[str, Any]:
    """All that the registry holds about a model, without random ids and dates."""
    client = store.connect()
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    models = client.search_logged_models([experiment.experiment_id]) if experiment else []
    registered = client.search_registered_models(f"name = '{name}'")
    versions = client.search_model_versions(f"name = '{name}'")
    return {
        "runs": sorted(run.data.tags.get("ganlib.restored", "original") for run in runs),
        "models": sorted(str(model.status) for model in models),
        "history": told_history(name) if registered else [],
        "aliases": {key: str(value) for key, value in registered[0].aliases.items()} if registered else {},
        "versions": {
            str(version.version): {
                "description": version.description,
                "tags": {key: value for key, value in version.tags.items() if key != "generator_sha256"},
            }
            for version in versions
        },
    }
