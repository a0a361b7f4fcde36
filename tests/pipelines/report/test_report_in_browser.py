"""The report in a real browser: on a desk and on a phone, by day and by night, from one file."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines import paths
from pipelines.report.facts import Facts
from pipelines.report.page import write_page
from tests import report_project
from tests.browser import (
    CONTRAST,
    DESKTOP,
    GROUND,
    LOADED,
    PHONE,
    needs_browser,
    open_page,
    scrolls_sideways,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, needs_browser]


@pytest.fixture(scope="module")
def address(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / paths.REPORT.name
    champion = report_project.evaluation(report_project.DIGITS, "9" * 64, shift=0.91)
    write_page(facts, report_project.registration(facts.generator_sha256, promoted=True), path, champion=champion)
    return path.as_uri()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_is_readable(browser: "Browser", address: str, size: tuple[int, int], dark: bool) -> None:
    with open_page(browser, address, size=size, dark=dark) as page:
        page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
        assert page.get_by_text("Promoted to champion", exact=True).is_visible()
        assert page.evaluate(LOADED)
        assert not scrolls_sideways(page)
        assert page.evaluate(CONTRAST) >= 4.5
        assert page.evaluate(GROUND) == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
