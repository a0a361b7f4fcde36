"""What the machine must have; the number of CUDA devices is made up, everything else is real."""

import subprocess
import sys
from typing import Any

import pytest
import torch
import yaml

from ganlib.config import TrainOptions
from ganlib.errors import UserError
from ganlib.training import requirements
from ganlib.training.requirements import check_devices
from tests.configs import PRESET


def options(**changes: Any) -> TrainOptions:
    values = yaml.safe_load(PRESET.read_text(encoding="utf-8"))["train"]
    return TrainOptions.model_validate(values | {"batch_size": 64, "accumulation": 1} | changes)


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: int, cores: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(requirements, "_cpu_cores", lambda: cores)


@pytest.mark.parametrize(
    ("changes", "cuda", "cores"),
    [
        ({}, 0, 1),
        ({"device": "cpu", "precision": "bf16", "devices": 4}, 0, 4),
        ({"devices": "auto", "batch_size": 63}, 0, 8),
        ({"devices": "auto"}, 4, 1),
        ({"device": "cpu", "devices": "auto", "batch_size": 63}, 4, 1),
        ({"device": "cuda", "precision": "fp16", "cuda_graph": True}, 1, 1),
        ({"device": "auto", "precision": "tf32", "devices": 2}, 2, 1),
        ({"device": "cuda:1"}, 2, 1),
    ],
)
def test_what_a_machine_can(changes: dict[str, Any], cuda: int, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=cuda, cores=cores)
    check_devices(options(**changes))


@pytest.mark.parametrize(
    ("changes", "cuda", "line"),
    [
        ({"device": "cuda"}, 0, "train.device=cuda: found no CUDA device; set it to auto or cpu"),
        ({"device": "cuda:0"}, 0, "train.device=cuda:0: found no CUDA device"),
        ({"device": "cuda:2"}, 2, "train.device=cuda:2: found 2 CUDA devices, numbered from 0"),
        ({"precision": "tf32"}, 0, "train.precision=tf32: needs a CUDA device, found none"),
        ({"precision": "fp16"}, 0, "train.precision=fp16: needs a CUDA device, found none"),
        ({"cuda_graph": True}, 0, "train.cuda_graph=true: needs a CUDA device, found none"),
        ({"devices": 4}, 0, "train.devices=4: more than the 2 CPU cores found"),
        ({"devices": 4, "device": "cpu"}, 8, "train.devices=4: more than the 2 CPU cores found"),
        ({"devices": 4}, 2, "train.devices=4: more than the 2 CUDA devices found"),
        ({"devices": "auto", "batch_size": 64}, 3, "train.batch_size=64 does not divide into devices=3"),
    ],
)
def test_what_it_cannot_is_one_line(
    changes: dict[str, Any], cuda: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cuda=cuda, cores=2)
    with pytest.raises(UserError) as caught:
        check_devices(options(**changes))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_this_machine_has_at_least_one_core() -> None:
    check_devices(options(devices=1, device="cpu"))
    with pytest.raises(UserError, match=r"train\.devices=8192: more than the \d+ CPU cores found"):
        check_devices(options(devices=8192, device="cpu", batch_size=16384))


def test_ordinary_parameters_are_checked_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from ganlib.config import load_config; "
        "from ganlib.training.requirements import check_devices; "
        f"check_devices(load_config(Path({str(PRESET)!r})).train); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
