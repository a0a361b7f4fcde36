"""What all stages share: errors as one line, progress for people, figures as files."""

import csv
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError

from ganlib import events
from ganlib.errors import ProcessesFailed, TrainingInterrupted, UserError
from pipelines.console import plain_console
from pipelines.exit_codes import FAILURE_EXIT_CODE, RESUMABLE_EXIT_CODE, USER_ERROR_EXIT_CODE, fail
from pipelines.progress import Reached
from pipelines.stages.heartbeat import Heartbeat
from pipelines.stages.inputs import InputsChanged, unchanged_inputs

PLAIN_LINE_EVERY_S = 10.0
# Of an animation: a frame, and the largest images without loss. Photographs would take megabytes a second.
FRAME_MS, LARGEST_EXACT_PX = 80, 64
# What takes less memory, by stage.
_LESS_MEMORY = {
    "preprocess": "lower preprocess.workers",
    "extractor": "lower extractor.batch_size",
    "train": "raise train.accumulation, or lower train.batch_size or the widths in network",
    "evaluate": "lower evaluate.batch_size",
    "register": "lower evaluate.batch_size",
}
# What torch and safetensors say of a write that was refused.
_UNWRITTEN = ("PytorchStreamWriter", "unexpected pos", "file write failed", "Error while serializing")
LONGEST_ACTIVITY = 60


Afterwards = Callable[[], None]


def run_stage(name: str, function: Callable[[], Afterwards | None], *, announce: bool = True) -> None:
    """Run a stage's main function; a user's mistake becomes one line and exit code 2, a stop on request 75.

    What the function returns is called once it is sure that DVC records the stage as it ran.
    """
    signal.signal(signal.SIGTERM, _terminate)
    started = time.monotonic()
    try:
        with plain_errors(name):
            with unchanged_inputs(name):
                afterwards = function()
            if afterwards is not None:
                afterwards()
    except InputsChanged as error:
        sys.exit(fail(str(error), FAILURE_EXIT_CODE))  # to run again is the cure, which a flow does by itself
    except UserError as error:
        sys.exit(fail(str(error), USER_ERROR_EXIT_CODE))
    except TrainingInterrupted as stopped:
        sys.stderr.write(f"{name}: {stopped}\n")
        sys.exit(RESUMABLE_EXIT_CODE)
    except ProcessesFailed as error:
        sys.exit(fail(f"{name}: {error}", FAILURE_EXIT_CODE))
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        sys.exit(128 + signal.SIGINT)
    if announce:
        say(f"{name}: done in {time.monotonic() - started:.1f} s")


@contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """What a machine lacks becomes a UserError of one line: files, disk, memory."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{name}: {error.strerror or error} ({error.filename or 'no file named'})") from None
    except (RuntimeError, MemoryError, SafetensorError) as error:
        line = _scarcity(name, error)
        if line is None:
            raise
        raise UserError(f"{name}: {line}") from None


@contextmanager
def graceful_stop() -> Iterator[Callable[[], bool]]:
    """Yields whether a stop was asked for: the first SIGTERM or SIGINT only notes it, the second ends at once."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            _terminate(number, frame)
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _scarcity(name: str, error: Exception) -> str | None:
    """What to say where memory or disk ran out, which torch and safetensors report as errors of their own."""
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text for words in ("out of memory", "allocate memory")):
        return f"out of memory; {_LESS_MEMORY.get(name, 'close other programs')}"
    if any(words in text for words in _UNWRITTEN):
        return f"a file could not be written, most likely because the disk is full; free space ({text.splitlines()[0]})"
    return None


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def say(text: str) -> None:
    """One line to the person who watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write aside and rename, so that a reader never sees half a file."""
    _write_aside(path, lambda partial: partial.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", "utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """A whole file."""
    _write_aside(path, lambda partial: partial.write_bytes(content))


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """uint8 [H, W, C] as PNG."""
    from PIL import Image

    squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    _write_aside(path, lambda partial: Image.fromarray(squeezed).save(partial, format="PNG"))


def write_csv(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Rows of figures; the columns are those that occur in any row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    _write_aside(path, write)


def _write_aside(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")  # one name, so that what was killed in it is not left over
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class ProgressDisplay:
    """An event sink for people: a live bar on a terminal, a line every ten seconds elsewhere.

    Where no event comes for ten seconds, a line says what is being done and since when.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._last_line_s = 0.0
        self._figures: dict[str, float] = {}
        self._console = plain_console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:.0f}{task.fields[of]} images  {task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=None, of="", rate=0.0, visible=False)
        self._heartbeat = Heartbeat(self._print, "running")

    def __enter__(self) -> Self:
        self._bar.start()
        self._heartbeat.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heartbeat.__exit__(kind, error, trace)
        self._bar.stop()

    def __call__(self, event: events.Event) -> None:
        """Show notices and progress, with the newest losses and distances; other events are for other sinks."""
        match event:
            case events.Notice(text=text):
                self._heartbeat.note(_shortened(text))
                self._print(text)
            case events.Alarm(text=text, seen_images=seen_images):
                self._print(f"alarm at {seen_images} images shown: {text}")
            case events.Progress():
                self._heartbeat.note()
                self._progress(event)
            case events.Scalars(values=values):
                self._figures |= {name: value for name, value in values.items() if _is_shown(name)}
            case _:
                return

    def _print(self, text: str) -> None:
        self._console.print(f"{self.name}: {text}", soft_wrap=True)

    def _progress(self, event: events.Progress) -> None:
        self._bar.update(
            self._task,
            total=event.total_images,
            completed=event.seen_images,
            of="" if event.total_images is None else f"/{event.total_images}",
            rate=event.images_per_s,
            visible=True,
        )
        now = time.monotonic()
        if self._console.is_terminal or now - self._last_line_s < PLAIN_LINE_EVERY_S:
            return
        self._last_line_s = now
        say(str(Reached(self.name, event.seen_images, event.total_images, event.images_per_s, self._figures)))


def _is_shown(figure: str) -> bool:
    return figure.startswith("loss/") or figure.endswith("/fid")


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_ACTIVITY else f"{text[: LONGEST_ACTIVITY - 1]}…"


def chain(*sinks: events.EventSink) -> events.EventSink:
    """One sink that hands each event to all."""

    def send(event: events.Event) -> None:
        for sink in sinks:
            sink(event)

    return send
