"""Two trainings of one GPU take turns; others do not wait for them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ganlib.config import FlowOptions
from pipelines.stages.device_slot import device_slot
from tests.configs import ROOT, tiny_config

# The devices' names stand for GPUs that this machine need not have.
OTHER = """
import json, sys, torch
from types import SimpleNamespace
from ganlib.config import FlowOptions
from pipelines.stages.device_slot import device_slot

torch.cuda.get_device_properties = lambda device: SimpleNamespace(uuid=f"GPU-{device.index}")
for share_gpu, *numbers in json.loads(sys.argv[1]):
    options = FlowOptions.model_validate_json(sys.argv[2]).model_copy(update={"share_gpu": share_gpu})
    with device_slot([torch.device("cuda", number) for number in numbers], options):
        print("in", *numbers, flush=True)
"""


def test_trainings_of_one_gpu_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"GPU-{device.index}"))
    flow: FlowOptions = tiny_config({}).flow
    assert not flow.share_gpu
    other = [sys.executable, "-c", OTHER, "[[false, 2], [true, 0], [false, 1, 0]]", flow.model_dump_json()]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with device_slot([torch.device("cuda", 0), torch.device("cuda", 1)], flow):
        process = subprocess.Popen(other, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["in 2\n", "in 0\n"]
        told = process.stdout.readline()
        assert told.startswith(f"waiting for process {os.getpid()} in {Path.cwd()} (since ")
        assert process.poll() is None
    assert process.communicate()[0] == "in 1 0\n"
    assert {lock.stem for lock in tmp_path.glob("ganlib-*/*.lock")} == {"GPU-0", "GPU-1", "GPU-2"}


def test_nobody_waits_for_a_cpu() -> None:
    flow = tiny_config({}).flow
    with device_slot([torch.device("cpu")], flow), device_slot([torch.device("cpu")], flow):
        pass
