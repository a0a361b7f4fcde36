"""Processes of their own that promote and roll back, and may be killed or suspended in the middle of it."""

import json
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from ganlib.errors import UserError
from pipelines.registry import promotion
from tests.registered import submit

Command = tuple[str, str, str]  # promote or rollback, the version, the reason
PRELOADED = ["mlflow.tracking.client", "mlflow.pyfunc", "pipelines.registry.promotion", "sqlalchemy"]


def run_command(model: str, command: Command) -> str:
    """What the command says, or its error."""
    action, version, reason = command
    try:
        if action == "promote":
            return promotion.promote(model, version, reason, say=print)
        return promotion.roll_back(model, reason, say=print)
    except UserError as error:
        return f"error: {error}"


class Writers:
    """Starts processes quickly: they are copies of one that has imported MLflow already."""

    def __init__(self) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)

    def start(
        self,
        folder: Path,
        model: str,
        commands: Sequence[Command],
        *,
        said: Path | None = None,
        mishap: tuple[signal.Signals, int] | None = None,
    ) -> ForkServerProcess:
        """A process that works in the folder and writes what the commands said.

        With a mishap, it sends itself the signal before its nth write, counted from 0.
        """
        folder.mkdir(exist_ok=True)
        arguments = (dict(os.environ), folder, model, list(commands), said or folder / "said.json", mishap)
        process = self._context.Process(target=_work, args=arguments)
        process.start()
        return process

    def submit(
        self, folder: Path, model: str, generator: Path, *, stopped_before: str | None = None
    ) -> ForkServerProcess:
        """A process that registers a generator and writes down what it hears; it may stop itself before a write."""
        folder.mkdir(exist_ok=True)
        arguments = (dict(os.environ), folder, model, generator, stopped_before)
        process = self._context.Process(target=_submit, args=arguments)
        process.start()
        return process


def _submit(environ: dict[str, str], folder: Path, model: str, generator: Path, stopped_before: str | None) -> None:
    _settle(environ, folder)
    if stopped_before is not None:
        _arrange(signal.SIGSTOP, 0, [stopped_before])
    said: list[str] = []
    try:
        said.append(submit(generator, 3.0, name=model, say=said.append).version)
    except UserError as error:
        said.append(f"error: {error}")
    (folder / "said.json").write_text(json.dumps(said))


def _settle(environ: dict[str, str], folder: Path) -> None:
    os.environ.clear()
    os.environ.update(environ)
    tempfile.tempdir = None  # what the server of forks has found
    os.chdir(folder)


def _work(
    environ: dict[str, str],
    folder: Path,
    model: str,
    commands: list[Command],
    said: Path,
    mishap: tuple[signal.Signals, int] | None,
) -> None:
    _settle(environ, folder)
    if mishap is not None:
        _arrange(*mishap, ["set_registered_model_tag", "set_registered_model_alias"])
    said.write_text(json.dumps([run_command(model, command) for command in commands]))


def _arrange(number: signal.Signals, before_write: int, names: Sequence[str]) -> None:
    from mlflow import MlflowClient

    writes = 0

    def arranged(name: str) -> None:
        write = getattr(MlflowClient, name)

        def signalled(*arguments: Any, **keywords: Any) -> Any:
            nonlocal writes
            if writes == before_write:
                os.kill(os.getpid(), number)
            writes += 1
            return write(*arguments, **keywords)

        setattr(MlflowClient, name, signalled)

    for name in names:
        arranged(name)
