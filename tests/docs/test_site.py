"""The documentation as a site: it builds without a warning, asks for nothing from elsewhere, and reads well."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from docs.hooks.parameters import commented, flat
from pipelines.cli import app
from pipelines.report.meanings import MEANINGS
from tests.browser import DESKTOP, PHONE, needs_browser, open_page, scrolls_sideways
from tests.configs import PRESET, ROOT
from tests.documents import documents

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MOST_PICTURE_BYTES = 300 * 1024
# What a page loads by itself; a link to elsewhere is only followed by a reader.
LOADED = re.compile(r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]*)\"|<link[^>]*rel=\"stylesheet\"[^>]*href=\"([^\"]*)\"")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does; a warning, such as a link or an anchor that leads nowhere, is an error."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "mkdocs build --strict --quiet" in recipe
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {"PATH": "", "NO_MKDOCS_2_WARNING": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = ["".join(found) for found in LOADED.findall(text)]
        assert loaded, page
        assert [address for address in loaded if "//" in address] == [], page
        assert "<!-- generated:" not in text
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text(encoding="utf-8")


def test_the_reference_has_all_parameters_commands_and_figures(site: Path) -> None:
    parameters = (site / "reference/parameters.html").read_text(encoding="utf-8")
    values = flat(yaml.safe_load(PRESET.read_text(encoding="utf-8")))
    schedules = {name for name, value in values.items() if isinstance(value, dict) and "shape" in value}
    assert schedules
    whole = schedules | {"extractor.weights_files", "extractor.weights_sha256", "flow.timeout_s"}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        if section not in whole:
            is_section = isinstance(value, dict) and name not in whole
            shown = [name] if is_section else [name, key]
            assert any(f"<code>{each}</code>" in parameters for each in shown), name
    commands = (site / "reference/command_line.html").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"gan {command.callback.__name__}" in commands
    figures = (site / "reading_the_figures.html").read_text(encoding="utf-8")
    assert [name for name in MEANINGS if f"<code>{name}</code>" not in figures] == []


def test_comments_of_parameters_are_found() -> None:
    text = "a:  # of a\n  # above\n  # b\n  b: 1  # beside\n  c: {d: 2}   # inner\n\n  # lost\n\n  e: 'x # y'\nf: 3\n"
    assert dict(commented(text)) == {"a": "of a", "a.b": "above b beside", "a.c": "inner"}


def test_links_between_documents_hold_in_the_repository() -> None:
    for name, text in documents().items():
        for target in LINK.findall(text):
            if "//" not in target:
                assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs").rglob("*.png")]
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > MOST_PICTURE_BYTES] == []


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.browser
@pytest.mark.thorough
@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_are_readable(browser: "Browser", address: str, size: tuple[int, int], dark: bool) -> None:
    with open_page(browser, address, size=size, dark=dark) as page:
        assert page.get_by_role("heading", name="ganlib").first.is_visible()
        for name in ("compare", "design", "reference/parameters", "reference/library"):
            page.goto(f"{address}{name}.html")
            assert not scrolls_sideways(page), name
            assert page.evaluate("document.body.dataset.mdColorScheme") == ("slate" if dark else "default")
            assert page.evaluate("Array.from(document.images).every(each => each.complete && each.naturalWidth > 0)")


@pytest.mark.browser
@pytest.mark.thorough
@needs_browser
def test_the_search_finds_a_parameter(browser: "Browser", address: str) -> None:
    with open_page(browser, address) as page:
        # Text typed before the search is set up would be lost.
        page.goto(f"{address}index.html?q=patience_images")
        found = page.locator(".md-search-result__link").first
        found.wait_for(timeout=120_000)
        assert "parameters" in (found.get_attribute("href") or "")
