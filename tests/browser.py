"""A real browser for tests of pages, where the machine has one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP = (1280, 800)
PHONE = (360, 640)
LOADED = "Array.from(document.images).every(image => image.complete && image.naturalWidth > 0)"
# The least contrast of any text with the page's ground (WCAG 2.2, 1.4.3 asks for 4.5).
CONTRAST = """() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const texts = Array.from(document.querySelectorAll('body *')).map(each => {
    const style = getComputedStyle(each);
    return light(each instanceof SVGTextElement ? style.fill : style.color);
  });
  return Math.min(...texts.map(text => (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05)));
}"""
GROUND = "getComputedStyle(document.body).backgroundColor"


def find_browser() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, EXECUTABLES)), None)


needs_browser = pytest.mark.skipif(
    find_browser() is None, reason="needs a Chromium: on Debian and Ubuntu, apt-get install chromium"
)


@contextmanager
def open_browser() -> Iterator["Browser"]:
    """A headless Chromium, which makes no requests of its own."""
    from playwright.sync_api import sync_playwright

    # As root, as in containers, Chromium has no sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(
    browser: "Browser",
    address: str,
    *,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    expected: str | None = None,
    before: str = "",
) -> Iterator["Page"]:
    """A page in a window of its own, in which the script `before` has run first.

    The test fails if it asks for anything from elsewhere, or if its console shows an error other than `expected`.
    """
    phone = size[0] < 600
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=2 if phone else 1,
    )
    page = context.new_page()
    page.add_init_script(before)
    complaints: list[str] = []

    def watch_console(message: "ConsoleMessage") -> None:
        if message.type == "error" and message.text != expected:
            complaints.append(message.text)

    def watch_request(request: "Request") -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            complaints.append(f"asks for {request.url}")

    page.on("console", watch_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", watch_request)
    page.goto(address)
    try:
        yield page
    finally:
        context.close()
    assert not complaints


def scrolls_sideways(page: "Page") -> bool:
    """Whether the page is wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
