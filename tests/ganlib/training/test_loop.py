"""The loop against itself: determinism, exact resume, milestones, the best snapshot."""

from pathlib import Path

import numpy as np
import pytest

from ganlib.events import Event, Picture, Scalars
from ganlib.sampling import Images, proportional_labels, render, seeded_latents
from ganlib.training.showing import Measure
from tests.configs import PAIRED, STYLES, UNPAIRED, VAE, tiny_config
from tests.toy_training import Interrupted, digest, go_on, start, store_of

LINEAR = {"shape": "linear", "start": 1e-3, "end": 1e-4, "over_images": 80, "warmup_images": 16}
COSINE = {"shape": "cosine", "start": 0.2, "end": 0.6, "over_images": 64, "warmup_images": 0}
ADA = {
    "policy": "ada",
    "control": {"kind": "adaptive", "target": 0.0, "full_range_images": 64, "every_images": 16},
    **dict.fromkeys(("blit", "geometry", "colour", "noise", "cutout"), 1.0),
}
RECIPES = {
    "dcgan hinge": {},
    "dcgan batch norm critic": {"network.critic_norm": "batch", "loss.adversarial": "non_saturating"},
    "dcgan unconditional penalised": {
        "network.conditional": False,
        "network.critic_norm": "none",
        "loss.adversarial": "relativistic",
        "loss.r1": {"weight": COSINE, "every_steps": 2},
        "loss.r2.weight": 0.3,
    },
    "dcgan contiguous bf16": {"train.memory_format": "contiguous", "train.precision": "bf16"},
    "dcgan wasserstein, several critic steps": {
        "network.critic_norm": "none",
        "loss.adversarial": "wasserstein",
        "loss.gradient_penalty.weight": 10.0,
        "train.critic_steps": 2,
        "train.accumulation": 2,
    },
    "adaptive augmentation, schedules, mirror, clipping": {
        "augmentation.mirror": True,
        "augmentation.critic": ADA,
        "train.generator_optimizer.learning_rate": LINEAR,
        "train.critic_optimizer.beta2": {**COSINE, "start": 0.9, "end": 0.99},
        "train.critic_optimizer.max_gradient_norm": 0.5,
    },
    "r3gan": {"network": "r3gan", "loss.adversarial": "relativistic", "loss.r1.weight": 1.0, "loss.r2.weight": 1.0},
    "paired": {**PAIRED, "train.critic_steps": 2, "augmentation.mirror": True},
    "unpaired": {**UNPAIRED, "train.critic_steps": 2, "train.accumulation": 2, "augmentation.mirror": True},
    "unpaired, fakes kept, penalised": {
        **UNPAIRED,
        "train.reuse_fakes": True,
        "loss.adversarial": "relativistic",
        "loss.r1.weight": 0.5,
        "loss.identity_weight": 0.0,
    },
    "styles": {**STYLES, "train.critic_steps": 2, "train.accumulation": 2, "augmentation.mirror": True},
    "styles, fakes kept, penalised": {**STYLES, "train.reuse_fakes": True, "loss.r1.weight": 0.5},
    "vae": {**VAE, "train.accumulation": 2, "augmentation.mirror": True},
}


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES.keys())
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(changes: dict, tmp_path: Path) -> None:
    # 11 critic steps of 8 images; checkpoints after 24, 48 and 72; log points every 32 straddle them.
    config = tiny_config({**changes, "train.total_images": 88})
    whole = start(config)
    go_on(whole, config, tmp_path / "whole")

    resumed = start(config)
    with pytest.raises(Interrupted):
        go_on(resumed, config, tmp_path / "parts", stop_after=64)
    resumed = start(config)
    notices: list[str] = []
    assert store_of(config, tmp_path / "parts").load_latest(resumed, notify=notices.append)
    assert resumed.seen_images == 48
    go_on(resumed, config, tmp_path / "parts")

    assert digest(resumed) == digest(whole)
    assert not notices


def test_schedules_over_null_are_those_over_the_whole_run_bit_for_bit(tmp_path: Path) -> None:
    """Rate, betas, penalty and augmentation alike, at a length that no file names."""
    digests = []
    for over in (None, 72, 144):
        config = tiny_config(
            {
                "train.total_images": 72,
                "network.critic_norm": "none",
                "train.generator_optimizer.learning_rate": {**LINEAR, "over_images": over},
                "train.critic_optimizer.beta2": {**COSINE, "start": 0.9, "end": 0.99, "over_images": over},
                "loss.r1.weight": {**COSINE, "over_images": over},
                "augmentation.critic": {
                    **ADA,
                    "control": {"kind": "scheduled", "probability": {**COSINE, "over_images": over}},
                },
            }
        )
        state = start(config)
        go_on(state, config, tmp_path / str(over))
        digests.append(digest(state))
    assert digests[0] == digests[1] != digests[2]


def test_same_seed_same_bits_and_other_seed_other_bits(tmp_path: Path) -> None:
    digests = []
    for run, seed in enumerate((0, 0, 1)):
        config = tiny_config({"train.seed": seed})
        state = start(config)
        go_on(state, config, tmp_path / str(run))
        digests.append(digest(state))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_the_deterministic_switch_repeats_the_bits(precision: str, tmp_path: Path) -> None:
    digests = []
    for run in range(2):
        config = tiny_config({"train.device": "cuda", "train.precision": precision})
        state = start(config)
        go_on(state, config, tmp_path / str(run))
        digests.append(digest(state))
    assert digests[0] == digests[1]


def test_best_snapshot_is_the_lowest_score_and_events_tell_everything(tmp_path: Path) -> None:
    config = tiny_config({})
    state = start(config)
    events: list[Event] = []
    go_on(state, config, tmp_path, events=events)
    scores = [e.values["domain/fid"] for e in events if isinstance(e, Scalars) and "domain/fid" in e.values]
    assert state.best is not None
    assert state.best.score == min(scores)
    assert [row["domain/fid"] for row in state.history if "domain/fid" in row] == scores
    pictures = [e for e in events if isinstance(e, Picture)]
    assert pictures[-1].pixels.dtype == np.uint8
    assert pictures[-1].pixels.shape == ((8 * 17 - 1) * 2, (3 * 17 - 1) * 2, 1)
    logged = [e for e in events if isinstance(e, Scalars) and "speed/images_per_s" in e.values]
    assert logged[-1].seen_images == config.train.total_images
    assert logged[-1].values["speed/images_per_s"] > 0


def test_snapshots_are_scored_on_classes_in_the_shares_of_the_images_they_are_compared_with(tmp_path: Path) -> None:
    config, counts = tiny_config({"train.measure_samples": 20}), (7, 0, 3)
    state, seen = start(config), list[Images]()

    def score(images: Images) -> float:
        seen.append(images)
        return 0.0

    go_on(state, config, tmp_path, measure=Measure("domain/fid", score, counts))
    latents = seeded_latents(20, state.ema.latent_dim, config.train.seed)
    labels = proportional_labels(20, counts)
    assert np.bincount(labels).tolist() == [14, 0, 6]
    np.testing.assert_array_equal(seen[-1], render(state.ema, latents, labels, batch_size=20))


def test_batch_size_moves_no_milestone(tmp_path: Path) -> None:
    """The clock counts images: events fall on the same counts whatever the batch."""
    config = tiny_config({"train.total_images": 96})
    events: list[Event] = []
    go_on(start(config), config, tmp_path, events=events)
    assert [e.seen_images for e in events if isinstance(e, Picture)] == [48, 96]
