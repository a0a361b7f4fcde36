"""Files of latents: what is written comes back, and what is no such file is told in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ganlib.errors import UserError
from ganlib.inversion.latents import SavedLatents
from tests.toy_evaluation import LATENTS, image_generator

SAVED = SavedLatents(torch.arange(3.0 * LATENTS).view(3, LATENTS) / 9, torch.tensor([2, 0, 1]), "ab" * 32)


@pytest.mark.parametrize("saved", [SAVED, SavedLatents(SAVED.latents, None, None)])
def test_what_is_written_comes_back_and_equal_latents_give_equal_bytes(saved: SavedLatents, tmp_path: Path) -> None:
    first, second = tmp_path / "new folder" / "a.safetensors", tmp_path / "b.safetensors"
    saved.save(first)
    found = SavedLatents.load(first)
    assert torch.equal(found.latents, saved.latents)
    assert (found.labels is None) == (saved.labels is None)
    assert found.generator_sha256 == saved.generator_sha256
    found.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert [file.name for file in first.parent.iterdir()] == ["a.safetensors"]
    generator = image_generator(conditional=saved.labels is not None)
    found.check(generator, first)
    np.testing.assert_array_equal(found.images(generator), saved.images(generator))


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"other": torch.ones(2, 6)}, "expected a tensor latents of floats"),
        ({"latents": torch.ones(6)}, "expected a tensor latents of floats"),
        ({"latents": torch.ones(0, 6)}, "expected a tensor latents of floats"),
        ({"latents": torch.ones(2, 6).long()}, "expected a tensor latents of floats"),
        ({"latents": torch.full((2, 6), torch.nan)}, "latents are not finite"),
        ({"latents": torch.ones(2, 6), "labels": torch.tensor([1])}, r"expected labels to be int64 \[2\]"),
        ({"latents": torch.ones(2, 6), "labels": torch.ones(2)}, r"expected labels to be int64 \[2\]"),
    ],
)
def test_other_files_are_refused(tensors: dict[str, torch.Tensor], told: str, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file(tensors, file)
    with pytest.raises(UserError, match=told):
        SavedLatents.load(file)


def test_no_file_and_no_safetensors_are_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for name, told in (("text", "no file of latents"), ("none", "no such file"), (".", "not a file")):
        with pytest.raises(UserError, match=told):
            SavedLatents.load(tmp_path / name)


@pytest.mark.parametrize(
    ("saved", "conditional", "told"),
    [
        (SavedLatents(torch.ones(2, 5), torch.zeros(2).long(), None), True, "have length 5, this generator takes 6"),
        (SavedLatents(torch.ones(2, 6), None, None), True, "has no labels, which this conditional generator needs"),
        (SavedLatents(torch.ones(2, 6), torch.zeros(2).long(), None), False, "this unconditional generator does not"),
        (SavedLatents(torch.ones(2, 6), torch.tensor([0, 3]), None), True, "labels go from 0 to 3, expected 0 to 2"),
    ],
)
def test_latents_of_another_kind_of_generator_are_refused(saved: SavedLatents, conditional: bool, told: str) -> None:
    with pytest.raises(UserError, match=told):
        saved.check(image_generator(conditional=conditional), Path("x.safetensors"))
