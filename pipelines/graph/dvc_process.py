"""DVC in a process of its own, which tells what has changed and then runs the stages.

It starts while its caller does other things, and is at work as soon as the
caller knows what to run: DVC takes a second to be imported.
"""

import contextlib
import gc
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from ganlib.errors import UserError
from pipelines.environment import quiet_environment
from pipelines.graph import streaming
from pipelines.graph.dag import GraphStatus, StageHeldUp, read_status, repository
from pipelines.graph.dvc_locks import wait_for_repository
from pipelines.graph.locking import Lock

_ANSWER = "dvc_process answers "
_STATUS: TypeAdapter[GraphStatus] = TypeAdapter(GraphStatus)


class DvcProcess:
    """The process; it ends with the context, and when the caller dies.

    Args:
        project: its folder.
        lock: the project's, which the caller holds as it drives the graph.
        timeout_s: seconds that the status may wait for other DVC processes.
    """

    def __init__(self, project: Path, *, lock: Lock, timeout_s: float) -> None:
        self.project = project
        self.lock = lock
        reader, self._orders = os.pipe()
        # -P: no folder of the project can shadow one of DVC's modules.
        self.command = streaming.Command(
            [sys.executable, "-P", "-m", __name__, str(project), str(timeout_s), str(reader)],
            cwd=project,
            env=environment(),
            keep_open=[lock.descriptor],
            inherit=[reader],
        )
        os.close(reader)
        self._order("status")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.command.close()
        os.close(self._orders)

    def status(self, *, say: Callable[[str], None]) -> GraphStatus:
        """As `dag.read_status`; what the process reads by itself, once."""
        said = []
        for line in self.command:
            if line.startswith(_ANSWER):
                return _understood(json.loads(line.removeprefix(_ANSWER)))
            said.append(line)
            say(line)
        raise RuntimeError(f"{__name__} ended with exit code {self.command.exit_code}: {' '.join(said[-1:])}")

    def read_again(self) -> None:
        """Have it read the status anew, for the next `status`."""
        self._order("status")

    def reproduce(self, arguments: Sequence[str], env: Mapping[str, str]) -> streaming.Command:
        """Have it run `dvc repro` with these arguments, and end; `env` is added to the stages' environment."""
        self._order({"arguments": list(arguments), "env": dict(env)})
        return self.command

    def _order(self, order: Any) -> None:
        # Of a process that has died its output tells.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, f"{json.dumps(order)}\n".encode())


def environment() -> dict[str, str]:
    """Ours for DVC and the stages: `python` in dvc.yaml is the interpreter that runs this."""
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    return {**os.environ, **quiet_environment(), "PATH": path, "PYTHONUNBUFFERED": "1"}


def _understood(answer: Mapping[str, str]) -> GraphStatus:
    match answer:
        case {"mistake": line}:
            raise UserError(line)
        case {"held_up": line}:
            raise StageHeldUp("pipeline", line)
    return _STATUS.validate_json(answer["status"])


def _answer(project: Path, timeout_s: float) -> dict[str, str]:
    try:
        found = read_status(project, on_wait=_say, timeout_s=timeout_s)
    except UserError as error:
        return {"mistake": str(error)}
    except StageHeldUp as error:
        return {"held_up": error.last_lines[0]}
    return {"status": _STATUS.dump_json(found).decode()}


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main(project: Path, timeout_s: float, orders: int) -> int:
    """Do as the lines of the descriptor `orders` say; the exit code of `dvc repro`."""
    gc.disable()  # imports, and trees of YAML, would have it search for garbage all the time
    with open(orders, encoding="utf-8") as lines:
        for line in lines:
            order = json.loads(line)
            if order != "status":
                break
            _say(_ANSWER + json.dumps(_answer(project, timeout_s)))
        else:
            return 0
    os.environ.update(order["env"])
    from dvc.cli import main as dvc

    with repository(project) as repo:
        wait_for_repository(repo, on_wait=_say, deadline=math.inf)
    # A `dvc push` may begin while a stage runs, and hold the lock when it ends.
    return int(dvc(["--wait-for-lock", "repro", *order["arguments"]]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
