"""What each of two processes does with the presets in test_presets.py."""

import json
import os
import signal
from pathlib import Path

import torch
from torch import Tensor

from ganlib.training.distributed import ALONE, Ranks, join
from tests.scaled_presets import Killed, run, scaled
from tests.toy_training import digest

TIMEOUT_S = 120.0


def whole_runs(folder: Path, names: tuple[str, ...]) -> None:
    """These presets from beginning to end, and once more in double precision."""
    torch.set_num_threads(1)
    with join(torch.device("cpu"), timeout_s=TIMEOUT_S) as ranks:
        _write(folder, {name: digest(run(scaled(name), folder / name, ranks=ranks)) for name in names}, ranks)
        found = {name: double_run(name, folder / f"{name} double", ranks) for name in names}
        if ranks.is_first:
            torch.save(found, folder / "double.pt")


def killed_runs(folder: Path, names: tuple[str, ...]) -> None:
    """These presets until their fourth iteration; then this process is killed."""
    torch.set_num_threads(1)
    with join(torch.device("cpu"), timeout_s=TIMEOUT_S) as ranks:
        for name in names:
            config = scaled(name)
            try:
                run(config, folder / name, ranks=ranks, killed_at=4 * config.train.images_per_iteration)
            except Killed:
                ranks.wait("the other")
        os.kill(os.getpid(), signal.SIGKILL)


def resumed_runs(folder: Path, names: tuple[str, ...]) -> None:
    """These presets from their checkpoints to the end."""
    torch.set_num_threads(1)
    with join(torch.device("cpu"), timeout_s=TIMEOUT_S) as ranks:
        found = {name: digest(run(scaled(name), folder / name, ranks=ranks, resumed=True)) for name in names}
        _write(folder, found, ranks)


def double_run(name: str, folder: Path, ranks: Ranks = ALONE) -> tuple[Tensor, Tensor]:
    """Figures and weights after three iterations in double precision and without dropout or half precision."""
    config = scaled(name, total_iterations=3)
    config = config.model_copy(update={"train": config.train.model_copy(update={"precision": "fp32"})})
    torch.set_default_dtype(torch.float64)
    try:
        state = run(config, folder, ranks=ranks)
    finally:
        torch.set_default_dtype(torch.float32)
    figures = [value for row in state.history for key, value in sorted(row.items())]
    weights = torch.cat([each.detach().flatten() for each in (*state.ema.parameters(), *state.partner.parameters())])
    return torch.tensor(figures, dtype=torch.float64), weights


def digests_of(folder: Path) -> dict[str, str]:
    """What the first process found; both found the same."""
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    return dict(first)


def _write(folder: Path, digests: dict[str, str], ranks: Ranks) -> None:
    (folder / f"{ranks.rank}.json").write_text(json.dumps(digests))
