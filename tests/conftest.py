"""Property tests draw the same examples every time, none is judged by the clock; a browser for tests of pages."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.browser import open_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

settings.register_profile("ganlib", deadline=None, derandomize=True)
settings.load_profile("ganlib")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Of one module: Playwright keeps an event loop running, which other tests would stumble on."""
    with open_browser() as found:
        yield found
