"""What a run shows on Prefect's pages while it runs: progress as a bar, pictures as images."""

import base64
import contextlib
import io
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from uuid import UUID

import httpx
from PIL import Image
from prefect.artifacts import create_image_artifact, create_progress_artifact, update_progress_artifact
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings

from ganlib.counting import told_time
from ganlib.marking import packet_of
from pipelines.progress import Reached

# Prefect's server keeps an artifact's data in its database and shows an image by its address alone; an address that
# holds the image needs no other server.
LARGEST_PICTURE_PX = 1024
PICTURE_QUALITY = 85


class ProgressPage:
    """A stage's progress as an artifact, renewed by the lines that the stage prints; none where it prints none.

    A server that is away neither fails nor delays the stage.
    """

    def __init__(self) -> None:
        self._artifact: UUID | None = None

    def hear(self, line: str) -> None:
        """Renew it, if the line tells of progress."""
        reached = Reached.read(line)
        if reached is None or not reached.total_images:
            return
        self._show(100 * min(1.0, reached.seen_images / reached.total_images), _described(reached))

    def finish(self, told: str) -> None:
        """The stage has done all that there was."""
        if self._artifact is not None:
            self._show(100.0, told)

    def _show(self, percent: float, description: str) -> None:
        def send() -> None:
            if self._artifact is None:
                made = create_progress_artifact(percent, key="progress", description=description)
                assert isinstance(made, UUID), "no coroutine, as no event loop runs here"
                self._artifact = made
            else:
                update_progress_artifact(self._artifact, percent, description)

        _unless_away(send, self._settings)

    @cached_property
    def _settings(self) -> Settings:
        """Kept, as to make them takes several times as long as to send a word."""
        return _of_one_try()


def show_picture(key: str, picture: Path, description: str) -> None:
    """A picture as an image artifact, if there is one."""
    if picture.exists():
        _unless_away(lambda: create_image_artifact(image_url(picture), key=key, description=description), _of_one_try())


def image_url(picture: Path) -> str:
    """An address that holds the picture itself, at most LARGEST_PICTURE_PX a side, so that it stays small."""
    content = io.BytesIO()
    with Image.open(picture) as image:
        mark = packet_of(image)
        image.thumbnail((LARGEST_PICTURE_PX, LARGEST_PICTURE_PX))
        image.save(content, format="WEBP", quality=PICTURE_QUALITY, xmp=mark)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _described(reached: Reached) -> str:
    left = "" if reached.left_s is None else f", {told_time(reached.left_s)} left"
    figures = "".join(f", {name} {value:.4g}" for name, value in reached.figures.items())
    return f"{reached.stage}: {reached.seen_images} of {reached.total_images} images{left}{figures}"


def _of_one_try() -> Settings:
    return get_settings_context().settings.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: 0})


def _unless_away(send: Callable[[], object], settings: Settings) -> None:
    """The page is for people who look; the work does not wait for it."""
    with (
        contextlib.suppress(httpx.HTTPError, PrefectException),
        SettingsContext(profile=get_settings_context().profile, settings=settings),
    ):
        send()
