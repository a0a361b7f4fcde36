"""The switches exist without a GPU too."""

import pytest
import torch

from ganlib.arithmetic import allow_tf32, exact_arithmetic
from ganlib.config import TrainOptions
from ganlib.metrics.extractors import Extractor, Features
from ganlib.sampling import to_uint8
from ganlib.training import precision
from tests.configs import tiny_config


def switches() -> dict[str, object]:
    """Through the older and the newer ones, as other libraries read them."""
    backends = torch.backends
    with backends.cudnn.flags(enabled=True):
        pass
    return {
        "matmul": backends.cuda.matmul.allow_tf32,
        "convolutions": backends.cudnn.allow_tf32,
        "newer matmul": backends.cuda.matmul.fp32_precision == "tf32",
        "newer convolutions": backends.cudnn.conv.fp32_precision == "tf32",
        "float32": torch.get_float32_matmul_precision(),
        "timed": backends.cudnn.benchmark,
        "repeatable": backends.cudnn.deterministic,
    }


@pytest.fixture(autouse=True)
def as_before():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("name", "tf32"), [("tf32", True), ("fp32", False), ("bf16", False)])
def test_every_switch_can_be_read_after_a_training_has_set_its_precision(name, tf32, monkeypatch):
    """The calls that need a card are left out; the switches are real."""
    options: TrainOptions = tiny_config({"train.device": "auto", "train.precision": name}).train
    monkeypatch.setattr(precision, "check_devices", lambda _options: None)
    monkeypatch.setattr(precision, "device_type", lambda _options: "cuda")
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    precision.prepare_device(options)
    found = switches()
    assert [found[each] for each in ("matmul", "convolutions", "newer matmul", "newer convolutions")] == [tf32] * 4
    assert found["float32"] == ("high" if tf32 else "highest")
    assert not torch.utils.deterministic.fill_uninitialized_memory


class Watching(Extractor):
    """Sees the mean of each image, and how it was told to compute."""

    name = "random"
    alpha = "on_white"
    weights_sha256 = ""
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []

    def look(self, images: torch.Tensor) -> Features:
        self.seen.append(switches())
        return Features(images.mean(dim=(1, 2, 3))[:, None], torch.empty(len(images), 0))


def test_features_are_exact_whatever_the_training_around_them_has_set():
    allow_tf32(True)
    torch.backends.cudnn.benchmark = True
    during_training, extractor = switches(), Watching()
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    extractor.extract(to_uint8(images))
    extractor.see(images)
    with exact_arithmetic():
        exact = switches()
    assert exact == during_training | dict.fromkeys(
        ("matmul", "convolutions", "newer matmul", "newer convolutions", "timed"), False
    ) | {"float32": "highest", "repeatable": True}
    assert extractor.seen == [exact, exact]
    assert switches() == during_training
    assert "float32 deterministic" in extractor.identity
