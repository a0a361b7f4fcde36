from pathlib import Path

import pytest

from pipelines.registry.versions import quiet_pyfunc
from tests.promotions import CODE
from tests.registered import make_generator
from tests.registry_writers import Writers


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that holds a generator and loads quickly, as it would be registered."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "code.py").write_text(CODE)
    artifacts = {"generator": str(make_generator(folder / "generator", 1))}
    with quiet_pyfunc():
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(
            folder / "model", python_model=str(folder / "code.py"), artifacts=artifacts, pip_requirements=[]
        )
    return folder / "model"


@pytest.fixture(scope="session")
def writers() -> Writers:
    return Writers()
