"""The addresses that `gan ui` prints, in a browser, on a real MLflow server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from ganlib.packaging import generator_sha256
from pipelines.ui import links
from tests.browser import needs_browser
from tests.configs import tiny_values
from tests.mlflow_server import MlflowServer
from tests.registered import make_generator, submit
from tests.tracking_runs import PIXELS, training

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.integration, pytest.mark.thorough, needs_browser]
SHOWN_WITHIN_MS = 120_000
NAMES = ("digits · seed 1", "digits · seed 2")


@pytest.fixture
def addresses(server: MlflowServer, project: Path) -> dict[str, str]:
    """Of a project with a champion and a challenger."""
    values = tiny_values({"tracking.experiment": "shown", "register.model_name": "shown"})
    (project / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    for seed, name in enumerate(NAMES, 1):
        folder = make_generator(project / str(seed), seed)
        with training(name, "shown", run_name=name, params={"train.seed": str(seed)}) as log:
            log.metrics({"loss/critic": 1.0 / seed}, 64)
            log.picture("samples/best", PIXELS, 0)
            log.made(generator_sha256(folder))
        submit(folder, 3.0 + seed, name="shown")
    return dict(links(server.uri))


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    window = browser.new_context(viewport={"width": 1600, "height": 1000})
    yield window.new_page()
    window.close()


def test_each_address_opens_the_page_that_it_names(addresses: dict[str, str], page: "Page") -> None:
    page.set_default_timeout(SHOWN_WITHIN_MS)
    listed, charts, compared, champion = addresses.values()

    page.goto(listed)
    page.get_by_text("Sort: eval/domain/fid_estimate").first.wait_for()
    for name in NAMES:
        page.get_by_text(name, exact=True).first.wait_for()
    first, second = (page.get_by_text(name, exact=True).first.bounding_box() for name in NAMES)
    assert first is not None
    assert second is not None
    assert first["y"] < second["y"]
    assert page.get_by_text("Samples of the same seeds").count() == 0

    page.goto("about:blank")
    page.goto(charts)
    for section in ("Which is best", "Samples of the same seeds", "Training"):
        page.get_by_text(section, exact=True).first.wait_for()

    page.goto("about:blank")
    page.goto(compared)
    page.get_by_text(re.compile("Comparing 2 Runs")).first.wait_for()
    page.get_by_text("Parallel Coordinates Plot").first.wait_for()
    for name in NAMES:
        page.get_by_text(name, exact=True).first.wait_for()

    page.goto("about:blank")
    page.goto(champion)
    page.get_by_text("Version 1").first.wait_for()
    page.get_by_text("Promoted: there is no champion to compare with.").first.wait_for()
    page.get_by_text("@ champion").first.wait_for()
    assert page.get_by_text("[//]:").count() == 0, "the seal of a description is not shown"
