import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines import cli
from tests import compared_project


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a user's mistake."""
        assert (self.code, self.out) == (2, "")
        (line,) = (line for line in self.err.splitlines() if line.startswith("error: "))
        return line.removeprefix("error: ")


Compare = Callable[..., Said]


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """A project with runs to compare; comparisons may be added to them, and nothing else."""
    root = tmp_path_factory.mktemp("compared")
    shutil.copy2(database, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("MLFLOW_TRACKING_URI", "PREFECT__FLOW_RUN_ID", "GANLIB_FLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        compared_project.make_project(root)
    return root


@pytest.fixture
def here(compared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as the working directory."""
    monkeypatch.chdir(compared)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return compared


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Compare:
    """`gan compare` in this process."""

    def run(*arguments: object) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["gan", "compare", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run
