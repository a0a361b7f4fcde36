"""`gan serve` as a process, and its gallery in a browser."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from ganlib.errors import UserError
from pipelines.serving.serving import serve_model
from tests.browser import CONTRAST, DESKTOP, GROUND, LOADED, PHONE, needs_browser, open_page, scrolls_sideways
from tests.mlflow_server import wait_until
from tests.serving import LIMITS, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.integration
# A shell in the background would have its children ignore Ctrl-C.
CODE = """
import atexit, gc, signal
from pipelines.cli import main  # has a last wish of its own, which comes after this one
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(lambda: print("never collected:", gc.get_freeze_count(), "collected:", len(gc.get_objects())))
main()
"""


@contextmanager
def gan_serve(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, "serve", *arguments], cwd=folder, stdout=output, stderr=output
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def test_it_serves_until_ctrl_c(registered: Path) -> None:
    with gan_serve(registered, "models:/things@champion", "--port", "0") as (process, log):
        wait_until(lambda: "http://" in log.read_text() or process.poll() is not None, "it serves", timeout_s=120)
        found = re.search(r"version 1, at (http://127\.0\.0\.1:\d+)", log.read_text())
        assert found, log.read_text()
        assert httpx.get(f"{found[1]}/sample").headers["ganlib-model"] == "things/1"
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
        said = log.read_text()
        assert "Traceback" not in said
        # A collection looks at what came after the start only, so that no request waits for it.
        stays, rest = map(int, re.search(r"never collected: (\d+) collected: (\d+)", said).groups())  # type: ignore[union-attr]
        assert stays > 10 * rest


@pytest.mark.usefixtures("registered")
def test_what_cannot_be_served_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for model, asked, line in (
            ("digits", 0, "digits: no address of a model; expected models:/NAME@ALIAS or models:/NAME/VERSION"),
            ("models:/digits/7", 0, "models:/digits/7: there is no such version"),
            ("models:/digits@champion", port, f"--port {port}: Address already in use"),
        ):
            with pytest.raises(UserError, match=re.escape(line)):
                serve_model(model, host="127.0.0.1", port=asked, allowed_hosts=(), limits=LIMITS, check_every_s=1)


@needs_browser
@pytest.mark.browser
@pytest.mark.thorough
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_the_gallery(browser: "Browser", size: tuple[int, int], dark: bool) -> None:
    with serving(LIMITS) as served, open_page(browser, f"{served.address}/", size=size, dark=dark) as page:
        wait_until(lambda: page.locator("#samples img").count() == 20 and page.evaluate(LOADED), "images are shown")
        assert not scrolls_sideways(page)
        assert page.evaluate(CONTRAST) >= 4.5
        assert (max(map(int, re.findall(r"\d+", page.evaluate(GROUND))[:3])) < 128) == dark
        first = page.locator("#samples a").first
        assert first.inner_text() == "zero, seed 0"
        assert page.locator("#truncation").get_attribute("max") == "0.9"
        before = first.get_attribute("href")
        page.select_option("#class", "two")
        page.get_by_role("button", name="Other seeds").click()
        assert first.inner_text() == "two, seed 20"
        wait_until(lambda: page.evaluate(LOADED), "images are shown")
        assert first.get_attribute("href") != before
        between = page.locator("#between").get_attribute("src")
        page.locator("#mix").fill("0.25")
        assert page.locator("#between").get_attribute("src") != between
        with page.expect_download() as download:
            first.click()
        expected = served.get("/sample", seed=20, label="two", truncation=0.9).content
        assert download.value.path().read_bytes() == expected
        assert download.value.suggested_filename == "digits-1-seed-20.png"
