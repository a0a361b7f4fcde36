"""A served translator gives the images that the registered model and `gan translate` give."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from PIL import Image

from ganlib.marking import pixels_sha256
from ganlib.packaging import ImageGenerator
from ganlib.translating import translate_image
from pipelines.provenance.made import find
from tests.browser import needs_browser, open_page
from tests.ganlib.datasets.image_bytes import png
from tests.ganlib.datasets.image_files import encode
from tests.mlflow_server import wait_until
from tests.pipelines.serving.test_answers import pixels
from tests.registered import BACKGROUND
from tests.serving import LIMITS, Served, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.integration
MODEL = "models:/ways@champion"
GIVEN = np.random.default_rng(0).integers(0, 256, (20, 12), dtype=np.uint8)


def translate(served: Served, content: bytes, *, kind: str = "image/png", **query: str | float) -> httpx.Response:
    return httpx.post(
        f"{served.address}/translate", content=content, headers={"content-type": kind}, params=query, timeout=30
    )


def test_the_same_image_gives_the_same_bytes_everywhere(registered: Path) -> None:
    """By MLflow in Python, by its own server's request, as PNG; both ways, on record, and described."""
    import mlflow

    asked = {"images": [base64.b64encode(encode(GIVEN)).decode()], "seed": 5, "to": "inputs"}
    (expected,) = mlflow.pyfunc.load_model(MODEL).predict([asked])
    translator = ImageGenerator.load(registered / "ways")
    with serving(model=MODEL) as served:
        answer = translate(served, encode(GIVEN), seed=5, to="inputs")
        assert base64.b64encode(answer.content).decode() == expected["images"][0]
        assert answer.headers["ganlib-model"] == "ways/1"
        assert served.post(asked).json() == {"predictions": [expected]}
        made = translate_image(translator, GIVEN[:, :, None], seed=5, to="inputs")
        np.testing.assert_array_equal(pixels(answer.content), made[:, :, 0])
        other = translate(served, encode(GIVEN), kind="application/octet-stream")
        np.testing.assert_array_equal(
            pixels(other.content), translate_image(translator, GIVEN[:, :, None], seed=0)[:, :, 0]
        )
        clear = translate(served, encode(np.zeros((20, 12, 4), dtype=np.uint8)))
        laid = Image.new("RGB", (12, 20), BACKGROUND).convert("L")
        assert clear.content == translate(served, encode(laid)).content
        entry = find([pixels_sha256(made)])
        assert [(each.by, each.request["way"]) for each in entry.values()] == [("gan serve", 1)]
        shown = served.get("/model").json()
        assert (shown["makes"], shown["most_pixels"]) == (["images", "inputs"], LIMITS.pixels)
        described = served.get("/openapi.json").json()
        assert set(described["paths"]) == {"/translate", "/invocations", "/model", "/health", "/metrics"}
        assert "image/*" in described["paths"]["/translate"]["post"]["requestBody"]["content"]
        page = served.get("/metrics").text
        assert 'ganlib_requests_total{path="/translate",status="200"} 4' in page
        assert "ganlib_batch_images_sum 5" in page


@pytest.mark.usefixtures("registered")
def test_what_cannot_be_translated_is_one_line() -> None:
    encoded = base64.b64encode(encode(GIVEN)).decode()
    with serving(replace(LIMITS, images=2, pixels=400), model=MODEL) as served:
        for content, query, words in (
            (b"", {}, "image 1: cannot be read as an image"),
            (b"no image", {}, "image 1: cannot be read as an image (in no known format); give image files"),
            (encode(GIVEN)[:60], {}, "expected image files"),
            (encode(np.zeros((21, 20), np.uint8)), {}, "image 1: 20 x 21 pixels are more than this server's limit=400"),
            (
                png(GIVEN, colour=0, size=(60_000, 60_000)),
                {},
                "image 1: cannot be read as an image (Image size (3600000000 pixels)",
            ),
            (encode(GIVEN), {"to": "zebras"}, "to=zebras: this translator makes no such images"),
            (encode(GIVEN), {"seed": -1}, "seed: Input should be greater"),
            (encode(GIVEN), {"sede": 1}, "sede: Extra inputs are not permitted"),
        ):
            answer = translate(served, content, **query)
            assert (answer.status_code, words in answer.json()["error"]) == (422, True), answer.text
        for asked, words in (
            ({"images": [encoded] * 3}, "3 images sent; this server translates at most 2"),
            ({"images": ["?"]}, "image 1: expected base64"),
            ({"images": []}, "inputs.0.images: List should have at least 1 item"),
            ({"images": [encoded], "count": 1}, "inputs.0.count: Extra inputs"),
        ):
            answer = served.post(asked)
            assert (answer.status_code, words in answer.json()["error"]) == (422, True), answer.text
        assert translate(served, encode(GIVEN), kind="text/plain").status_code == 415
        assert served.get("/sample").status_code == 404
        assert translate(served, encode(GIVEN)).status_code == 200


@needs_browser
@pytest.mark.browser
@pytest.mark.thorough
@pytest.mark.usefixtures("registered")
def test_the_page(browser: "Browser", tmp_path: Path) -> None:
    (tmp_path / "given.png").write_bytes(encode(GIVEN))
    refused = "Failed to load resource: the server responded with a status of 422 (Unprocessable Entity)"
    with serving(model=MODEL) as served, open_page(browser, f"{served.address}/", expected=refused) as page:
        wait_until(lambda: page.locator("#to option").count() == 2, "the kinds are there")
        page.get_by_role("button", name="Translate").click()
        assert page.locator("#problem").inner_text() == "Choose an image first."
        page.set_input_files("#file", tmp_path / "given.png")
        page.select_option("#to", "inputs")
        page.get_by_role("button", name="Translate").click()
        wait_until(lambda: page.locator("#made").is_visible(), "it is translated")
        with page.expect_download() as download:
            page.locator("#link").click()
        assert download.value.path().read_bytes() == translate(served, encode(GIVEN), to="inputs").content
        assert download.value.suggested_filename == "given-inputs-seed-0.png"
        (tmp_path / "notes.png").write_bytes(b"no image")
        page.set_input_files("#file", tmp_path / "notes.png")
        page.get_by_role("button", name="Translate").click()
        wait_until(lambda: "in no known format" in page.locator("#problem").inner_text(), "it is refused")
        assert not page.locator("#made").is_visible()
