"""Every preset, scaled down: it trains, resumes bit for bit, on one process and on two, and two are as good as one."""

from pathlib import Path

import pytest
import torch

from ganlib.config import AdaOptions, GanOptions, Schedule, VaeOptions
from ganlib.errors import ProcessesFailed
from ganlib.training.launch import launch
from tests.ganlib.training.preset_ranks import digests_of, double_run, killed_runs, resumed_runs, whole_runs
from tests.scaled_presets import BATCH_SIZE, ITERATIONS, PRESETS, Killed, run, scaled
from tests.toy_training import digest

pytestmark = pytest.mark.thorough

# Schedules, both controllers of augmentation, half precision; the one that people start with; and translators.
WITH_MOST_STATE = ("cifar10-r3gan", "digits", "photos-256", "digits-superresolve", "digits-styles", "digits-unpaired")


@pytest.mark.parametrize("name", PRESETS)
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(name: str, tmp_path: Path) -> None:
    """8 iterations against 3, a kill, and 5 more; augmentation and schedules are active where the preset has them."""
    config = scaled(name)
    whole = run(config, tmp_path / "whole")
    iteration = config.train.images_per_iteration
    assert whole.seen_images == ITERATIONS * iteration
    assert all(bool(torch.isfinite(each).all()) for each in whole.generator.parameters())
    with pytest.raises(Killed):
        run(config, tmp_path / "parts", killed_at=4 * iteration)
    resumed = run(config, tmp_path / "parts", resumed=True)
    assert digest(resumed) == digest(whole)


def test_the_presets_have_what_the_test_above_is_about() -> None:
    configs = [scaled(name) for name in PRESETS]
    assert any(isinstance(each.train.critic_optimizer.beta2, Schedule) for each in configs)
    assert any(isinstance(each.loss, GanOptions) and isinstance(each.loss.r1.weight, Schedule) for each in configs)
    assert any(isinstance(each.loss, VaeOptions) for each in configs)
    controls = {
        each.augmentation.critic.control.kind for each in configs if isinstance(each.augmentation.critic, AdaOptions)
    }
    assert controls == {"adaptive", "scheduled"}
    assert any(each.train.critic_steps > 1 for each in configs)


@pytest.mark.integration
@pytest.mark.parametrize("names", [WITH_MOST_STATE, pytest.param(tuple(PRESETS), marks=pytest.mark.slow)], ids=len)
def test_two_processes_resume_bit_for_bit_and_equal_one_to_rounding(names: tuple[str, ...], tmp_path: Path) -> None:
    launch(whole_runs, tmp_path / "whole", names, processes=2)
    with pytest.raises(ProcessesFailed, match="SIGKILL"):
        launch(killed_runs, tmp_path / "parts", names, processes=2)
    launch(resumed_runs, tmp_path / "parts", names, processes=2)
    whole = digests_of(tmp_path / "whole")
    assert whole.keys() == set(names)
    assert digests_of(tmp_path / "parts") == whole

    # The same bits are not to be had: sums are taken in another order. In double precision the difference is tiny.
    for name, (figures, weights) in torch.load(tmp_path / "whole" / "double.pt", weights_only=True).items():
        alone_figures, alone_weights = double_run(name, tmp_path / "alone" / name)
        torch.testing.assert_close(
            figures, alone_figures, rtol=1e-6, atol=1e-8, msg=lambda text, n=name: f"{n}: {text}"
        )
        torch.testing.assert_close(
            weights, alone_weights, rtol=1e-5, atol=1e-7, msg=lambda text, n=name: f"{n}: {text}"
        )
    assert BATCH_SIZE % 2 == 0
