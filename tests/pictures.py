"""Pictures for the documentation from a real run of the digits: `python -m tests.pictures` (some minutes).

Writes docs/pictures/report.png, prefect_run.png and prefect_result.png.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from PIL import Image

from pipelines import paths
from pipelines.graph import supervisor
from tests.browser import open_browser
from tests.configs import PRESET, ROOT
from tests.mlflow_server import free_port
from tests.pipeline_project import Project, make_project
from tests.toy_project import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PICTURES = ROOT / "docs/pictures"
DRAWN_MS = 15_000  # charts are drawn by and by, in a canvas that cannot be asked
COLOURS = 256  # of a palette: pages have few


def main() -> None:
    """Run the digits as a Prefect flow against a server of their own, then look at its pages and at the report."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "project")
        (project.root / paths.PARAMS).write_bytes(PRESET.read_bytes())
        with prefect_server(Path(folder)) as address:
            done = project.gan("run", PREFECT_API_URL=f"{address}/api", timeout_s=3600)
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
            photograph(project, address)


def photograph(project: Project, address: str) -> None:
    """Take the pictures of the last run of a project on a Prefect server."""
    run = newest(f"{address}/api/flow_runs/filter", {})
    result = newest(f"{address}/api/artifacts/filter", {"artifacts": {"key": {"any_": ["result"]}}})
    with open_browser() as browser:
        take(browser, f"{address}/runs/flow-run/{run}", "prefect_run.png")
        take(browser, f"{address}/artifacts/artifact/{result}", "prefect_result.png")
        take(browser, (project.root / paths.REPORT).as_uri(), "report.png", height=1500)


def newest(address: str, wanted: dict[str, object]) -> str:
    """The id of what a Prefect server found last."""
    found = httpx.post(address, json=wanted | {"limit": 1}, timeout=60).raise_for_status().json()
    return str(found[0]["id"])


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """Its address; with pages, without telemetry."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = Project(folder).environment | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = supervisor.start(command, cwd=folder, env=environment, stdout=os.open(os.devnull, os.O_WRONLY))
    try:
        wait_until(lambda: answers(address), timeout_s=300, what="the Prefect server")
        yield address
    finally:
        supervisor.stop(server)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def take(browser: "Browser", address: str, name: str, *, height: int = 800) -> None:
    """A screenshot of a desk's window, of that height in pixels."""
    page = browser.new_page(viewport={"width": 1280, "height": height})
    page.goto(address)
    page.wait_for_timeout(DRAWN_MS)
    page.screenshot(path=PICTURES / name)
    page.close()
    with Image.open(PICTURES / name) as image:
        image.convert("RGB").quantize(COLOURS).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    main()
