"""The comparison in a real browser: on a desk and on a phone, by day and by night, from one file."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines import paths
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
from tests.pipelines.comparing.conftest import Compare

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, needs_browser]


@pytest.mark.parametrize("wanted", [("champion", "challenger"), ("--last", "5")], ids=["two", "five"])
def test_it_is_readable(wanted: tuple[str, ...], here: Path, compare: Compare, browser: "Browser") -> None:
    said = compare(*wanted)
    assert said.code == 0, said.err
    for size in (DESKTOP, PHONE):
        for dark in (False, True):
            with open_page(browser, (here / paths.COMPARISON).as_uri(), size=size, dark=dark) as page:
                page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
                assert page.locator(".headline").is_visible()
                assert page.evaluate(LOADED)
                assert not scrolls_sideways(page)
                assert page.evaluate(CONTRAST) >= 4.5
                assert page.evaluate(GROUND) == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
