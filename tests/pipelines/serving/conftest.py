"""Models to serve."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import environment
from tests.configs import UNPAIRED
from tests.registered import make_generator, make_translator, submit


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[Path]:
    """Where `digits`, with classes and a critic, and `things`, without, are champions, and `ways`, which translates."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copy2(database, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        environment.apply()
        submit(make_generator(folder / "digits", 1, with_critic=True), 3.0)
        submit(make_generator(folder / "things", 1, conditional=False), 3.0, name="things")
        submit(make_translator(folder / "ways", UNPAIRED), 3.0, name="ways")
        yield folder
