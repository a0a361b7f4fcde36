"""The script for the first GPU at hand runs to its end, and a check that fails is told."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.card import Card
from benchmarks.gpu.checks import CHECKS
from benchmarks.worker import flops_of


@pytest.mark.thorough
def test_a_rehearsal_passes_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rehearse", "--results", str(tmp_path)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "gpu-rehearsal.jsonl").read_text().splitlines()]
    assert {row["check"] for row in rows} == set(CHECKS)
    assert all(row.get("ok", True) for row in rows)
    table = (tmp_path / "gpu-rehearsal.md").read_text()
    assert all(f"## {check.title}\n" in table for check in CHECKS.values())
    assert table in capsys.readouterr().out


def test_a_check_beyond_its_limit_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.__main__.TOTAL_S", 0.05)
    assert main(["--rehearse", "--only", "waiting", "--only", "equal", "--results", str(tmp_path)]) == 1
    rows = [json.loads(line) for line in (tmp_path / "gpu-rehearsal.jsonl").read_text().splitlines()]
    assert [(row["check"], row["case"]) for row in rows] == [("waiting", "not finished"), ("equal", "not begun")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_real_thing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "found no CUDA device; add --rehearse" in capsys.readouterr().err


def test_operations_are_counted_through_a_second_differentiation() -> None:
    """PyTorch's own counter refuses R3GAN's penalties; lazy ones cost less."""
    card = Card(rehearsing=True)
    always = card.family("r3gan")
    never = {name: {"weight": 0.0, "every_steps": 1} for name in ("r1", "r2")}
    rarely = always.model_copy(update={"loss": always.loss.model_validate(always.loss.model_dump() | never)})
    assert flops_of(card.ours(always)) > 1.5 * flops_of(card.ours(rarely)) > 0
