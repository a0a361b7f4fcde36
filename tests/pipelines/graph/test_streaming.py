import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from pipelines.graph import streaming
from tests.toy_project import processes_in


def run(folder: Path, code: str, timeout_s: float | None = None) -> tuple[int, list[str]]:
    command = [sys.executable, "-u", "-c", code]
    with contextlib.closing(streaming.Command(command, cwd=folder, env=os.environ)) as at_work:
        if timeout_s is not None:
            at_work.deadline = time.monotonic() + timeout_s
        lines = list(at_work)
        return at_work.exit_code, lines


def test_lines_arrive_while_the_command_runs(tmp_path: Path) -> None:
    arrived: list[float] = []
    code = "import time; print('one'); time.sleep(0.6); print('two')"
    streaming.run(
        [sys.executable, "-u", "-c", code],
        cwd=tmp_path,
        env=os.environ,
        on_line=lambda _line: arrived.append(time.monotonic()),
    )
    assert arrived[1] - arrived[0] > 0.3


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("plain\\n", ["plain"]),
        ("no end", ["no end"]),
        ("windows\\r\\n", ["windows"]),
        ("\\r10%\\r20%\\r100%\\ndone\\n", ["100%", "done"]),
        ("\\r10%\\r20%\\r", ["20%"]),
        ("a\\n\\nb\\n", ["a", "", "b"]),
        ("\\udcff\\n", ["\N{REPLACEMENT CHARACTER}"]),
    ],
)
def test_progress_bars_arrive_as_their_last_state(tmp_path: Path, written: str, lines: list[str]) -> None:
    # Byte by byte, so that reads end anywhere.
    code = f"import sys\nfor b in '{written}'.encode(errors='surrogateescape'): sys.stdout.buffer.write(bytes([b]))"
    assert run(tmp_path, code) == (0, lines)


def test_a_moving_bar_is_shown_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PROGRESS_EVERY_S", 0.2)
    code = "import time\nfor i in range(10): print(f'\\r{i}', end=''); time.sleep(0.1)\nprint()"
    _, lines = run(tmp_path, code)
    assert lines[-1] == "9"
    assert 2 < len(lines) < 9


@pytest.mark.parametrize("closing", ["", "import os; os.close(1); os.close(2); "])
def test_a_silent_command_is_ended_in_time(tmp_path: Path, closing: str) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        run(tmp_path, f"{closing}import time; time.sleep(300)", timeout_s=0.5)
    assert time.monotonic() - started < 5
    assert not processes_in(tmp_path)


def test_a_detached_process_that_keeps_the_pipe_does_not_keep_us(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True); print('gone')"
    assert run(tmp_path, code) == (0, ["gone"])
    assert not processes_in(tmp_path)


def test_an_error_in_the_listener_ends_the_command(tmp_path: Path) -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    command = [sys.executable, "-u", "-c", "import time; print('x'); time.sleep(300)"]
    with pytest.raises(ValueError, match="x"):
        streaming.run(command, cwd=tmp_path, env=os.environ, on_line=refuse)
    assert not processes_in(tmp_path)


def test_who_watches_can_end_a_command_that_says_nothing(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    looked: list[float] = []

    def watch() -> None:
        looked.append(time.monotonic())
        if (tmp_path / "started").exists():
            raise Enough

    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('orderly').touch(), sys.exit()))\n"
        "pathlib.Path('started').touch(); time.sleep(60)"
    )
    command = [sys.executable, "-u", "-c", code]
    with pytest.raises(Enough):
        streaming.run(command, cwd=tmp_path, env=os.environ, on_line=print, watch=watch)
    assert (tmp_path / "orderly").exists()
    assert len(looked) < 60 / streaming.LOOK_EVERY_S
    assert not processes_in(tmp_path)
