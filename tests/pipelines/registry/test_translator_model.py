"""The registered translator, without a server: what MLflow calls, called."""

import base64
import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from ganlib.packaging import ImageGenerator
from ganlib.translating import translate_image
from pipelines.registry.versions import PACKAGE, quiet_pyfunc
from tests.configs import PAIRED, UNPAIRED
from tests.registered import make_translator

with quiet_pyfunc():
    from pipelines.registry.model_code import TranslateRequest, Translator, import_package


def encoded(pixels: np.ndarray, orientation: int = 1) -> str:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, format="PNG", exif=exif)
    return base64.b64encode(file.getvalue()).decode("ascii")


def context(package: Path, generator: Path) -> SimpleNamespace:
    artifacts = {"ganlib": str(package), "generator": str(generator)}
    return SimpleNamespace(artifacts=artifacts, model_config={"translates": True, "background": [200, 200, 200]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_translator(tmp_path_factory.mktemp("translator"), PAIRED)


@pytest.fixture(scope="module")
def model(folder: Path) -> Translator:
    loaded = Translator()
    loaded.load_context(context(PACKAGE, folder))
    return loaded


def test_images_in_images_out_the_same_whatever_stands_beside(folder: Path, model: Translator) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 20), dtype=np.uint8)
    one, other = map(encoded, pixels)
    alone = model.predict([TranslateRequest(images=[one], seed=7)])[0]
    both = model.predict([TranslateRequest(images=[other, one], seed=7)])[0]
    assert both["images"][1] == alone["images"][0]
    expected = translate_image(ImageGenerator.load(folder), pixels[0][:, :, None], seed=7)
    with Image.open(io.BytesIO(base64.b64decode(alone["images"][0]))) as made:
        assert np.array_equal(np.asarray(made), expected[:, :, 0])
    turned = model.predict([TranslateRequest(images=[encoded(pixels[0], orientation=6)], seed=7)])[0]
    with Image.open(io.BytesIO(base64.b64decode(turned["images"][0]))) as made:
        assert made.size == (9, 20)
    again = model.predict([TranslateRequest(images=[one], seed=8)])[0]
    assert again["images"] != alone["images"]


def test_transparency_is_laid_on_the_background_of_the_data(model: Translator) -> None:
    clear = np.zeros((16, 16, 4), dtype=np.uint8)
    asked = [TranslateRequest(images=[encoded(pixels)]) for pixels in (clear, np.full((16, 16), 200, dtype=np.uint8))]
    hidden, plain = model.predict(asked)
    assert hidden == plain


def test_what_is_no_image_is_refused(model: Translator) -> None:
    with pytest.raises(MlflowException, match="images: expected image files in base64"):
        model.predict([TranslateRequest(images=["bm9uc2Vuc2U="], seed=0)])


def test_the_way_back_is_asked_for_by_name(folder: Path, tmp_path: Path, model: Translator) -> None:
    make_translator(tmp_path, UNPAIRED)
    both = Translator()
    both.load_context(context(PACKAGE, tmp_path))
    image = encoded(np.arange(144, dtype=np.uint8).reshape(12, 12))
    made = [both.predict([TranslateRequest(images=[image], seed=0, to=to)])[0] for to in (None, "images", "inputs")]
    assert made[0] == made[1] != made[2]
    for loaded, expected in ((both, "images or inputs"), (model, "images")):
        with pytest.raises(
            MlflowException, match=f"to=zebras: this translator makes no such images; expected {expected}$"
        ):
            loaded.predict([TranslateRequest(images=[image], seed=0, to="zebras")])


def test_a_model_of_the_same_code_does_not_need_the_folder_of_the_one_before(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(PACKAGE, tmp_path / name / "ganlib", ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / name / "ganlib" / "new.py").write_text("")  # code that no other test has loaded
    import_package(tmp_path / "one" / "ganlib", "packaging")
    shutil.rmtree(tmp_path / "one")
    loaded = Translator()
    loaded.load_context(context(tmp_path / "two/ganlib", folder))
    assert loaded.predict([TranslateRequest(images=[encoded(np.zeros((8, 8), dtype=np.uint8))], seed=0)])
