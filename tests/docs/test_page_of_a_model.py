"""The page that the guide shows draws what the generator draws, in a browser, with onnxruntime-web.

That package is no part of the project: the variable GANLIB_ORT_WEB names the folder `dist` of it.
"""

import math
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ganlib.exporting import export
from ganlib.packaging import ImageGenerator
from ganlib.sampling import to_uint8
from tests.browser import needs_browser, open_page
from tests.documents import blocks, documents
from tests.mlflow_server import wait_until
from tests.registered import make_generator

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GUIDE = "docs/using_a_model.md"
DIST = os.environ.get("GANLIB_ORT_WEB")
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
STEP = 0.618034
RANDOM = f"let drawn = 0; Math.random = () => (++drawn * {STEP}) % 1;"
PIXELS = "Array.from(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 16, 16).data)"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def pages(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@needs_browser
@pytest.mark.browser
@pytest.mark.thorough
@pytest.mark.skipif(DIST is None, reason="needs onnxruntime-web: GANLIB_ORT_WEB names its folder dist")
def test_a_page_draws_what_the_generator_draws(browser: "Browser", tmp_path: Path) -> None:
    (page_text,) = (block.text for block in blocks(GUIDE, documents()[GUIDE]) if block.kind == "html")
    (tmp_path / "index.html").write_text(page_text, encoding="utf-8")
    for name in FILES:
        shutil.copy2(Path(str(DIST), name), tmp_path)
    generator = ImageGenerator.load(make_generator(tmp_path / "generator", 1))
    generator.generator.output.weight.mul_(10)  # untrained, its images are nearly grey
    export(generator, tmp_path / "generator.onnx", "onnx", {})
    draws = [place * STEP % 1 for place in range(1, 2 * generator.network.latent_dim + 1)]
    pairs = zip(draws[::2], draws[1::2], strict=True)
    latents = [math.sqrt(-2 * math.log(1 - one)) * math.cos(2 * math.pi * other) for one, other in pairs]
    images = generator.generator(torch.tensor([latents]) * 0.8, torch.tensor([2]))
    with pages(tmp_path) as address, open_page(browser, address, before=RANDOM) as page:
        wait_until(lambda: any(page.evaluate(PIXELS)), "an image is drawn", timeout_s=60)
        shown = np.array(page.evaluate(PIXELS)).reshape(16, 16, 4)
    assert np.abs(shown[..., :3].astype(int) - to_uint8(images)[0]).max() <= 1
    assert (shown[..., 3] == 255).all()
