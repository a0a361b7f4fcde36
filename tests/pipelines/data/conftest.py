import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

# DVC's own, in a library it uses.
from tests.adding import PARAMS
from tests.configs import ROOT
from tests.ganlib.datasets.image_files import noise_files, write_zip

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git and DVC repository with the real parameters and graph, and a data set in git."""
    root = tmp_path_factory.mktemp("template") / "project"
    (root / "data/raw").mkdir(parents=True)
    write_zip(root / "data/raw/digits.zip", noise_files(2))
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (root / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    Repo.init(str(root)).close()
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
