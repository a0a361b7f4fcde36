"""Images of four channels through everything that writes or shows them."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ganlib.config import ImageSpec
from ganlib.datasets.packed.reading import open_packed
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator
from pipelines import cli
from pipelines.stages.shell import write_png
from pipelines.tracking import store
from tests.configs import tiny_config
from tests.ganlib.datasets.image_files import data_options, encode, noise, pack_images, write_folder
from tests.tracking_runs import training

NETWORK = tiny_config({"network.conditional": False}).network
RGBA = noise(0, 16, 20, 4)


@pytest.fixture
def generator() -> ImageGenerator:
    image = ImageSpec(size=16, channels=4, classes=())
    torch.manual_seed(0)
    return ImageGenerator(build_generator(NETWORK, image), NETWORK, image, {"seen_images": 1})


def test_a_png_keeps_every_bit(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", RGBA)
    with Image.open(tmp_path / "x.png") as opened:
        assert opened.mode == "RGBA"
        assert (np.asarray(opened) == RGBA).all()


def test_packed_data_have_four_channels(tmp_path: Path) -> None:
    files = {f"{seed}.png": encode(noise(seed, 16, 16, 4)) for seed in range(24)}
    source = write_folder(tmp_path / "images", files)
    pack_images(data_options(source, channels=4), tmp_path / "packed")
    data = open_packed(tmp_path / "packed")
    assert data.image == ImageSpec(size=16, channels=4, classes=())
    assert data.train.take(np.arange(2)).shape == (2, 16, 16, 4)
    assert len(data.manifest.train.pixel_mean) == 4


def test_samples_on_the_command_line(generator: ImageGenerator, tmp_path: Path) -> None:
    generator.save(tmp_path / "generator")
    output = tmp_path / "samples.png"
    arguments = ["sample", "--folder", str(tmp_path / "generator"), "--output", str(output), "--count", "10"]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    with Image.open(output) as opened:
        assert opened.mode == "RGBA"
        assert opened.size == ((17 * 10 - 1) * 2, 16 * 2)
        expected = generator.sample(seed=0, count=10)[0].repeat(2, axis=0).repeat(2, axis=1)
        assert (np.asarray(opened)[:, :32] == expected).all()


# MLflow's own types provoke this when mlflow.pyfunc is imported.
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_the_registered_model_answers_with_rgba(generator: ImageGenerator, tmp_path: Path) -> None:
    from mlflow.pyfunc import PythonModelContext

    from pipelines.registry import model_code
    from pipelines.registry.versions import PACKAGE

    generator.save(tmp_path / "generator")
    sampler = model_code.Sampler()
    artifacts = {"generator": str(tmp_path / "generator"), "ganlib": str(PACKAGE)}
    sampler.load_context(PythonModelContext(artifacts, {}))
    (answer,) = sampler.predict([model_code.SampleRequest(count=2, seed=5)])
    for text, pixels in zip(answer["images"], generator.sample(seed=5, count=2), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(text))) as opened:
            assert (np.asarray(opened) == pixels).all()


def test_mlflow_shows_the_picture(project: Path, tmp_path: Path) -> None:
    with training("k", "rgba") as log:
        log.picture("samples", RGBA, 64)
    client = store.connect()
    experiment = client.get_experiment_by_name("rgba")
    (run,) = client.search_runs([experiment.experiment_id])
    (path,) = (item.path for item in client.list_artifacts(run.info.run_id, "images") if item.path.endswith(".png"))
    with Image.open(client.download_artifacts(run.info.run_id, path, str(tmp_path))) as opened:
        assert (np.asarray(opened) == RGBA).all()
