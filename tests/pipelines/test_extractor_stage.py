"""The extractor stage on data that its classifier cannot learn anything from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ganlib.datasets.packed.reading import open_packed
from ganlib.datasets.packing.pack import pack
from ganlib.errors import UserError
from ganlib.metrics.extractors import load_domain_extractor, unlabelled_message
from pipelines import paths
from pipelines.stages import extractor
from pipelines.stages.extraction import prepare_evaluation, project_reference
from tests.configs import tiny_config, tiny_values

NO_DOMAIN = {"train.extractor": "random", "evaluate.extractor": "random", "register.metric": "random/kid"}


def make_project(folder: Path, classes: tuple[str, ...], **changes: Any) -> None:
    """Packed noise in class folders, which say nothing of it."""
    draw = np.random.default_rng(0)
    for index in range(120):
        file = folder / "images" / classes[index % len(classes)] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (16, 16), dtype=np.uint8)).save(file)
    values = tiny_values(
        {"data.source": "images", "extractor.total_images": 640, "evaluate.kid_subset_size": 10, **changes}
    )
    paths.PARAMS.write_text(yaml.safe_dump(values), encoding="utf-8")
    config = tiny_config({"data.source": "images", "preprocess.workers": 1})
    pack(config.data, config.preprocess, paths.PROCESSED, scratch=folder / "scratch")


def test_one_class_is_refused_by_every_parameter_that_asks_for_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, ("cats",))
    with pytest.raises(UserError) as refused:
        extractor.main()
    why = "domain features need labelled data of two classes or more, found one class only in data.source; set it to "
    assert [line.split(": ")[0] for line in str(refused.value).splitlines()] == [
        "train.extractor=domain",
        "evaluate.extractor=domain",
        "register.metric=domain/fid",
    ]
    assert all(why in line for line in str(refused.value).splitlines())
    assert not paths.EXTRACTOR.exists()
    for changes, named in (
        (NO_DOMAIN | {"train.extractor": "domain"}, "train.extractor"),
        (NO_DOMAIN | {"register.metric": "domain/label_fidelity"}, "register.metric"),
    ):
        paths.PARAMS.write_text(yaml.safe_dump(tiny_values(changes)), encoding="utf-8")
        with pytest.raises(UserError, match=rf"^{named}=domain"):
            extractor.main()
    assert "found none in data.source" in unlabelled_message("evaluate.extractor")


@pytest.mark.slow  # the network of random weights takes long to make
def test_one_class_is_measured_by_other_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, ("cats",), **NO_DOMAIN)
    extractor.main()
    assert "no domain classifier" in capsys.readouterr().out
    config = tiny_config(NO_DOMAIN)
    device = prepare_evaluation(config.evaluate)
    with pytest.raises(UserError, match=r"^extractor: domain features need .* found one class only \(cats\)"):
        load_domain_extractor(paths.EXTRACTOR, device)
    assert project_reference(config, open_packed(paths.PROCESSED), device, notify=print).classifier is None


def test_a_classifier_of_noise_sounds_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, ("cats", "dogs"))
    extractor.main()
    (alarm,) = [line for line in capsys.readouterr().out.splitlines() if "ALARM" in line]
    assert "not surely better than chance" in alarm
